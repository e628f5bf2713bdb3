"""Pictures in and out: pixels, colour, metadata, limits.

What the codec sees is always 8 bits and three channels; what it must give back is in `Picture`.
"""

from __future__ import annotations

from .alpha import decode_alpha, encode_alpha
from .finish import orientation
from .formats import INPUT_SUFFIXES, OUTPUT_FORMATS, is_picture
from .options import STRIPPABLE, Encoded, ReadOptions, WriteOptions
from .picture import METADATA, Picture
from .read import from_pillow, read
from .write import check, encode, to_bytes, to_pillow

__all__ = [
    "INPUT_SUFFIXES",
    "METADATA",
    "OUTPUT_FORMATS",
    "STRIPPABLE",
    "Encoded",
    "Picture",
    "ReadOptions",
    "WriteOptions",
    "check",
    "decode_alpha",
    "encode",
    "encode_alpha",
    "from_pillow",
    "is_picture",
    "orientation",
    "read",
    "to_bytes",
    "to_pillow",
]
