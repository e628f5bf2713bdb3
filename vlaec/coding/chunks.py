"""What the two containers share: a sealed header, chunks with a CRC32 each, numbers, zlib blocks.

A container is a header with a CRC32 after it, then chunks up to the end: one letter, a length, the
payload, the CRC32 of all three. Upper case is mandatory, lower case may be skipped. All numbers are
little-endian.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping

from ..errors import BadFileError

CRC_SIZE = 4

_CRC = struct.Struct("<I")
_CHUNK = struct.Struct("<cI")
_VARINT_BYTES = 5


def seal(header: bytes) -> bytes:
    """A header followed by its CRC32."""
    return header + _CRC.pack(zlib.crc32(header))


def check_header(data: bytes, magic: bytes, newest: int, size: int, suffix: str) -> int:
    """The version, 1 to `newest`, of a file that starts with a sealed header of `size` bytes: the
    magic, a byte with the version, anything. Raises BadFileError for any other file."""
    if not data:
        raise BadFileError("the file is empty")
    if not data.startswith(magic[: len(data)]):
        raise BadFileError(f"not a {suffix} file")
    # Before the CRC: its place may depend on the version.
    version = data[len(magic)] if len(data) > len(magic) else newest
    if version > newest:
        raise BadFileError(f"the file has format version {version} and needs a newer vlaec")
    if version < 1:
        raise BadFileError(f"damaged file: there is no format version {version}")
    if len(data) < size + CRC_SIZE:
        raise BadFileError("truncated file: it ends within the header")
    if zlib.crc32(data[:size]) != _CRC.unpack_from(data, size)[0]:
        raise BadFileError("damaged file: the header's checksum is wrong")
    return version


def write_chunk(kind: bytes, payload: bytes) -> bytes:
    """One chunk."""
    return seal(_CHUNK.pack(kind, len(payload)) + payload)


def chunk_size(payload: bytes) -> int:
    """Bytes of a chunk in the file."""
    return _CHUNK.size + len(payload) + CRC_SIZE


def read_chunks(
    data: bytes, start: int, names: Mapping[bytes, str], last: bytes | None = None
) -> dict[bytes, bytes]:
    """Payloads by type of the chunks from `start` to the end.

    Args:
        last: type of the chunk that ends every file, None where any may.

    Raises:
        BadFileError: damage, a type that occurs twice, a mandatory one that is not in `names`,
            an end without the chunk that is to be the last.
    """
    chunks: dict[bytes, bytes] = {}
    for kind, payload in _walk(data, start):
        if kind in chunks:
            raise BadFileError(f"damaged file: two chunks of type {kind.decode()}")
        if kind not in names and kind.isupper():
            raise BadFileError(f"the file needs a newer vlaec (chunk {kind.decode()})")
        if last in chunks:
            raise BadFileError("damaged file: something follows its end")
        chunks[kind] = payload
    if last is not None and last not in chunks:
        raise BadFileError("truncated file: its end is missing")
    return chunks


def _walk(data: bytes, position: int) -> Iterator[tuple[bytes, bytes]]:
    while position < len(data):
        if len(data) - position < _CHUNK.size:
            raise BadFileError("truncated or damaged file: it ends within a chunk")
        kind, length = _CHUNK.unpack_from(data, position)
        end = position + _CHUNK.size + length
        if end + CRC_SIZE > len(data):
            raise BadFileError("truncated or damaged file: it ends within a chunk")
        if zlib.crc32(data[position:end]) != _CRC.unpack_from(data, end)[0]:
            raise BadFileError("damaged file: a chunk's checksum is wrong")
        if not kind.isalpha():
            raise BadFileError("damaged file: a chunk's type is not a letter")
        yield kind, data[position + _CHUNK.size : end]
        position = end + CRC_SIZE


def find_chunks(
    data: bytes, start: int, names: Mapping[bytes, str]
) -> tuple[dict[bytes, bytes], list[str]]:
    """The chunks that are whole in a damaged file: payloads by type, and names of what is not.

    After damage the next place is taken where a chunk of a type in `names` has a right checksum.
    """
    chunks: dict[bytes, bytes] = {}
    lost: list[str] = []
    places = re.compile(b"[" + b"".join(names) + b"]")
    while start < len(data):
        payload = _whole_chunk(data, start)
        if payload is not None:
            kind = data[start : start + 1]
            if kind in names:
                chunks.setdefault(kind, payload)
            start += chunk_size(payload)
            continue
        lost.append(names.get(data[start : start + 1], "unknown part"))
        candidates = (match.start() for match in places.finditer(data, start + 1))
        start = next((at for at in candidates if _whole_chunk(data, at) is not None), len(data))
    return chunks, lost


def _whole_chunk(data: bytes, start: int) -> bytes | None:
    """The payload of the chunk at `start`, if its length fits and its checksum is right."""
    if len(data) - start < _CHUNK.size + CRC_SIZE:
        return None
    _, length = _CHUNK.unpack_from(data, start)
    end = start + _CHUNK.size + length
    if end + CRC_SIZE > len(data):
        return None
    if zlib.crc32(data[start:end]) != _CRC.unpack_from(data, end)[0]:
        return None
    return data[start + _CHUNK.size : end]


def pack_varint(value: int) -> bytes:
    """LEB128: seven bits per byte, low ones first, the top bit set on all but the last byte."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def unpack_varint(payload: bytes, start: int, name: str) -> tuple[int, int]:
    """The number at `start` and the position after it; at most 5 bytes and none superfluous.

    Raises BadFileError, which says that the number called `name` is bad.
    """
    value = 0
    for i, byte in enumerate(payload[start : start + _VARINT_BYTES]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            if byte == 0 and i > 0:
                break
            return value, start + i + 1
    raise BadFileError(f"damaged file: bad {name}")


def squeeze(block: bytes) -> bytes:
    """One byte, 0 for raw and 1 for zlib, then the block in the shorter of the two forms."""
    squeezed = zlib.compress(block, 9)
    return b"\x01" + squeezed if len(squeezed) < len(block) else b"\x00" + block


def expand(payload: bytes, limit: int, name: str) -> bytes:
    """Inverse of `squeeze`.

    Raises BadFileError, which names the chunk `name`, also when the block exceeds `limit` bytes.
    """
    method, block = payload[:1], payload[1:]
    if method == b"\x01":
        inflater = zlib.decompressobj()
        try:
            block = inflater.decompress(block, limit + 1)
        except zlib.error:
            method = b""
        if not inflater.eof or inflater.unused_data:
            method = b""
    if method not in (b"\x00", b"\x01") or len(block) > limit:
        raise BadFileError(f"damaged file: bad {name} chunk")
    return block
