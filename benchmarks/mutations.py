"""Inputs for `benchmarks.fuzz`: whole files to begin with, changes to them, right checksums."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TESTS = Path(__file__).resolve().parent.parent / "tests"
# Numbers at which things change.
_EDGES = [0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1]


def seeds(name: str) -> list[bytes]:
    """Whole inputs that mutation starts from."""
    if name.startswith("photo"):
        return [path.read_bytes() for path in sorted((TESTS / "golden").glob("*.vlae"))]
    if name.startswith("archive"):
        return [path.read_bytes() for path in sorted((TESTS / "golden_sets").glob("*.vlaa"))]
    small = np.random.default_rng(0).integers(0, 256, (13, 17, 4), np.uint8)
    if name == "arrays":
        out = []
        for save in (np.savez, np.savez_compressed):
            stream = io.BytesIO()
            save(stream, images=small[..., :3])
            out.append(stream.getvalue())
        return out
    return _picture_seeds(small)


def _picture_seeds(pixels: np.ndarray) -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    exif[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}
    extras: dict[str, Any] = {"exif": exif.tobytes(), "icc_profile": b"profile" * 9}
    rgba = Image.fromarray(pixels)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    cases: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (rgba, "png", extras),
        (rgb, "png", {"transparency": (1, 2, 3)}),
        (rgb.quantize(9), "png", {"transparency": bytes(range(9))}),
        (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "png", {"transparency": 7}),
        (rgb, "png", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        (rgb, "jpeg", {**extras, "xmp": b"<x/>", "comment": "c"}),
        (grey, "jpeg", {"progressive": True, "restart_marker_blocks": 1}),
        (rgb.convert("CMYK"), "jpeg", extras),
        (rgb, "mpo", {"save_all": True, "append_images": [rgb]}),
        (rgba, "webp", {**extras, "xmp": b"<x/>"}),
        (rgba, "webp", {"lossless": True}),
        (rgb, "avif", extras),
        (rgba, "tiff", extras),
        (rgb, "tiff", {"compression": "tiff_lzw"}),
        (grey.convert("1"), "tiff", {"compression": "group4"}),
        (rgb, "bmp", {}),
        (rgb.quantize(16), "gif", {"save_all": True, "append_images": [rgb.quantize(3)]}),
        (rgb, "jpeg2000", {}),
        (grey, "ppm", {}),
    ]
    out = []
    for image, form, options in cases:
        stream = io.BytesIO()
        image.save(stream, form, **options)
        out.append(stream.getvalue())
    return out


def mutated(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A few changes: flipped bits, numbers at their limits, pieces cut, doubled or exchanged."""

    def below(limit: int) -> int:
        return int(rng.random() * limit)  # ten times as fast as randrange

    out = bytearray(data)
    for _ in range(1 + below(4)):
        if not out:
            break
        at = below(len(out))
        match below(8):
            case 0:
                out[at] ^= 1 << below(8)
            case 1:
                out[at] = below(256)
            case 2:
                value = struct.pack("<I" if below(2) else ">I", _EDGES[below(len(_EDGES))])
                out[at : at + 4] = value
            case 3:
                del out[at : at + 1 + below(39)]
            case 4:
                out[at:at] = out[at : at + 1 + below(39)]
            case 5:
                other = others[below(len(others))]
                start = below(len(other))
                out[at : at + 16] = other[start : start + 1 + below(63)]
            case 6:
                out[at:at] = rng.randbytes(1 + below(8))
            case _:
                if below(10) == 0:
                    del out[at:]
    return bytes(out)


def repaired(data: bytes, header: int) -> bytes:
    """The file with every CRC32 made right, as long as its lengths lead from chunk to chunk."""
    out = bytearray(data)
    if len(out) < header + 4:
        return data
    struct.pack_into("<I", out, header, zlib.crc32(out[:header]))
    start = header + 4
    while start + 9 <= len(out):
        end = start + 5 + struct.unpack_from("<I", out, start + 1)[0]
        if end + 4 > len(out):
            break
        struct.pack_into("<I", out, end, zlib.crc32(out[start:end]))
        start = end + 4
    return bytes(out)
