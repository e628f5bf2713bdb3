"""The window of a local PixelCNN: which neighbours a pixel sees, and how it waits for them."""

from __future__ import annotations

RECEPTIVE_FIELDS = ("4x2", "5x3", "7x4")

Offset = tuple[int, int]  # row and column, relative to the pixel


def window_offsets(receptive_field: str) -> list[Offset]:
    """(row, column) offsets of the pixels that a window sees, in raster order.

    "AxB" of the paper: B - 1 rows above of width A, and ceil((A - 1) / 2) pixels to the left.
    """
    width, height = (int(part) for part in receptive_field.split("x"))
    left = width // 2
    above = [(row, column) for row in range(1 - height, 0) for column in range(-left, width - left)]
    return above + [(0, column) for column in range(-left, 0)]


def wavefront_skew(offsets: list[Offset]) -> int:
    """Columns by which a row must lag behind the row above for its windows to be complete: all
    pixels with the same column + skew * row are independent."""
    return 1 + max((column for row, column in offsets if row < 0), default=0)
