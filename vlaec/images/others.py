"""TIFF, BMP, GIF and PPM files: what Pillow tells of them apart from the pixels."""

from __future__ import annotations

import struct

from PIL import Image

from . import exif
from .findings import Findings

# Tags of TIFF whose meaning is lost, and what messages call it.
_TIFF_LOST = {
    301: "transfer function",
    318: "white point",
    319: "primary chromaticities",
    33723: "IPTC",
    34377: "Photoshop resources",
}


def is_deep(name: str, image: Image.Image) -> bool:
    """Whether a PPM file has more than 8 bits per channel."""
    tiles = getattr(image, "tile", ())
    if name != "PPM" or not tiles:
        return False
    arguments = tiles[0].args
    return isinstance(arguments, tuple) and isinstance(arguments[-1], int) and arguments[-1] > 255


def note(findings: Findings, name: str, image: Image.Image, data: bytes) -> None:
    """Add what a loaded image of these formats says. `data`: the file, empty when not at hand."""
    if name == "TIFF":
        _note_tiff(findings, image)
    elif name == "BMP":
        _note_bmp(findings, data)
    elif name == "GIF" and image.info.get("comment"):
        findings.drop("comment")


def _note_tiff(findings: Findings, image: Image.Image) -> None:
    tags = getattr(image, "tag_v2", {})
    for tag, what in _TIFF_LOST.items():
        if tag in tags:
            findings.drop(what)
    try:
        block = exif.describing(image.getexif())
    except MemoryError:
        raise
    except Exception:  # as in `exif.parse`
        findings.drop("EXIF (damaged)")
        return
    if block is not None:
        findings.hide("exif", block)


def _note_bmp(findings: Findings, data: bytes) -> None:
    """Colour of a BMP with a header of version 4 or 5."""
    if len(data) < 14 + 124:
        return
    size, kind = struct.unpack_from("<I", data, 14)[0], data[70:74][::-1]
    if size >= 108 and kind == b"\0\0\0\0" and any(data[74:122]):
        findings.drop("calibrated colours")
    elif size >= 124 and kind == b"LINK":
        findings.drop("ICC profile (in another file)")
    elif size >= 124 and kind == b"MBED":
        start, length = struct.unpack_from("<II", data, 14 + 112)
        block = data[14 + start : 14 + start + length]
        if length and len(block) == length:
            findings.hide("icc", block)
        else:
            findings.drop("ICC profile (damaged)")
