"""Numeric arrays of a MATLAB 5 file (MAT-File Level 5 format, as `save -v6` and `-v7` write it)."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HEADER_BYTES = 128
MATRIX = 14
COMPRESSED = 15
# Storage types of the format by number; sparse matrices, text, cells and structures are passed by.
STORED = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
# Classes of numeric arrays. An array may be stored in a smaller type than its class.
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8"}
CLASSES[15] = "u8"
COMPLEX_FLAG = 0x0800


def read_matlab(path: Path) -> dict[str, np.ndarray]:
    """Every real numeric array of the file by its name, in the type of its class.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a MATLAB 5 file (a v7.3 file is HDF5), or damaged.
    """
    data = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if not data.startswith(b"MATLAB 5.0") or order is None:
        raise ValueError(f"{path} is no MATLAB 5 file")
    arrays = {}
    try:
        for kind, body in _elements(data[HEADER_BYTES:], order):
            if kind == COMPRESSED:
                kind, body = next(_elements(zlib.decompress(body), order))
            if kind == MATRIX and (named := _array(body, order)) is not None:
                arrays[named[0]] = named[1]
    except (IndexError, KeyError, StopIteration, ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"{path} is damaged") from error
    return arrays


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element in turn. Up to 4 bytes may lie within the 8-byte tag."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(order + "II", data, at)
        start = at + 8
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        if start + size > len(data):
            raise ValueError("an element ends beyond its container")
        yield kind, data[start : start + size]
        # Elements start at multiples of 8, but for what follows a compressed one.
        at = start + size if kind == COMPRESSED else 8 * math.ceil((start + size) / 8)


def _array(body: bytes, order: str) -> tuple[str, np.ndarray] | None:
    """Name and values of a matrix element; None for what is not a real numeric array."""
    if not body:
        return None
    parts = _elements(body, order)
    (flags,) = struct.unpack_from(order + "I", next(parts)[1])
    if flags & 0xFF not in CLASSES or flags & COMPLEX_FLAG:
        return None
    shape = np.frombuffer(next(parts)[1], order + "i4")
    name = next(parts)[1].decode("ascii")
    kind, stored = next(parts)
    values = np.frombuffer(stored, order + STORED[kind]).astype(CLASSES[flags & 0xFF])
    return name, values.reshape(shape, order="F")
