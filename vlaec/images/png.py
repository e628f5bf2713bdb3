"""PNG files by their chunks: metadata, colour, transparent colour, and whether rows are missing.

Pillow gets the pixels' chunks alone. It would refuse profiles above 1 MiB, lose colour keys at
depths other than 8, and accept a picture whose rows end early.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import BadImageError
from ..limits import MAX_METADATA
from . import exif, icc, xmp
from .findings import Findings

MAGIC = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6

_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
_DEPTHS = {GREY: (1, 2, 4, 8, 16), PALETTE: (1, 2, 4, 8)}
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
# First column, first row, steps to the right and down of each pass.
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
_STEP = 2**20  # bytes inflated at a time


@dataclass
class PngFindings(Findings):
    """`colour`: colour type; `key`: the transparent colour at the file's own depth, one value or
    three; `animated`: it has the chunks of an APNG; `palette`: it has one."""

    width: int = 0
    height: int = 0
    depth: int = 0
    colour: int = 0
    interlaced: bool = False
    key: tuple[int, ...] | None = None
    animated: bool = False
    palette: bool = False
    idat: list[memoryview] = field(default_factory=list)


def scan(data: bytes) -> PngFindings:
    """Read all chunks. Raises BadImageError when one that the pixels need is damaged."""
    findings = PngFindings(b"")
    kept: list[bytes | memoryview] = [MAGIC]
    ancillary: dict[bytes, bytes] = {}
    texts: list[tuple[bytes, bytes, bytes]] = []
    for kind, content, whole, raw in _chunks(data):
        body = b"" if kind == b"IDAT" else bytes(content)
        if not whole:
            if kind in _CRITICAL:
                raise BadImageError(
                    f"the picture is damaged or truncated: {kind.decode()} has a wrong checksum"
                )
            name = kind.decode("latin-1")
            findings.drop(f"{name} chunk (damaged)")
            continue
        if not findings.width and kind != b"IHDR":
            raise BadImageError(
                "the picture is damaged or truncated: it does not start with a header"
            )
        if kind == b"IHDR":
            _header(findings, body)
        elif kind == b"IDAT":
            findings.idat.append(content)
        elif kind == b"PLTE":
            _check_palette(findings, body)
        elif kind[:1].isupper() and kind not in _CRITICAL:
            raise BadImageError(
                f"the picture needs the PNG chunk {kind.decode()}, which is unknown"
            )
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            texts.append((kind, *_split_text(body)))
        elif kind in _ANIMATION:
            findings.animated |= kind == b"acTL"
        else:
            ancillary.setdefault(kind, body)
        palette_alpha = kind == b"tRNS" and findings.colour == PALETTE
        if kind in _CRITICAL or kind in _ANIMATION or palette_alpha:
            kept.append(raw)
        if kind == b"IEND":
            break
    else:
        if not findings.idat:
            raise BadImageError("the picture is damaged or truncated: it has no pixels")
        findings.notes.append("the end mark is missing: the file may have been cut")
        kept.append(struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND")))
    if findings.colour == PALETTE and not findings.palette:
        raise BadImageError("the picture is damaged or truncated: it has no palette")
    findings.pixels = b"".join(kept)
    _key(findings, ancillary.get(b"tRNS"))
    if b"eXIf" in ancillary:
        exif.keep(findings, ancillary[b"eXIf"])
    _colour(findings, ancillary)
    _texts(findings, texts)
    return findings


def check_rows(findings: PngFindings) -> None:
    """Raise BadImageError unless the compressed pixels fill the picture."""
    missing = _raw_size(findings)
    inflater = zlib.decompressobj()
    try:
        for part in findings.idat:
            block: bytes | memoryview = part
            while block and missing > 0 and not inflater.eof:
                missing -= len(inflater.decompress(block, _STEP))
                block = inflater.unconsumed_tail
        if missing > 0:
            missing -= len(inflater.flush())
    except zlib.error as error:
        raise BadImageError(f"the picture is damaged or truncated ({error})") from error
    if missing > 0:
        raise BadImageError("the picture is damaged or truncated: rows are missing")


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, bool, memoryview]]:
    """Type, body, whether the checksum is right, and all bytes of every complete chunk, as views
    of the file: it may be large."""
    position, view = len(MAGIC), memoryview(data)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data) or not kind.isalpha():
            if kind == b"IDAT":
                raise BadImageError("the picture is damaged or truncated: it ends within its rows")
            return
        whole = (
            zlib.crc32(view[position + 4 : end - 4]) == struct.unpack_from(">I", data, end - 4)[0]
        )
        yield kind, view[position + 8 : end - 4], whole, view[position:end]
        position = end


def _header(findings: PngFindings, body: bytes) -> None:
    if findings.width or len(body) != 13:
        raise BadImageError("the picture is damaged or truncated: bad header")
    width, height, depth, colour, method, filters, interlace = struct.unpack(">IIBBBBB", body)
    valid = colour in _CHANNELS and depth in _DEPTHS.get(colour, (8, 16))
    if not valid or method or filters or interlace > 1:
        raise BadImageError("the picture is damaged or truncated: bad header")
    if not width or not height:
        raise BadImageError("the picture has no pixels")
    findings.width, findings.height = width, height
    findings.depth, findings.colour, findings.interlaced = depth, colour, interlace == 1


def _check_palette(findings: PngFindings, body: bytes) -> None:
    """Whole entries, as many as there can be; other kinds of pictures only suggest one."""
    sound = not findings.palette and body and len(body) % 3 == 0 and len(body) <= 768
    if findings.colour == PALETTE and not sound:
        raise BadImageError("the picture is damaged or truncated: bad palette")
    findings.palette = True


def _raw_size(findings: PngFindings) -> int:
    """Bytes of all rows with their filter bytes."""
    bits = findings.depth * _CHANNELS[findings.colour]
    size = 0
    for x, y, dx, dy in _ADAM7 if findings.interlaced else ((0, 0, 1, 1),):
        columns = -(-(findings.width - x) // dx)
        rows = -(-(findings.height - y) // dy)
        if columns > 0 and rows > 0:
            size += rows * (1 + -(-columns * bits // 8))
    return size


def _key(findings: PngFindings, body: bytes | None) -> None:
    """The transparent colour of a grey or RGB picture, of which the low bits count."""
    count = {GREY: 1, RGB: 3}.get(findings.colour)
    if body is None or count is None:
        return
    if len(body) < 2 * count:
        findings.drop("tRNS chunk (damaged)")
        return
    mask = (1 << findings.depth) - 1
    findings.key = tuple(value & mask for value in struct.unpack_from(f">{count}H", body))


def _colour(findings: PngFindings, chunks: dict[bytes, bytes]) -> None:
    """Colour in the order of the PNG specification: cICP, iCCP, sRGB, gAMA with cHRM."""
    if b"cICP" in chunks:
        if len(chunks[b"cICP"]) == 4:
            findings.metadata["cicp"] = chunks[b"cICP"]
        else:
            findings.drop("cICP chunk (damaged)")
    if b"iCCP" in chunks:
        name, _, rest = chunks[b"iCCP"].partition(b"\0")
        profile = inflate(rest[1:]) if rest[:1] == b"\0" and name else None
        if profile:
            findings.metadata["icc"] = profile
        else:
            findings.drop("ICC profile (damaged)")
    elif b"sRGB" not in chunks and "cicp" not in findings.metadata:
        profile = icc.from_png(
            chunks.get(b"gAMA"), chunks.get(b"cHRM"), findings.colour in (GREY, GREY_ALPHA)
        )
        if profile:
            findings.hide("icc", profile)
            findings.notes.append("gamma and chromaticities were turned into an ICC profile")
    for kind, what in ((b"mDCV", "mastering display"), (b"cLLI", "light levels")):
        if kind in chunks:
            findings.drop(what)
    if len(unit := chunks.get(b"pHYs", b"")) == 9 and unit[8] == 1:
        findings.drop_resolution(*(0.0254 * v for v in struct.unpack(">II", unit[:8])))


def _split_text(body: bytes) -> tuple[bytes, bytes]:
    keyword, _, rest = body.partition(b"\0")
    return keyword, rest


def _texts(findings: PngFindings, texts: list[tuple[bytes, bytes, bytes]]) -> None:
    """XMP, EXIF written as text by ImageMagick, and the names of what is not kept."""
    others = []
    for kind, keyword, rest in texts:
        value = _text(kind, rest)
        name = keyword.decode("latin-1")
        if value is None:
            findings.drop(f"text {name!r} (damaged)")
        elif keyword == b"XML:com.adobe.xmp":
            xmp.keep(findings, value)
        elif name.lower().startswith("raw profile type "):
            _raw_profile(findings, name[17:].strip().lower(), value)
        else:
            others.append(name)
    if others:
        findings.drop("text (" + ", ".join(dict.fromkeys(others)) + ")")


def _text(kind: bytes, rest: bytes) -> bytes | None:
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return inflate(rest[1:]) if rest[:1] == b"\0" else None
    if len(rest) < 2:
        return None
    squeezed, method = rest[0], rest[1]
    fields = rest[2:].split(b"\0", 2)  # language, translated keyword, text
    if len(fields) < 3 or (squeezed and method):
        return None
    return inflate(fields[2]) if squeezed else fields[2]


def _raw_profile(findings: PngFindings, name: str, value: bytes) -> None:
    """ImageMagick's form: name, length, then hexadecimal digits in lines."""
    try:
        digits = b"".join(value.split()[2:])
        block = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        block = b""
    if not block:
        findings.drop(f"raw profile {name} (damaged)")
    elif name in ("exif", "app1") and block.startswith(xmp.PREFIX):
        findings.hide("xmp", block[len(xmp.PREFIX) :])
    elif name in ("exif", "app1"):
        findings.hide("exif", block.removeprefix(exif.PREFIX))
    elif name == "xmp":
        findings.hide("xmp", block)
    elif name in ("icc", "icm"):
        findings.hide("icc", block)
    else:
        findings.drop(f"{name.upper()} profile")


def inflate(block: bytes) -> bytes | None:
    """A zlib stream of at most MAX_METADATA bytes, or None."""
    inflater = zlib.decompressobj()
    try:
        value = inflater.decompress(block, MAX_METADATA + 1)
    except zlib.error:
        return None
    return value if inflater.eof and len(value) <= MAX_METADATA else None
