"""Makes images.json: small images encoded and decoded by Pillow (9.4 was used). Run it in this folder."""

import base64
import io
import json

from PIL import Image


def gradient(mode, size=(13, 9)):
    image = Image.new("RGB", size)
    image.putdata([(x * 19, y * 28, (x * y * 5) % 256) for y in range(size[1]) for x in range(size[0])])
    return image.convert(mode)


def text(data):
    return base64.b64encode(data).decode()


def case(name, image, shown, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    if form == "JPEG":
        shown = Image.open(io.BytesIO(file.getvalue())).convert("RGB")
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[shown.mode]
    return {
        "name": name,
        "width": shown.width,
        "height": shown.height,
        "channels": channels,
        "file": text(file.getvalue()),
        "pixels": text(shown.tobytes()),
    }


rgb, grey = gradient("RGB"), gradient("L")
alpha = rgb.convert("RGBA")
alpha.putalpha(grey)
palette = rgb.quantize(16)
bits = grey.convert("1")
deep = Image.new("I;16", grey.size)
deep.putdata([value * 257 for value in grey.getdata()])
cases = [
    case("an RGB PNG", rgb, rgb, "PNG"),
    case("an RGBA PNG", alpha, alpha, "PNG"),
    case("a grey PNG", grey, grey, "PNG"),
    case("a grey and alpha PNG", alpha.convert("LA"), alpha.convert("LA"), "PNG"),
    case("a PNG of 1 bit", bits, bits.convert("L"), "PNG"),
    case("a PNG of 16 bits", deep, grey, "PNG"),
    case("a PNG with a palette of 4 bits", palette, palette.convert("RGB"), "PNG", bits=4),
    case("a PNG with a palette of 8 bits", rgb.quantize(200), rgb.quantize(200).convert("RGB"), "PNG"),
    case("a baseline JPEG", rgb, None, "JPEG", quality=90, subsampling=0),
    case("a progressive JPEG", rgb, None, "JPEG", quality=90, subsampling=0, progressive=True),
    case("a grey JPEG", grey, None, "JPEG", quality=90),
]
with open("images.json", "w") as file:
    json.dump(cases, file, indent=1)
