"""What both containers consist of: a sealed header, chunks, and a stack of words among them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import BadFileError
from . import chunks


@dataclass(frozen=True)
class Layout:
    """One kind of container. From version 2 on the stack ends the file.

    `header`: magic, version, ..., CRC32 of these and the content; `names`: names of chunks by type;
    `stack`: type of the stack's chunk; `content`: word for it in messages.
    """

    suffix: str
    magic: bytes
    newest: int
    header: struct.Struct
    names: Mapping[bytes, str]
    stack: bytes
    content: str

    def read_version(self, data: bytes) -> int:
        """The version of a file whose header is whole. Raises BadFileError."""
        return chunks.check_header(data, self.magic, self.newest, self.header.size, self.suffix)

    def checksum(self, header: bytes, content: bytes) -> int:
        """CRC32 of a header's other fields and the content, in version 1 of the content alone."""
        return zlib.crc32(content, 0 if self._is_first(header) else zlib.crc32(header[:-4]))

    def write(self, header: bytes, payloads: Mapping[bytes, bytes]) -> bytes:
        """A file of chunks by type; all but the stack are in the order given."""
        side = 1 if self._is_first(header) else -1
        kinds = sorted(payloads, key=lambda kind: side * (kind != self.stack))
        return chunks.seal(header) + b"".join(chunks.write_chunk(k, payloads[k]) for k in kinds)

    def read(self, data: bytes) -> dict[bytes, bytes]:
        """Payloads by type of a file whose header is whole. Raises BadFileError."""
        last = None if self._is_first(data) else self.stack
        payloads = chunks.read_chunks(data, self._start, self.names, last)
        if self.stack not in payloads:
            raise BadFileError(f"truncated file: the data of its {self.content} is missing")
        return payloads

    def find(self, data: bytes, *needed: bytes) -> tuple[dict[bytes, bytes], list[str]]:
        """Payloads that are whole in a damaged file, and names of the others.

        Raises BadFileError where the stack or a type in `needed` is among the latter.
        """
        payloads, lost = chunks.find_chunks(data, self._start, self.names)
        if not {self.stack, *needed} <= payloads.keys():
            raise BadFileError(f"damaged file: nothing can be saved of its {self.content}")
        return payloads, lost

    def sizes(self, payloads: Mapping[bytes, bytes]) -> dict[str, int]:
        """Bytes of a file by the names of its parts."""
        sizes = {"header": self._start}
        for kind, payload in payloads.items():
            name = self.names.get(kind, "unknown")
            sizes[name] = sizes.get(name, 0) + chunks.chunk_size(payload)
        return sizes

    def _is_first(self, header: bytes) -> bool:
        return header[len(self.magic)] == 1

    @property
    def _start(self) -> int:
        return self.header.size + chunks.CRC_SIZE


def pack_words(words: np.ndarray) -> bytes:
    """A stack [N] uint32 as it stands in a file."""
    return np.ascontiguousarray(words, dtype="<u4").tobytes()


def unpack_words(payload: bytes, start: int) -> np.ndarray:
    """Inverse of `pack_words` for the end of a payload. Raises BadFileError."""
    if len(payload) < start or (len(payload) - start) % 4:
        raise BadFileError("damaged file: the stack is not a whole number of words")
    return np.frombuffer(payload, dtype="<u4", offset=start).astype(np.uint32)
