"""JPEG files by their segments: metadata, further pictures behind the first, and missing data.

libjpeg fills what is missing of a picture with grey and says so only in a warning that Pillow does
not pass on. `junk_behind_scans` makes it visible: bytes put behind the coded data are skipped when
the data is whole, and change the picture when it is not.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import BadImageError
from ..limits import MAX_METADATA
from . import exif, xmp
from .found import Found

MAGIC = b"\xff\xd8\xff"

_ICC = b"ICC_PROFILE\x00"
_MPF = b"MPF\x00"
_PHOTOSHOP = b"Photoshop 3.0\x00"
_IPTC = b"8BIM\x04\x04"
_SOF_HUFFMAN = {0xC0, 0xC1, 0xC2}
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SOI, _EOI, _SOS, _DRI, _COM, _APP0, _APP14 = 0xD8, 0xD9, 0xDA, 0xDD, 0xFE, 0xE0, 0xEE
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_JUNK_PER_BLOCK = 3  # bytes; a block that is missing would take about one


@dataclass
class JpegFound(Found):
    """`components`: of each, by its number, the bits of every coefficient that are still missing;
    `sampling`: horizontal and vertical factors of each; `interval`: blocks between two restart
    marks, 0 without; `scans`: ends of the coded data within `pixels`; `huffman`: whether codes
    tell their end."""

    width: int = 0
    height: int = 0
    components: dict[int, list[int]] = field(default_factory=dict)
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    interval: int = 0
    progressive: bool = False
    huffman: bool = False
    scans: list[int] = field(default_factory=list)
    complete: bool = False


def scan(data: bytes) -> JpegFound:
    """Read all segments of the first picture. Raises BadImageError when the headers are cut."""
    found = JpegFound(b"")
    kept = [data[:2]]
    size = 2
    profile: dict[int, bytes] = {}
    parts: dict[bytes, list[tuple[int, int, bytes]]] = {}
    position = 2
    while True:
        match = _NEXT_MARKER.search(data, position)
        if match is None:
            break
        start, position = match.end() - 2, match.end()
        marker = data[position - 1]
        if marker == _EOI:
            found.complete = True
            break
        if marker in (0x01, _SOI):
            continue
        if position + 2 > len(data):
            break
        length = struct.unpack_from(">H", data, position)[0]
        body = data[position + 2 : position + length]
        if length < 2 or len(body) < length - 2:
            break
        position += length
        if marker == _SOS:
            if not found.components:
                raise BadImageError("the picture is damaged or truncated: rows before their header")
            numbers = _note_scan(found, body)
            following = _NEXT_MARKER.search(data, position)
            end = following.start() if following else len(data.rstrip(b"\xff"))
            _check_restarts(found, numbers, data[position:end])
            position = end
            size += position - start
            found.scans.append(size)
            kept.append(data[start:position])
            continue
        if marker in _SOF:
            _note_frame(found, marker, body)
        if marker == _DRI and len(body) == 2:
            (found.interval,) = struct.unpack(">H", body)
        if _APP0 <= marker < _APP0 + 16 or marker == _COM:
            _note_segment(found, marker, body, profile, parts)
            if marker not in (_APP0, _APP14):
                continue
        kept.append(data[start:position])
        size += position - start
    if not found.scans:
        raise BadImageError("the picture is damaged or truncated: it has no pixels")
    _check_complete(found)
    found.pixels = b"".join([*kept, b"\xff\xd9"])
    _join(found, profile, parts)
    _note_rest(found, data[position:])
    return found


def junk_behind_scans(found: JpegFound) -> Iterator[bytes]:
    """The pixels' file with junk behind each scan, twice: by chance one kind may change nothing.

    Nothing where junk could be taken for data: arithmetic coding may leave out zeros at the end.
    """
    if not found.huffman:
        return
    blocks = (found.width + 15) * (found.height + 15) // 64 * len(found.components)
    size = min(_JUNK_PER_BLOCK * blocks + 64, 2**24)
    junk = np.random.default_rng(1).integers(1, 255, size, np.uint8)  # no 0xFF, inverted neither
    for kind in (junk, ~junk):
        parts, start = [], 0
        for end in found.scans:
            parts += [found.pixels[start:end], kind.tobytes()]
            start = end
        yield b"".join([*parts, found.pixels[start:]])


def _note_frame(found: JpegFound, marker: int, body: bytes) -> None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise BadImageError("the picture is damaged or truncated: bad header")
    if not found.components:
        found.height, found.width = struct.unpack_from(">HH", body, 1)
        ids = body[6 : 6 + 3 * body[5] : 3]
        found.components = {number: [99] * 64 for number in ids}
        factors = ((value >> 4, value & 15) for value in body[7 : 6 + 3 * body[5] : 3])
        found.sampling = dict(zip(ids, factors, strict=True))
        found.progressive = marker in (0xC2, 0xCA)
        found.huffman = marker in _SOF_HUFFMAN


def _note_scan(found: JpegFound, body: bytes) -> bytes:
    """Which bits of which coefficients the scan brings; the numbers of its components."""
    count = body[0] if body else 0
    if len(body) < 4 + 2 * count:
        raise BadImageError("the picture is damaged or truncated: bad header of its rows")
    first, last, low = 0, 63, 0
    if found.progressive:
        first, last, low = body[1 + 2 * count], body[2 + 2 * count], body[3 + 2 * count] & 15
    numbers = body[1 : 1 + 2 * count : 2]
    for number in numbers:
        for index in range(first, min(last, 63) + 1):
            if number in found.components:
                found.components[number][index] = low
    return numbers


def _check_restarts(found: JpegFound, numbers: bytes, data: bytes) -> None:
    """Raise BadImageError when marks between the intervals of a scan are missing."""
    factors = [found.sampling.get(number, (0, 0)) for number in numbers]
    if not found.interval or not factors or (0, 0) in factors:
        return
    widest = max(h for h, _ in found.sampling.values())
    tallest = max(v for _, v in found.sampling.values())
    h, v = factors[0] if len(factors) == 1 else (1, 1)  # of one component a unit is one block
    columns = -(-found.width * h // (8 * widest))
    rows = -(-found.height * v // (8 * tallest))
    if len(_RESTART.findall(data)) < -(-columns * rows // found.interval) - 1:
        raise BadImageError("the picture is damaged or truncated: coded data is missing")


def _check_complete(found: JpegFound) -> None:
    """Refuse a picture that lacks whole scans. Coefficients that no scan brings may be zero by
    intent, but only in a file that has its end."""
    for bits in found.components.values():
        unfinished = any(0 < low < 99 for low in bits) or bits[0] == 99
        if unfinished or (99 in bits and not found.complete):
            raise BadImageError("the picture is damaged or truncated: scans are missing")
    if not found.complete:
        found.notes.append("the end mark is missing: the file may have been cut")


def _note_segment(
    found: JpegFound,
    marker: int,
    body: bytes,
    profile: dict[int, bytes],
    parts: dict[bytes, list[tuple[int, int, bytes]]],
) -> None:
    if marker == _COM:
        found.drop("comment")
    elif marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 12:
        inches = {1: 1.0, 2: 2.54}.get(body[7], 0.0)
        found.drop_resolution(*(inches * value for value in struct.unpack_from(">HH", body, 8)))
    elif marker == 0xE1 and body.startswith(exif.PREFIX):
        exif.keep(found, body)
    elif marker == 0xE1 and body.startswith(xmp.PREFIX):
        xmp.keep(found, body[len(xmp.PREFIX) :])
    elif marker == 0xE1 and body.startswith(xmp.EXTENSION):
        rest = body[len(xmp.EXTENSION) :]
        if len(rest) >= 40:
            total, offset = struct.unpack_from(">II", rest, 32)
            parts.setdefault(rest[:32], []).append((offset, total, rest[40:]))
    elif marker == 0xE2 and body.startswith(_ICC) and len(body) > 14:
        profile.setdefault(body[12], body[13:])
    elif marker == 0xE2 and body.startswith(_MPF):
        found.drop("further pictures (MPO)")
    elif marker == 0xED and body.startswith(_PHOTOSHOP):
        found.drop("IPTC" if _IPTC in body else "Photoshop resources")


def _join(
    found: JpegFound, profile: dict[int, bytes], parts: dict[bytes, list[tuple[int, int, bytes]]]
) -> None:
    """Put together what lay in several segments."""
    if profile:
        count = next(iter(profile.values()))[0]
        if set(profile) == set(range(1, count + 1)):
            found.metadata["icc"] = b"".join(profile[i][1:] for i in range(1, count + 1))
        else:
            found.drop("ICC profile (damaged)")
    packet = found.metadata.get("xmp")
    if parts:
        extensions = {guid: _extension(pieces) for guid, pieces in parts.items()}
        whole = xmp.joined(packet, {k: v for k, v in extensions.items() if v}) if packet else None
        if whole is None:
            found.drop("extended XMP")
        else:
            found.metadata["xmp"] = packet = whole
            found.hidden.add("xmp")
    if packet and xmp.has_gain_map(packet):
        found.drop("gain map")


def _extension(pieces: list[tuple[int, int, bytes]]) -> bytes | None:
    """The parts of one extended packet in order; None when some are missing."""
    total, end = pieces[0][1], 0
    if total > MAX_METADATA:
        return None
    out = []
    for offset, size, piece in sorted(pieces):
        if offset != end or size != total:
            return None
        out.append(piece)
        end += len(piece)
    return b"".join(out) if end == total else None


def _note_rest(found: JpegFound, rest: bytes) -> None:
    """What follows the first picture."""
    if MAGIC in rest:
        found.drop("further pictures (MPO)")
    if rest[4:8] == b"ftyp" or b"MotionPhoto_Data" in rest or b"ftypmp4" in rest:
        found.drop("video (motion photo)")
