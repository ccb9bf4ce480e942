"""Writes images-32.safetensors: 16 example images (Fashion-MNIST) enlarged to 32 x 32 and coloured, uint8 [16,32,32,3].

    python3 test/models/make_images.py        (Python 3, numpy)

Every image gets a colour of its own for the garment and another one for what lies behind it, so that the three channels differ.
"""

import numpy as np

from files import HERE, grey_images, write_tensors


def enlarge(images, size):
    """Bilinear, with the centres of the corner pixels kept in place."""
    length = images.shape[1]
    at = np.linspace(0, length - 1, size)
    low = np.minimum(at.astype(int), length - 2)
    part = at - low
    rows = images[:, low] * (1 - part)[None, :, None] + images[:, low + 1] * part[None, :, None]
    return rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part


def main():
    random = np.random.RandomState(32)
    grey = enlarge(grey_images(16)[..., 0].astype(np.float64) / 255, 32)[..., None]
    garment = random.uniform(0.4, 1.0, (16, 1, 1, 3))
    behind = random.uniform(0.0, 0.5, (16, 1, 1, 3))
    coloured = grey * garment + (1 - grey) * behind
    write_tensors(HERE / "images-32.safetensors", {"images": np.round(coloured * 255).astype(np.uint8)})


main()
