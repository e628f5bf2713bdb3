"""EXIF blocks: kept whole, checked, and taken apart where a format needs that.

A block that is no TIFF structure is kept as it is: what it means to its writer is not known here.
"""

from __future__ import annotations

import struct
from typing import Any

from PIL import ExifTags, Image

from .findings import Findings
from .quiet import quiet

PREFIX = b"Exif\x00\x00"
ORIENTATION = int(ExifTags.Base.Orientation)
_SHORT = 3

# Tags of the main directory of a TIFF file that describe the picture to people. The others say how
# its pixels are stored, and would be wrong elsewhere.
_DESCRIBING = frozenset(
    int(tag)
    for tag in (
        ExifTags.Base.ImageDescription,
        ExifTags.Base.Make,
        ExifTags.Base.Model,
        ExifTags.Base.Orientation,
        ExifTags.Base.XResolution,
        ExifTags.Base.YResolution,
        ExifTags.Base.ResolutionUnit,
        ExifTags.Base.Software,
        ExifTags.Base.DateTime,
        ExifTags.Base.Artist,
        ExifTags.Base.HostComputer,
        ExifTags.Base.Copyright,
        ExifTags.Base.Rating,
        ExifTags.Base.RatingPercent,
        ExifTags.Base.XPTitle,
        ExifTags.Base.XPComment,
        ExifTags.Base.XPAuthor,
        ExifTags.Base.XPKeywords,
        ExifTags.Base.XPSubject,
        ExifTags.IFD.Exif,
        ExifTags.IFD.GPSInfo,
    )
)
_DIRECTORIES = (int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo))
_RESOLUTION = frozenset(
    int(tag)
    for tag in (
        ExifTags.Base.XResolution,
        ExifTags.Base.YResolution,
        ExifTags.Base.ResolutionUnit,
    )
)


def keep(findings: Findings, block: bytes) -> None:
    """Put the first block of a file among its metadata, without the prefix of JPEG."""
    if block := block.removeprefix(PREFIX):
        findings.metadata.setdefault("exif", block)


def parse(block: bytes) -> Image.Exif | None:
    """The block as Pillow reads it, all directories included; None when it is damaged."""
    tags = Image.Exif()
    try:
        with quiet(raising=True):
            tags.load(PREFIX + block)
            tags.get_ifd(ExifTags.IFD.GPSInfo)
            if ExifTags.IFD.Interop in tags.get_ifd(ExifTags.IFD.Exif):  # else Pillow 12 raises
                tags.get_ifd(ExifTags.IFD.Interop)
            dict(tags)
    except MemoryError:
        raise
    except Exception:  # broken blocks raise SyntaxError, struct.error, RuntimeError and others
        return None
    return tags if len(tags) or block[:2] in (b"II", b"MM") else None


def describing(tags: Image.Exif) -> bytes | None:
    """A block with those tags alone that describe the picture; None where they say no more than a
    resolution.

    Raises whatever Pillow raises for values that it cannot write.
    """
    kept = Image.Exif()
    for tag, value in _described(tags).items():
        kept[tag] = value
    if not set(kept) - _RESOLUTION:
        return None
    with quiet():
        return kept.tobytes().removeprefix(PREFIX)


def described_tags(block: bytes) -> dict[int, Any]:
    """Described tags of a block, directories as mappings. Raises ValueError for a damaged block."""
    tags = parse(block)
    if tags is None:
        raise ValueError("bad EXIF")
    return _described(tags)


def _described(tags: Image.Exif) -> dict[int, Any]:
    return {
        tag: tags.get_ifd(tag) if tag in _DIRECTORIES else value
        for tag, value in tags.items()
        if tag in _DESCRIBING
    }


def orientation(block: bytes | None) -> int:
    """Orientation 1..8; 1 where the block does not say."""
    at = _entry(block, ORIENTATION) if block else None
    if block is None or at is None:
        return 1
    kind, count, value = struct.unpack_from(_order(block) + "HIH", block, at + 2)
    return value if (kind, count) == (_SHORT, 1) and 1 <= value <= 8 else 1


def has_resolution(block: bytes | None) -> bool:
    """Whether the block says how many pixels an inch has."""
    return block is not None and _entry(block, int(ExifTags.Base.XResolution)) is not None


def upright(block: bytes) -> bytes:
    """The block with its orientation set to 1, every other byte untouched."""
    at = _entry(block, ORIENTATION)
    if at is None:
        return block
    return block[: at + 8] + struct.pack(_order(block) + "HH", 1, 0) + block[at + 12 :]


def without_gps(block: bytes) -> bytes | None:
    """The block written again without its GPS directory; None when it cannot be taken apart."""
    tags = parse(block)
    if tags is None:
        return None
    if ExifTags.IFD.GPSInfo not in tags:
        return block
    try:
        del tags[ExifTags.IFD.GPSInfo]
        tags._ifds.pop(ExifTags.IFD.GPSInfo, None)
        return tags.tobytes().removeprefix(PREFIX)
    except MemoryError:
        raise
    except Exception:  # as in `parse`
        return None


def _entry(block: bytes, tag: int) -> int | None:
    """Position of a tag's entry of 12 bytes in the main directory."""
    if block[:2] not in (b"II", b"MM") or len(block) < 8:
        return None
    order = _order(block)
    start: int = struct.unpack_from(order + "I", block, 4)[0]
    if start + 2 > len(block):
        return None
    count: int = struct.unpack_from(order + "H", block, start)[0]
    for at in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        if struct.unpack_from(order + "H", block, at)[0] == tag:
            return at
    return None


def _order(block: bytes) -> str:
    return "<" if block[:2] == b"II" else ">"
