"""TIFF files written here: Pillow loses the directories of EXIF and GPS in compressed ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import ExifTags, TiffImagePlugin, TiffTags

from . import exif

_ORDER = b"II"
_HEAD = 8
_STRIP_BYTES = 2**18
_DEFLATE = 8
_BY_DIFFERENCES = 2
_UNASSOCIATED_ALPHA = 2
_TAG = {tag.name: number for number, tag in TiffTags.TAGS_V2.items()}


def encode(pixels: np.ndarray, blocks: Mapping[str, bytes]) -> bytes:
    """Pixels [H, W, C] uint8, C of 1 to 4, as a TIFF with deflated differences.

    Raises ValueError for an EXIF block that cannot be read, or whatever Pillow raises for one that
    it cannot write.
    """
    height, width, channels = pixels.shape
    rows = max(1, _STRIP_BYTES // (width * channels))
    strips = []
    for top in range(0, height, rows):
        band = pixels[top : top + rows].astype(np.uint8)
        band[:, 1:] -= pixels[top : top + rows, :-1]  # wraps
        strips.append(zlib.compress(band.tobytes(), 6))
    sizes = [len(strip) for strip in strips]
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=_ORDER)
    if "exif" in blocks:
        for tag, value in exif.described_tags(blocks["exif"]).items():
            tags[tag] = value
    storage = {
        "ImageWidth": width,
        "ImageLength": height,
        "BitsPerSample": (8,) * channels,
        "Compression": _DEFLATE,
        "PhotometricInterpretation": 1 if channels < 3 else 2,
        "SamplesPerPixel": channels,
        "RowsPerStrip": rows,
        "PlanarConfiguration": 1,
        "Predictor": _BY_DIFFERENCES,
        # Pillow adds the place behind the directory.
        "StripOffsets": tuple(int(end) for end in np.cumsum([0, *sizes[:-1]])),
        "StripByteCounts": tuple(sizes),
    }
    for name, number in storage.items():
        tags[_TAG[name]] = number
    if channels in (2, 4):
        tags[_TAG["ExtraSamples"]] = _UNASSOCIATED_ALPHA
    if "xmp" in blocks:
        tags[int(ExifTags.Base.XMLPacket)] = blocks["xmp"]
        tags.tagtype[int(ExifTags.Base.XMLPacket)] = TiffTags.BYTE
    if "icc" in blocks:
        tags[int(ExifTags.Base.InterColorProfile)] = blocks["icc"]
        tags.tagtype[int(ExifTags.Base.InterColorProfile)] = TiffTags.UNDEFINED
    return b"".join([struct.pack("<2sHI", _ORDER, 42, _HEAD), tags.tobytes(_HEAD), *strips])
