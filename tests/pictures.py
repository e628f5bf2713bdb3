"""Picture files made by hand, for tests: what no library would write."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
HUES = np.random.default_rng(3).integers(0, 256, (40, 56, 3), np.uint8)


def smooth(height: int = 40, width: int = 56) -> np.ndarray:
    """[H, W, 3] uint8 that JPEG keeps well."""
    y, x = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin(x / 9 + i) * np.cos(y / (7 + i)) for i in range(3)]
    return np.stack(planes, 2).astype(np.uint8)


def stored(image: Image.Image, form: str, **options: Any) -> bytes:
    """The file as Pillow writes it."""
    out = io.BytesIO()
    image.save(out, format=form, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def png(
    values: np.ndarray,
    depth: int = 8,
    colour: int = 2,
    before: bytes = b"",
    after: bytes = b"",
    interlaced: bool = False,
    keep: float = 1.0,
) -> bytes:
    """A PNG of values [H, W, C] at its own depth.

    Args:
        before: chunks in front of the pixels.
        after: chunks behind them.
        keep: share of the rows' bytes that are there.
    """
    height, width, _ = values.shape
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    raw = b"".join(_rows(values[y::dy, x::dx], depth) for x, y, dx, dy in passes)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    body = zlib.compress(raw[: int(keep * len(raw))])
    magic = b"\x89PNG\r\n\x1a\n"
    pixels = before + chunk(b"IDAT", body) + after
    return magic + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def _rows(values: np.ndarray, depth: int) -> bytes:
    if not values.size:
        return b""
    flat = values.reshape(len(values), -1)
    if depth == 16:
        rows = flat.astype(">u2").view(np.uint8)
    elif depth == 8:
        rows = flat.astype(np.uint8)
    else:
        bits = np.unpackbits(flat.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(len(flat), -1), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in rows)


def segment(marker: int, body: bytes) -> bytes:
    """One segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(*segments: bytes, picture: np.ndarray | None = None, **options: Any) -> bytes:
    """A JPEG with segments behind its first marker."""
    data = stored(Image.fromarray(smooth() if picture is None else picture), "jpeg", **options)
    return data[:2] + b"".join(segments) + data[2:]


def box(kind: bytes, *content: bytes) -> bytes:
    """One box of an AVIF or JP2 file."""
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def exif_block(tags: dict[int, Any] | None = None, gps: bool = False) -> bytes:
    """An EXIF block without the prefix of JPEG; orientation 6 and a maker unless told else."""
    exif = Image.Exif()
    for tag, value in ({0x0112: 6, 0x010F: "maker"} if tags is None else tags).items():
        exif[tag] = value
    if gps:
        exif[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}
    return exif.tobytes().removeprefix(b"Exif\x00\x00")
