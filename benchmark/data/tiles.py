"""Images side by side in one."""

from __future__ import annotations

import numpy as np
from PIL import Image


def tile_images(images: np.ndarray, columns: int, gap: int = 2) -> Image.Image:
    """Images (n, c, h, w) in [-1, 1] on one sheet, row by row; RGB or the mean of the channels."""
    n, channels, height, width = images.shape
    if channels != 3:
        images = images.mean(axis=1, keepdims=True)
    rows = max(1, -(-n // columns))
    sheet = np.full(
        (images.shape[1], rows * (height + gap) - gap, columns * (width + gap) - gap), 0.5
    )
    for i, picture in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[:, top : top + height, left : left + width] = picture / 2 + 0.5
    pixels = (np.nan_to_num(sheet).clip(0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))


def pair_images(query: np.ndarray, reconstruction: np.ndarray) -> Image.Image:
    """A query and its reconstruction, (c, h, w) each, side by side."""
    return tile_images(np.stack([query, reconstruction]), columns=2, gap=1)


def columns_for(images: np.ndarray) -> int:
    """Columns of a sample grid that is a little wider than high."""
    return max(1, min(len(images), round(float(np.sqrt(2 * len(images))))))
