"""What callers may ask of reading and writing pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import BadImageError
from ..limits import MAX_PIXELS, memory_to_compress, why_too_large

# Blocks that reading may leave out. `icc` converts the colours to sRGB first.
STRIPPABLE = ("all", "exif", "xmp", "icc", "gps")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a picture.

    `frame`: index of the frame or page to take, None to refuse files with several;
    `tone_map`: turn HDR into SDR instead of refusing it; `strip`: names out of `STRIPPABLE`;
    `upright`: apply the orientation of the EXIF block; `max_pixels`: refuse larger pictures;
    `memory`: refuse those that need more bytes of it to be compressed, with `effort`.
    """

    frame: int | None = None
    tone_map: bool = False
    strip: frozenset[str] = field(default_factory=frozenset)
    upright: bool = False
    max_pixels: int = MAX_PIXELS
    memory: int | None = None
    effort: int = 0

    def check_size(self, width: int, height: int) -> None:
        """Raise BadImageError for a picture beyond these limits."""
        needed = memory_to_compress(width * height, self.effort)
        reason = why_too_large(width, height, self.max_pixels, needed, self.memory)
        if reason:
            raise BadImageError(reason)
        if width < 1 or height < 1:
            raise BadImageError("the picture has no pixels")


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How to write a picture.

    `quality`: 1..100 for JPEG, None for the default of 95; `background`: R, G, B that
    transparency is put on where the format has none, None to refuse such pictures.
    """

    quality: int | None = None
    background: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Encoded:
    """A written picture. `dropped`: names of blocks that the format could not hold."""

    data: bytes
    dropped: tuple[str, ...] = ()
