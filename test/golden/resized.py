"""Makes resized.json: images resized and converted by Pillow (9.4 was used). Run it in this folder."""

import base64
import json

from PIL import Image


def text(image):
    return base64.b64encode(image.tobytes()).decode()


def picture(width, height):
    """Stripes, a gradient and noise, so that aliasing would show."""
    image = Image.new("RGB", (width, height))
    state = 7
    values = []
    for y in range(height):
        for x in range(width):
            state = (state * 1103515245 + 12345) % 2**31
            values.append((255 * (x % 2), (x * 255 // width + y * 255 // height) // 2, (state >> 16) % 256))
    image.putdata(values)
    return image


SIZES = [((37, 23), (8, 8)), ((8, 8), (28, 28)), ((64, 5), (7, 9)), ((16, 16), (16, 3)), ((1, 1), (5, 4)), ((50, 50), (1, 1))]

resized = []
for source, target in SIZES:
    image = picture(*source)
    resized.append(
        {
            "from": [source[1], source[0]],
            "to": [target[1], target[0]],
            "pixels": text(image),
            "resized": text(image.resize(target, Image.BILINEAR)),
        }
    )

colours = picture(24, 16)
alpha = Image.new("L", colours.size)
alpha.putdata([(index * 7) % 256 for index in range(24 * 16)])
translucent = colours.convert("RGBA")
translucent.putalpha(alpha)
on_white = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), translucent).convert("RGB")
converted = {
    "size": [16, 24],
    "rgb": text(colours),
    "grey": text(colours.convert("L")),
    "rgba": text(translucent),
    "onWhite": text(on_white),
}
with open("resized.json", "w") as file:
    json.dump({"resized": resized, "converted": converted}, file, indent=1)
