"""The `.vlae` container: a fixed header, then chunks, each with its own CRC32.

Version 2 ends with the stack, so that a cut file is seen, and its checksum of the latent covers the
header, too. Files of version 1 are read for ever. Only this file and `vlaec.coding.chunks` know its
bytes, and `docs/FORMAT.md` says the same. Everything is little-endian. Without metadata the
container adds at most 48 bytes to the stack's words.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..coding.chunks import (
    CRC_SIZE,
    check_header,
    chunk_size,
    expand,
    find_chunks,
    pack_varint,
    read_chunks,
    seal,
    squeeze,
    unpack_varint,
    write_chunk,
)
from ..errors import BadFileError, BadImageError
from ..limits import MAX_METADATA, MAX_PIXELS

MAGIC = b"VLAE"
VERSION = 2

_HEADER = struct.Struct("<4sBBIIH8sBBI")
_EXCESS = struct.Struct("<h")
_GREY = 1
# Chunks of metadata, and what `images.Picture` calls them.
_METADATA = {b"i": "icc", b"e": "exif", b"x": "xmp", b"c": "cicp"}
_NAMES = {b"Z": "stack", b"A": "alpha", **_METADATA}


@dataclass(frozen=True)
class Header:
    """What the decoder must know before it reads the stack, in the units of the file.

    Raises ValueError when a field is outside its range.
    """

    width: int
    height: int
    grey: bool
    quality_hundredths: int  # 0..10000
    model_id: bytes  # first 8 bytes of the SHA-256 of the weights
    seed: int  # 0..255, of the texture's noise
    texture_255: int  # default texture strength times 255
    z_crc: int  # see `checksum`
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError("the picture has no pixels")
        if self.width * self.height > MAX_PIXELS:
            raise ValueError(f"{self.width} x {self.height} exceeds {MAX_PIXELS} pixels")
        if not 0 <= self.quality_hundredths <= 10000:
            raise ValueError(f"quality {self.quality_hundredths / 100} is not within 0 and 100")
        if len(self.model_id) != 8:
            raise ValueError("the model id is not 8 bytes long")
        if not (0 <= self.seed <= 255 and 0 <= self.texture_255 <= 255):
            raise ValueError("seed and texture are one byte each")
        if not 0 <= self.z_crc < 2**32:
            raise ValueError("the CRC of z is not 32 bits")
        if not 1 <= self.version <= VERSION:
            raise ValueError(f"there is no format version {self.version}")

    @property
    def quality(self) -> float:
        """Quality on the user's scale, 0..100."""
        return self.quality_hundredths / 100

    @property
    def texture(self) -> float:
        """Default texture strength, 0..1."""
        return self.texture_255 / 255

    def checksum(self, latent: bytes) -> int:
        """What `z_crc` must be: the CRC32 of the header's other fields and z, in version 1 of z.

        Args:
            latent: z [C, h, w] as little-endian 16-bit integers in that order.
        """
        return zlib.crc32(latent, 0 if self.version == 1 else zlib.crc32(_fixed(self)[:-4]))


@dataclass(frozen=True)
class Stack:
    """The entropy-coded stream.

    `words` [N] uint32; `bits_back`: number of symbols of w coded with bits-back; `excess`: bits of
    the stack minus the model's -log2 p of all it holds, stored saturated to 16 bits.
    """

    words: np.ndarray
    bits_back: int
    excess: int


@dataclass(frozen=True)
class Container:
    """A whole `.vlae` file. `alpha`: a PNG of the plane; `metadata`: the picture's blocks."""

    header: Header
    stack: Stack
    alpha: bytes | None = None
    metadata: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def icc(self) -> bytes | None:
        """The ICC profile."""
        return self.metadata.get("icc")

    @property
    def exif(self) -> bytes | None:
        """The EXIF block."""
        return self.metadata.get("exif")

    @property
    def xmp(self) -> bytes | None:
        """The XMP packet."""
        return self.metadata.get("xmp")


@dataclass(frozen=True)
class Info:
    """What a file holds. `sizes`: bytes by stream, container included; they add up to `total`.

    `predicted_bits`: the model's -log2 p of the stack, exact unless |excess| reached 32767.
    """

    header: Header
    version: int
    bits_back: int
    stack_bits: int
    predicted_bits: int
    sizes: dict[str, int]
    total: int

    @property
    def bpp(self) -> float:
        """Bits per pixel of the whole file."""
        return 8 * self.total / (self.header.width * self.header.height)


def pack(container: Container) -> bytes:
    """Serialise. Raises BadImageError when a metadata block exceeds 64 MiB."""
    parts = []
    if container.alpha is not None:
        parts.append(write_chunk(b"A", container.alpha))
    for kind, name in _METADATA.items():
        if (block := container.metadata.get(name)) is not None:
            parts.append(write_chunk(kind, _pack_metadata(name, block)))
    stack = write_chunk(b"Z", _pack_stack(container.stack))
    parts.insert(0 if container.header.version == 1 else len(parts), stack)
    return b"".join([seal(_fixed(container.header)), *parts])


def unpack(data: bytes) -> Container:
    """Parse a whole file. Raises BadFileError on anything that `pack` would not have written."""
    header, chunks = _parse(data)
    metadata = {
        name: expand(chunks[kind], MAX_METADATA, name.upper())
        for kind, name in _METADATA.items()
        if kind in chunks
    }
    return Container(header, _unpack_stack(chunks[b"Z"]), chunks.get(b"A"), metadata)


def info(data: bytes) -> Info:
    """What a `.vlae` file holds, without decoding its picture. Raises BadFileError."""
    header, chunks = _parse(data)
    stack = _unpack_stack(chunks[b"Z"])
    sizes = {"header": _HEADER.size + CRC_SIZE}
    for kind, payload in chunks.items():
        name = _NAMES.get(kind, "unknown")
        sizes[name] = sizes.get(name, 0) + chunk_size(payload)
    bits = 32 * len(stack.words)
    return Info(
        header, header.version, stack.bits_back, bits, bits - stack.excess, sizes, len(data)
    )


def salvage(data: bytes) -> tuple[Container, list[str]]:
    """What is whole in a damaged file, and the names of the parts that are not.

    Raises BadFileError when the header or the stack is damaged: then there is no picture.
    """
    header = _unpack_header(data)
    chunks, lost = find_chunks(data, _HEADER.size + CRC_SIZE, _NAMES)
    if b"Z" not in chunks:
        raise BadFileError("damaged file: nothing can be saved of its picture")
    metadata = {}
    for kind, name in _METADATA.items():
        if kind in chunks:
            try:
                metadata[name] = expand(chunks[kind], MAX_METADATA, name.upper())
            except BadFileError:
                lost.append(name)
    return Container(header, _unpack_stack(chunks[b"Z"]), chunks.get(b"A"), metadata), lost


def _parse(data: bytes) -> tuple[Header, dict[bytes, bytes]]:
    """Header and payloads by chunk type, all CRCs checked."""
    header = _unpack_header(data)
    last = None if header.version == 1 else b"Z"
    chunks = read_chunks(data, _HEADER.size + CRC_SIZE, _NAMES, last)
    if b"Z" not in chunks:
        raise BadFileError("truncated file: the picture's data is missing")
    return header, chunks


def _unpack_header(data: bytes) -> Header:
    version = check_header(data, MAGIC, VERSION, _HEADER.size, ".vlae")
    _, _, flags, width, height, quality, model_id, seed, texture, z_crc = _HEADER.unpack_from(data)
    if flags & ~_GREY:
        raise BadFileError("the file uses flags of a newer vlaec")
    try:
        return Header(width, height, bool(flags), quality, model_id, seed, texture, z_crc, version)
    except ValueError as error:
        raise BadFileError(f"damaged file: {error}") from error


def _fixed(header: Header) -> bytes:
    """The header's fields as they stand in a file, without their own checksum."""
    return _HEADER.pack(
        MAGIC,
        header.version,
        _GREY if header.grey else 0,
        header.width,
        header.height,
        header.quality_hundredths,
        header.model_id,
        header.seed,
        header.texture_255,
        header.z_crc,
    )


def _pack_stack(stack: Stack) -> bytes:
    excess = max(-32767, min(32767, stack.excess))
    words = np.ascontiguousarray(stack.words, dtype="<u4").tobytes()
    return pack_varint(stack.bits_back) + _EXCESS.pack(excess) + words


def _unpack_stack(payload: bytes) -> Stack:
    bits_back, start = unpack_varint(payload, 0, "count of bits-back symbols")
    if len(payload) < start + _EXCESS.size or (len(payload) - start - _EXCESS.size) % 4:
        raise BadFileError("damaged file: the stack is not a whole number of words")
    (excess,) = _EXCESS.unpack_from(payload, start)
    words = np.frombuffer(payload, dtype="<u4", offset=start + _EXCESS.size)
    return Stack(words.astype(np.uint32), bits_back, excess)


def _pack_metadata(name: str, block: bytes) -> bytes:
    if len(block) > MAX_METADATA:
        raise BadImageError(f"the {name.upper()} block of the picture exceeds {MAX_METADATA} bytes")
    return squeeze(block)
