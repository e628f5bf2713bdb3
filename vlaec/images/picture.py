"""`Picture`: 8-bit pixels with their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..metadata import Described

# Blocks of metadata that a picture and a file may carry, by name:
# icc   ICC profile
# exif  TIFF structure, without the "Exif" prefix of JPEG
# xmp   XMP packet
# cicp  four bytes of ITU-T H.273: colour primaries, transfer, matrix, full range
METADATA = ("icc", "exif", "xmp", "cicp")


@dataclass(frozen=True)
class Picture(Described):
    """An 8-bit picture with its metadata.

    `rgb` [H, W, 3] uint8, three equal channels when `grey`; `alpha` [H, W] uint8 or None;
    `metadata`: blocks by name, see `METADATA`; `reduced`: the source had more than 8 bits per
    channel; `dropped`: names of things in the source that are not kept; `notes`: sentences on
    what was converted or mended. Raises ValueError when an array has another shape or type.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    reduced: bool = False
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ValueError(f"rgb is {self.rgb.dtype} {self.rgb.shape}, not uint8 [H, W, 3]")
        if self.alpha is not None and (
            self.alpha.shape != self.rgb.shape[:2] or self.alpha.dtype != np.uint8
        ):
            raise ValueError(f"alpha is {self.alpha.dtype} {self.alpha.shape}, not uint8 [H, W]")

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])
