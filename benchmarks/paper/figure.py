"""`figure`, `fields`: originals above decompressions of lossy archives (the paper's figures)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlaec.sets import archive

GAP = 4  # pixels of the drawing between two images
LINE = 10  # between two blocks of rows, beside the gap
FONT_SIZE = 14
INK, PAPER = 0, 255


def decompressions(images: np.ndarray, model: str, count: int) -> tuple[int, list[np.ndarray]]:
    """Bytes of the lossy archive of `images`, and `count` samples of what it stands for.

    Args:
        images: uint8 [N, H, W] of 0 and 255, or [N, H, W, 3].
        model: a set model's name.
    """
    data = archive.create(images, model, lossy=True)
    return len(data), [archive.extract(data, seed=seed) for seed in range(count)]


def sheet(blocks: Sequence[Sequence[np.ndarray]], scale: int) -> Image.Image:
    """One column per image, a row below the other; a line of paper between two blocks of rows.

    Args:
        blocks: rows of images, each uint8 [N, H, W] or [N, H, W, 3].
        scale: every pixel is drawn so many times as large.
    """
    n, height, width, *channels = blocks[0][0].shape
    side, rise = scale * width + GAP, scale * height + GAP
    canvas = np.full((_height(blocks, scale), n * side - GAP, *channels), PAPER, np.uint8)
    for top, block in zip(_tops(blocks, scale), blocks, strict=True):
        for i, row in enumerate(block):
            for j, image in enumerate(row):
                large = image.repeat(scale, 0).repeat(scale, 1)
                place = canvas[top + i * rise :, j * side :]
                place[: scale * height, : scale * width] = large
    return Image.fromarray(canvas)


def labelled(
    blocks: Sequence[Sequence[np.ndarray]], labels: Sequence[str], scale: int
) -> Image.Image:
    """`sheet` with a label at the left of every block, half-way down."""
    pictures = sheet(blocks, scale)
    font = ImageFont.load_default(FONT_SIZE)
    ruler = ImageDraw.Draw(pictures)
    boxes = [ruler.multiline_textbbox((0, 0), label, font) for label in labels]
    margin = 2 * GAP + max(round(right) for _, _, right, _ in boxes)
    size = (margin + pictures.width, pictures.height)
    drawn = Image.new(pictures.mode, size, "white")
    drawn.paste(pictures, (margin, 0))
    pen = ImageDraw.Draw(drawn)
    for top, block, label in zip(_tops(blocks, scale), blocks, labels, strict=True):
        middle = top + _height([block], scale) // 2
        pen.multiline_text((GAP, middle), label, INK, font, anchor="lm")
    return drawn


def _tops(blocks: Sequence[Sequence[np.ndarray]], scale: int) -> list[int]:
    """Where each block begins, in pixels from the top."""
    return [_height(blocks[:i], scale) + (GAP + LINE if i else 0) for i in range(len(blocks))]


def _height(blocks: Sequence[Sequence[np.ndarray]], scale: int) -> int:
    """Of a sheet, in pixels."""
    if not blocks:
        return 0
    rise = scale * blocks[0][0].shape[1] + GAP
    return sum(map(len, blocks)) * rise - GAP + (len(blocks) - 1) * LINE
