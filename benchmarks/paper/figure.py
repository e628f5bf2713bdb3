"""`figure`: originals above several decompressions of one lossy archive (the paper's figures)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vlaec import archive

GAP = 4  # pixels of the drawing between two images
LINE = 10  # between originals and decompressions
PAPER = 255


def decompressions(images: np.ndarray, model: str, count: int) -> tuple[int, list[np.ndarray]]:
    """Bytes of the lossy archive of `images`, and `count` samples of what it stands for.

    Args:
        images: uint8 [N, H, W] of 0 and 255, or [N, H, W, 3].
        model: a set model's name.
    """
    data = archive.create(images, model, lossy=True)
    return len(data), [archive.extract(data, seed=seed) for seed in range(count)]


def sheet(originals: np.ndarray, decodes: list[np.ndarray], scale: int) -> Image.Image:
    """One column per image, the original on top; every pixel is drawn `scale` times as large."""
    rows = [originals, *decodes]
    n, height, width = originals.shape[:3]
    side, rise = scale * width + GAP, scale * height + GAP
    shape = (len(rows) * rise - GAP + LINE, n * side - GAP, *originals.shape[3:])
    canvas = np.full(shape, PAPER, np.uint8)
    for i, row in enumerate(rows):
        top = i * rise + (LINE if i else 0)
        for j, image in enumerate(row):
            large = image.repeat(scale, 0).repeat(scale, 1)
            canvas[top : top + scale * height, j * side : j * side + scale * width] = large
    return Image.fromarray(canvas)
