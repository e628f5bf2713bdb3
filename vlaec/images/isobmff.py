"""Boxes of AVIF, HEIC and JPEG 2000 files: colour, bit depth, gain maps.

Sources: ISO/IEC 14496-12 (boxes), 23008-12 (items and properties), 15444-1 annex I (JP2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..errors import BadImageError
from ..limits import MAX_METADATA
from . import exif, icc
from .findings import Findings

_JP2_MAGIC = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_UUID_EXIF = bytes.fromhex("05 37 cd ab 9d 0c 44 31 a7 2a fa 56 1f 2a 11 3e")
_UUID_EXIF_2 = b"JpgTiffExif->JP2"
_UUID_XMP = bytes.fromhex("be 7a cf cb 97 a9 42 e8 9c 71 99 94 91 e3 af ac")


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of the content of each box; stops at the first that does not fit."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and start + 16 <= end:
            size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            return
        yield kind, start + head, start + size
        start += size


def is_jp2(data: bytes) -> bool:
    """JPEG 2000 with boxes."""
    return data.startswith(_JP2_MAGIC)


def scan_heif(data: bytes) -> tuple[Findings, int]:
    """Colour of the primary item, what else the file holds, and the bits per channel (8 where the
    file does not say)."""
    findings = Findings(data)
    try:
        return findings, _scan_meta(findings, data)
    except (struct.error, IndexError):
        return findings, 8  # damaged boxes; the decoder of pixels will say what is wrong with them


def scan_jp2(data: bytes) -> tuple[Findings, int]:
    """Findings and bits per channel of JPEG 2000."""
    findings, depth = Findings(data), 8
    for kind, start, end in boxes(data):
        if kind == b"jp2h":
            for inner, a, b in boxes(data, start, end):
                if inner == b"ihdr" and b - a >= 14 and data[a + 10] != 255:
                    depth = (data[a + 10] & 127) + 1
                elif inner == b"colr" and b - a > 3 and data[a] == 2:
                    findings.hide("icc", data[a + 3 : b])
                elif inner == b"colr" and data[a : a + 1] not in (b"\x01", b"\x02"):
                    findings.drop("colour specification")
        elif kind == b"uuid":
            name, block = (
                data[start : start + 16],
                data[start + 16 : min(end, start + MAX_METADATA)],
            )
            if name in (_UUID_EXIF, _UUID_EXIF_2):
                findings.hide("exif", block.removeprefix(exif.PREFIX))
            elif name == _UUID_XMP:
                findings.hide("xmp", block)
    return findings, depth


def check_codestream(data: bytes) -> None:
    """Raise BadImageError when a JPEG 2000 file lacks the end of its coded data.

    OpenJPEG finds that, too, but Pillow does not pass it on where the caller has set
    LOAD_TRUNCATED_IMAGES.
    """
    if is_jp2(data):
        parts = [data[start:end] for kind, start, end in boxes(data) if kind == b"jp2c"]
        data = parts[0] if parts else b""
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise BadImageError("the picture is damaged or truncated: coded data is missing")


def _scan_meta(findings: Findings, data: bytes) -> int:
    meta = next(((a, b) for kind, a, b in boxes(data) if kind == b"meta"), None)
    if meta is None:
        return 8
    inside = {kind: (a, b) for kind, a, b in boxes(data, meta[0] + 4, meta[1])}
    primary = 0
    if b"pitm" in inside:
        a, _ = inside[b"pitm"]
        primary = struct.unpack_from(">H" if data[a] == 0 else ">I", data, a + 4)[0]
    if b"iinf" in inside and _has_tone_map(data, *inside[b"iinf"]):
        findings.drop("gain map")
    if b"iprp" not in inside:
        return 8
    properties: list[tuple[bytes, int, int]] = []
    indices: list[int] = []
    for kind, a, b in boxes(data, *inside[b"iprp"]):
        if kind == b"ipco":
            properties = list(boxes(data, a, b))
        elif kind == b"ipma":
            indices += _associations(data, a, primary)
    if any(kind == b"auxC" and b"hdrgainmap" in data[a:b] for kind, a, b in properties):
        findings.drop("gain map")
    depth = 8
    for index in indices:
        if not 1 <= index <= len(properties):
            continue
        kind, a, b = properties[index - 1]
        if kind == b"pixi" and b - a > 5:
            depth = max(depth, data[a + 5])
        elif kind == b"av1C" and b - a >= 4:
            depth = max(depth, 8 if not data[a + 2] & 0x40 else 12 if data[a + 2] & 0x20 else 10)
        elif kind == b"colr" and data[a : a + 4] == b"nclx" and b - a >= 10:
            primaries, transfer = struct.unpack_from(">HH", data, a + 4)
            signal = icc.Signal(primaries, transfer)
            if max(primaries, transfer) < 256 and not signal.srgb:
                findings.metadata["cicp"] = bytes([primaries, transfer, 0, 1])  # of RGB, full range
    return depth


def _has_tone_map(data: bytes, start: int, end: int) -> bool:
    """Whether an item of type tmap, a derived picture with a gain map, is listed."""
    first = start + (6 if data[start] == 0 else 8)
    for kind, a, b in boxes(data, first, end):
        if kind == b"infe" and data[a] >= 2:
            at = a + 4 + (2 if data[a] == 2 else 4) + 2
            if data[at : min(at + 4, b)] == b"tmap":
                return True
    return False


def _associations(data: bytes, start: int, item: int) -> list[int]:
    """Indices, from 1, of the properties of an item."""
    version, wide = data[start], data[start + 3] & 1
    (count,) = struct.unpack_from(">I", data, start + 4)
    at = start + 8
    for _ in range(count):
        (number,) = struct.unpack_from(">H" if version < 1 else ">I", data, at)
        at += 2 if version < 1 else 4
        size = data[at]
        at += 1
        if number == item:
            if wide:
                return [struct.unpack_from(">H", data, at + 2 * i)[0] & 0x7FFF for i in range(size)]
            return [data[at + i] & 0x7F for i in range(size)]
        at += size * (2 if wide else 1)
    return []
