"""The `.vlaa` container: a set of small images of one size as one file.

Version 2 ends with the stack, so that a cut file is seen, and its checksum covers the header, too.
Files of version 1 are read for ever. Only this file and `coding.layout` with its `coding.chunks`
know its bytes, and `docs/FORMAT.md` says the same.
"""

from __future__ import annotations

import struct
import unicodedata
from dataclasses import dataclass

import numpy as np

from ..coding.chunks import expand, pack_varint, squeeze, unpack_varint
from ..coding.layout import Layout, pack_words, unpack_words
from ..errors import BadFileError, UsageError
from ..limits import MAX_VALUES

MAGIC = b"VLAA"
VERSION = 2
MAX_NAMES = 2**26  # bytes of all names together
MAX_INITIAL = 2**24  # words that a stack is started with
MAX_BLOCK = 2**10  # images that are coded together: bounds the reader's memory
MAX_NAME = 255  # bytes of one name
NOT_SENT = 255

_HEADER = struct.Struct("<4sBBIHH8sII")
_EXCESS = struct.Struct("<i")
_COLOUR, _LOSSY = 1, 2
_DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"
}
_NAMES = {b"S": "stack", b"Q": "steps", b"n": "names"}
_LAYOUT = Layout(".vlaa", MAGIC, VERSION, _HEADER, _NAMES, stack=b"S", content="images")


@dataclass(frozen=True)
class Header:
    """What the decoder must know before it reads the stack.

    Raises ValueError when a field is outside its range.
    """

    count: int
    height: int
    width: int
    colour: bool
    lossy: bool
    model_id: bytes  # first 8 bytes of the SHA-256 of the weights
    seed: int  # for resampling (lossy archives only), 32 bits
    crc: int  # see `checksum`
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.count < 1 or self.height < 1 or self.width < 1:
            raise ValueError("the archive has no pixels")
        if max(self.height, self.width) >= 2**16 or self.values > MAX_VALUES:
            raise ValueError(f"the images have more than {MAX_VALUES} values together")
        if len(self.model_id) != 8:
            raise ValueError("the model id is not 8 bytes long")
        if not (0 <= self.seed < 2**32 and 0 <= self.crc < 2**32):
            raise ValueError("seed and CRC are 32 bits each")
        if not 1 <= self.version <= VERSION:
            raise ValueError(f"there is no format version {self.version}")

    @property
    def values(self) -> int:
        """Pixels times colours, of all images: the dimensions of bits/dim."""
        return self.count * self.height * self.width * (3 if self.colour else 1)

    def checksum(self, content: bytes) -> int:
        """What `crc` must be: the CRC32 of the header's other fields and of the content, in
        version 1 of the content alone.

        Args:
            content: the images (lossless) or z (lossy), as the codec lays them out.
        """
        return _LAYOUT.checksum(_fixed(self), content)


@dataclass(frozen=True)
class Stack:
    """The entropy-coded stream.

    `words` [n] uint32; `initial`: how many words it was started with; `excess`: bits beyond those
    minus the model's -log2 p, saturated to 32 bits; `blocks`: numbers of images that were coded
    together, in the order of coding.
    """

    words: np.ndarray
    initial: int
    excess: int
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class Archive:
    """A whole `.vlaa` file.

    `steps`: one byte for each channel of z (lossy archives only); `names`: file names of images.
    """

    header: Header
    stack: Stack
    steps: bytes | None = None
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Info:
    """What a file holds. `sizes`: bytes by stream, container included; they add up to `total`."""

    header: Header
    version: int
    stack: Stack
    sizes: dict[str, int]
    total: int

    @property
    def initial_bits(self) -> int:
        """Bits that the stack was started with: a cost once per archive, not of its content."""
        return 32 * self.stack.initial

    @property
    def predicted_bits(self) -> int:
        """The model's -log2 p of the content, exact unless the excess was saturated."""
        return 32 * len(self.stack.words) - self.initial_bits - self.stack.excess

    @property
    def bits_per_dim(self) -> float:
        """Bits per dimension of the whole file."""
        return 8 * self.total / self.header.values

    @property
    def net_bits_per_dim(self) -> float:
        """Bits per dimension of the file without the initial bits."""
        return (8 * self.total - self.initial_bits) / self.header.values


def pack(archive: Archive) -> bytes:
    """Serialise. Raises UsageError when the names exceed 64 MiB."""
    chunks = {b"S": _pack_stack(archive.stack)}
    if archive.steps is not None:
        chunks[b"Q"] = archive.steps
    if archive.names is not None:
        block = "\0".join(archive.names).encode()
        if len(block) > MAX_NAMES:
            raise UsageError(f"the names of the images exceed {MAX_NAMES} bytes")
        chunks[b"n"] = squeeze(block)
    return _LAYOUT.write(_fixed(archive.header), chunks)


def unpack(data: bytes) -> Archive:
    """Parse a whole file. Raises BadFileError on anything that `pack` would not have written."""
    return _unpack(_unpack_header(data), _LAYOUT.read(data))


def info(data: bytes) -> Info:
    """What a `.vlaa` file holds, without decoding its images. Raises BadFileError."""
    header, chunks = _unpack_header(data), _LAYOUT.read(data)
    stack = _unpack(header, chunks).stack
    return Info(header, header.version, stack, _LAYOUT.sizes(chunks), len(data))


def salvage(data: bytes) -> tuple[Archive, list[str]]:
    """What is whole in a damaged file, and the names of the parts that are not.

    Raises BadFileError when the header, the stack or a lossy archive's steps are damaged.
    """
    header = _unpack_header(data)
    chunks, lost = _LAYOUT.find(data, *([b"Q"] if header.lossy else []))
    try:
        return _unpack(header, chunks), lost
    except BadFileError:
        if chunks.pop(b"n", None) is None:
            raise
        return _unpack(header, chunks), [*lost, "names"]


def safe_names(names: tuple[str, ...]) -> bool:
    """Whether these can be the names of different files of one folder, on any system.

    Windows reserves the names of devices with any suffix and drops dots and spaces at the end;
    macOS takes the composed and the decomposed form of a letter for the same.
    """
    return (
        _plain_names(names)
        and all(
            name[-1] not in ". "
            and name[0] != " "
            and len(name.encode()) <= MAX_NAME
            and name.split(".")[0].rstrip().upper() not in _DEVICES
            for name in names
        )
        and len({_folded(name) for name in names}) == len(names)
    )


def _plain_names(names: tuple[str, ...]) -> bool:
    """The rule of version 1: not empty, no folders, no control characters, no two equal."""
    bad = ("", ".", "..")
    plain = all(
        name not in bad and name.isprintable() and not set(name) & set('/\\:*?"<>|')
        for name in names
    )
    return plain and len({name.casefold() for name in names}) == len(names)


def _folded(name: str) -> str:
    """One form for all names that some system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())


def _unpack_header(data: bytes) -> Header:
    version = _LAYOUT.read_version(data)
    _, _, flags, count, height, width, model_id, seed, crc = _HEADER.unpack_from(data)
    if flags & ~(_COLOUR | _LOSSY):
        raise BadFileError("the file uses flags of a newer vlaec")
    colour, lossy = bool(flags & _COLOUR), bool(flags & _LOSSY)
    try:
        return Header(count, height, width, colour, lossy, model_id, seed, crc, version)
    except ValueError as error:
        raise BadFileError(f"damaged file: {error}") from error


def _unpack(header: Header, chunks: dict[bytes, bytes]) -> Archive:
    stack = _unpack_stack(chunks[b"S"])
    if sum(stack.blocks) != header.count or 0 in stack.blocks:
        raise BadFileError("damaged file: the blocks do not make up the archive's images")
    if max(stack.blocks) > MAX_BLOCK:
        raise BadFileError(f"damaged file: a block of more than {MAX_BLOCK} images")
    steps = chunks.get(b"Q")
    if (steps is not None) != header.lossy:
        raise BadFileError("damaged file: the steps of z belong to lossy archives, and only there")
    return Archive(header, stack, steps, _unpack_names(chunks.get(b"n"), header))


def _fixed(header: Header) -> bytes:
    """The header's fields as they stand in a file, without their own checksum."""
    flags = (_COLOUR if header.colour else 0) | (_LOSSY if header.lossy else 0)
    sizes = (header.count, header.height, header.width)
    ends = (header.model_id, header.seed, header.crc)
    return _HEADER.pack(MAGIC, header.version, flags, *sizes, *ends)


def _pack_stack(stack: Stack) -> bytes:
    excess = max(-(2**31) + 1, min(2**31 - 1, stack.excess))
    numbers = (stack.initial, len(stack.blocks), *stack.blocks)
    return _EXCESS.pack(excess) + b"".join(map(pack_varint, numbers)) + pack_words(stack.words)


def _unpack_stack(payload: bytes) -> Stack:
    if len(payload) < _EXCESS.size:
        raise BadFileError("damaged file: the stack is cut short")
    (excess,) = _EXCESS.unpack_from(payload)
    initial, start = unpack_varint(payload, _EXCESS.size, "count of initial words")
    if initial > MAX_INITIAL:
        raise BadFileError("damaged file: bad count of initial words")
    count, start = unpack_varint(payload, start, "count of blocks")
    blocks = []
    for _ in range(count):
        size, start = unpack_varint(payload, start, "size of a block")
        blocks.append(size)
    return Stack(unpack_words(payload, start), initial, excess, tuple(blocks))


def _unpack_names(payload: bytes | None, header: Header) -> tuple[str, ...] | None:
    if payload is None:
        return None
    try:
        names = tuple(expand(payload, MAX_NAMES, "names").decode().split("\0"))
    except UnicodeDecodeError as error:
        raise BadFileError("damaged file: the names are not UTF-8") from error
    allowed = safe_names(names) if header.version > 1 else _plain_names(names)
    if len(names) != header.count or not allowed:
        raise BadFileError("damaged file: these cannot be the names of the images")
    return names
