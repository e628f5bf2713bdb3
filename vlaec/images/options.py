"""What callers may ask of reading and writing pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..limits import MAX_PIXELS

# Blocks that reading may leave out. `icc` converts the colours to sRGB first.
STRIPPABLE = ("all", "exif", "xmp", "icc", "gps")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a picture.

    `frame`: index of the frame or page to take, None to refuse files with several;
    `tone_map`: turn HDR into SDR instead of refusing it; `strip`: names out of `STRIPPABLE`;
    `upright`: apply the orientation of the EXIF block; `max_pixels`: refuse larger pictures.
    """

    frame: int | None = None
    tone_map: bool = False
    strip: frozenset[str] = field(default_factory=frozenset)
    upright: bool = False
    max_pixels: int = MAX_PIXELS


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
