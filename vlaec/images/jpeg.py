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
from .findings import Findings

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
class JpegFindings(Findings):
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


def scan(data: bytes) -> JpegFindings:
    """Read all segments of the first picture. Raises BadImageError when the headers are cut."""
    findings = JpegFindings(b"")
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
            findings.complete = True
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
            if not findings.components:
                raise BadImageError("the picture is damaged or truncated: rows before their header")
            numbers = _note_scan(findings, body)
            following = _NEXT_MARKER.search(data, position)
            end = following.start() if following else len(data.rstrip(b"\xff"))
            _check_restarts(findings, numbers, data[position:end])
            position = end
            size += position - start
            findings.scans.append(size)
            kept.append(data[start:position])
            continue
        if marker in _SOF:
            _note_frame(findings, marker, body)
        if marker == _DRI and len(body) == 2:
            (findings.interval,) = struct.unpack(">H", body)
        if _APP0 <= marker < _APP0 + 16 or marker == _COM:
            _note_segment(findings, marker, body, profile, parts)
            if marker not in (_APP0, _APP14):
                continue
        kept.append(data[start:position])
        size += position - start
    if not findings.scans:
        raise BadImageError("the picture is damaged or truncated: it has no pixels")
    _check_complete(findings)
    findings.pixels = b"".join([*kept, b"\xff\xd9"])
    _join(findings, profile, parts)
    _note_rest(findings, data[position:])
    return findings


def junk_behind_scans(findings: JpegFindings) -> Iterator[bytes]:
    """The pixels' file with junk behind each scan, twice: by chance one kind may change nothing.

    Nothing where junk could be taken for data: arithmetic coding may leave out zeros at the end.
    """
    if not findings.huffman:
        return
    blocks = (findings.width + 15) * (findings.height + 15) // 64 * len(findings.components)
    size = min(_JUNK_PER_BLOCK * blocks + 64, 2**24)
    junk = np.random.default_rng(1).integers(1, 255, size, np.uint8)  # no 0xFF, inverted neither
    for kind in (junk, ~junk):
        parts, start = [], 0
        for end in findings.scans:
            parts += [findings.pixels[start:end], kind.tobytes()]
            start = end
        yield b"".join([*parts, findings.pixels[start:]])


def _note_frame(findings: JpegFindings, marker: int, body: bytes) -> None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise BadImageError("the picture is damaged or truncated: bad header")
    if not findings.components:
        findings.height, findings.width = struct.unpack_from(">HH", body, 1)
        ids = body[6 : 6 + 3 * body[5] : 3]
        findings.components = {number: [99] * 64 for number in ids}
        factors = ((value >> 4, value & 15) for value in body[7 : 6 + 3 * body[5] : 3])
        findings.sampling = dict(zip(ids, factors, strict=True))
        findings.progressive = marker in (0xC2, 0xCA)
        findings.huffman = marker in _SOF_HUFFMAN


def _note_scan(findings: JpegFindings, body: bytes) -> bytes:
    """Which bits of which coefficients the scan brings; the numbers of its components."""
    count = body[0] if body else 0
    if len(body) < 4 + 2 * count:
        raise BadImageError("the picture is damaged or truncated: bad header of its rows")
    first, last, low = 0, 63, 0
    if findings.progressive:
        first, last, low = body[1 + 2 * count], body[2 + 2 * count], body[3 + 2 * count] & 15
    numbers = body[1 : 1 + 2 * count : 2]
    for number in numbers:
        for index in range(first, min(last, 63) + 1):
            if number in findings.components:
                findings.components[number][index] = low
    return numbers


def _check_restarts(findings: JpegFindings, numbers: bytes, data: bytes) -> None:
    """Raise BadImageError when marks between the intervals of a scan are missing."""
    factors = [findings.sampling.get(number, (0, 0)) for number in numbers]
    if not findings.interval or not factors or (0, 0) in factors:
        return
    widest = max(h for h, _ in findings.sampling.values())
    tallest = max(v for _, v in findings.sampling.values())
    h, v = factors[0] if len(factors) == 1 else (1, 1)  # of one component a unit is one block
    columns = -(-findings.width * h // (8 * widest))
    rows = -(-findings.height * v // (8 * tallest))
    if len(_RESTART.findall(data)) < -(-columns * rows // findings.interval) - 1:
        raise BadImageError("the picture is damaged or truncated: coded data is missing")


def _check_complete(findings: JpegFindings) -> None:
    """Refuse a picture that lacks whole scans. Coefficients that no scan brings may be zero by
    intent, but only in a file that has its end."""
    for bits in findings.components.values():
        unfinished = any(0 < low < 99 for low in bits) or bits[0] == 99
        if unfinished or (99 in bits and not findings.complete):
            raise BadImageError("the picture is damaged or truncated: scans are missing")
    if not findings.complete:
        findings.notes.append("the end mark is missing: the file may have been cut")


def _note_segment(
    findings: JpegFindings,
    marker: int,
    body: bytes,
    profile: dict[int, bytes],
    parts: dict[bytes, list[tuple[int, int, bytes]]],
) -> None:
    if marker == _COM:
        findings.drop("comment")
    elif marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 12:
        inches = {1: 1.0, 2: 2.54}.get(body[7], 0.0)
        findings.drop_resolution(*(inches * value for value in struct.unpack_from(">HH", body, 8)))
    elif marker == 0xE1 and body.startswith(exif.PREFIX):
        exif.keep(findings, body)
    elif marker == 0xE1 and body.startswith(xmp.PREFIX):
        xmp.keep(findings, body[len(xmp.PREFIX) :])
    elif marker == 0xE1 and body.startswith(xmp.EXTENSION):
        rest = body[len(xmp.EXTENSION) :]
        if len(rest) >= 40:
            total, offset = struct.unpack_from(">II", rest, 32)
            parts.setdefault(rest[:32], []).append((offset, total, rest[40:]))
    elif marker == 0xE2 and body.startswith(_ICC) and len(body) > 14:
        profile.setdefault(body[12], body[13:])
    elif marker == 0xE2 and body.startswith(_MPF):
        findings.drop("further pictures (MPO)")
    elif marker == 0xED and body.startswith(_PHOTOSHOP):
        findings.drop("IPTC" if _IPTC in body else "Photoshop resources")


def _join(
    findings: JpegFindings,
    profile: dict[int, bytes],
    parts: dict[bytes, list[tuple[int, int, bytes]]],
) -> None:
    """Put together what lay in several segments."""
    if profile:
        count = next(iter(profile.values()))[0]
        if set(profile) == set(range(1, count + 1)):
            findings.metadata["icc"] = b"".join(profile[i][1:] for i in range(1, count + 1))
        else:
            findings.drop("ICC profile (damaged)")
    packet = findings.metadata.get("xmp")
    if parts:
        extensions = {guid: _extension(pieces) for guid, pieces in parts.items()}
        whole = xmp.joined(packet, {k: v for k, v in extensions.items() if v}) if packet else None
        if whole is None:
            findings.drop("extended XMP")
        else:
            findings.metadata["xmp"] = packet = whole
            findings.hidden.add("xmp")
    if packet and xmp.has_gain_map(packet):
        findings.drop("gain map")


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


def _note_rest(findings: JpegFindings, rest: bytes) -> None:
    """What follows the first picture."""
    if MAGIC in rest:
        findings.drop("further pictures (MPO)")
    if rest[4:8] == b"ftyp" or b"MotionPhoto_Data" in rest or b"ftypmp4" in rest:
        findings.drop("video (motion photo)")
