"""The `.vlae` container: a fixed header, then chunks, each with its own CRC32.

Version 2 ends with the stack, so that a cut file is seen, and its checksum of the latent covers the
header, too; version 3 differs in what is on the stack. Files of both and of version 1 are read for
ever. Only this file and `coding.layout` with its
`coding.chunks` know its bytes, and `docs/FORMAT.md` says the same. Everything is little-endian.
Without metadata the container adds at most 48 bytes to the stack's words.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..coding.chunks import expand, pack_varint, squeeze, unpack_varint
from ..coding.layout import Layout, pack_words, unpack_words
from ..errors import BadFileError, BadImageError
from ..limits import MAX_METADATA, MAX_PIXELS
from ..metadata import Described

MAGIC = b"VLAE"
VERSION = 3

_HEADER = struct.Struct("<4sBBIIH8sBBI")
_EXCESS = struct.Struct("<h")
# Flags. A picture of three equal channels is coded as grey, and given back with three.
_GREY, _THREE = 1, 2
# Chunks of metadata, and what `images.Picture` calls them.
_METADATA = {b"i": "icc", b"e": "exif", b"x": "xmp", b"c": "cicp"}
_NAMES = {b"Z": "stack", b"A": "alpha", **_METADATA}
_LAYOUT = Layout(".vlae", MAGIC, VERSION, _HEADER, _NAMES, stack=b"Z", content="picture")


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
    three: bool = False  # whether a grey picture has three equal channels

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
        if self.three and not self.grey:
            raise ValueError("only grey pictures have three equal channels")

    @property
    def quality(self) -> float:
        """Quality on the user's scale, 0..100."""
        return self.quality_hundredths / 100

    @property
    def texture(self) -> float:
        """Default texture strength, 0..1."""
        return self.texture_255 / 255

    @property
    def first_versions(self) -> bool:
        """Whether the latents are coded as in versions 1 and 2."""
        return self.version < 3

    @property
    def one_channel(self) -> bool:
        """Whether the picture is given back with one channel."""
        return self.grey and not self.three

    def checksum(self, latent: bytes) -> int:
        """What `z_crc` must be: the CRC32 of the header's other fields and z, in version 1 of z.

        Args:
            latent: z [C, h, w] as little-endian 16-bit integers in that order.
        """
        return _LAYOUT.checksum(_fixed(self), latent)


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
class Container(Described):
    """A whole `.vlae` file. `alpha`: a PNG of the plane; `metadata`: the picture's blocks."""

    header: Header
    stack: Stack
    alpha: bytes | None = None
    metadata: Mapping[str, bytes] = field(default_factory=dict)


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
    chunks = {b"Z": _pack_stack(container.stack)}
    if container.alpha is not None:
        chunks[b"A"] = container.alpha
    for kind, name in _METADATA.items():
        if (block := container.metadata.get(name)) is not None:
            chunks[kind] = _pack_metadata(name, block)
    return _LAYOUT.write(_fixed(container.header), chunks)


def unpack(data: bytes) -> Container:
    """Parse a whole file. Raises BadFileError on anything that `pack` would not have written."""
    header, chunks = _unpack_header(data), _LAYOUT.read(data)
    metadata = {
        name: expand(chunks[kind], MAX_METADATA, name.upper())
        for kind, name in _METADATA.items()
        if kind in chunks
    }
    return Container(header, _unpack_stack(chunks[b"Z"]), chunks.get(b"A"), metadata)


def info(data: bytes) -> Info:
    """What a `.vlae` file holds, without decoding its picture. Raises BadFileError."""
    header, chunks = _unpack_header(data), _LAYOUT.read(data)
    stack, sizes = _unpack_stack(chunks[b"Z"]), _LAYOUT.sizes(chunks)
    bits = 32 * len(stack.words)
    return Info(
        header, header.version, stack.bits_back, bits, bits - stack.excess, sizes, len(data)
    )


def salvage(data: bytes) -> tuple[Container, list[str]]:
    """What is whole in a damaged file, and the names of the parts that are not.

    Raises BadFileError when the header or the stack is damaged: then there is no picture.
    """
    header = _unpack_header(data)
    chunks, lost = _LAYOUT.find(data)
    metadata = {}
    for kind, name in _METADATA.items():
        if kind in chunks:
            try:
                metadata[name] = expand(chunks[kind], MAX_METADATA, name.upper())
            except BadFileError:
                lost.append(name)
    return Container(header, _unpack_stack(chunks[b"Z"]), chunks.get(b"A"), metadata), lost


def _unpack_header(data: bytes) -> Header:
    version = _LAYOUT.read_version(data)
    _, _, flags, width, height, quality, model_id, seed, texture, z_crc = _HEADER.unpack_from(data)
    if flags & ~(_GREY | _THREE if version > 1 else _GREY):
        raise BadFileError("the file uses flags of a newer vlaec")
    try:
        return Header(
            width=width,
            height=height,
            grey=bool(flags & _GREY),
            quality_hundredths=quality,
            model_id=model_id,
            seed=seed,
            texture_255=texture,
            z_crc=z_crc,
            version=version,
            three=bool(flags & _THREE),
        )
    except ValueError as error:
        raise BadFileError(f"damaged file: {error}") from error


def _fixed(header: Header) -> bytes:
    """The header's fields as they stand in a file, without their own checksum."""
    return _HEADER.pack(
        MAGIC,
        header.version,
        _GREY * header.grey | _THREE * header.three,
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
    return pack_varint(stack.bits_back) + _EXCESS.pack(excess) + pack_words(stack.words)


def _unpack_stack(payload: bytes) -> Stack:
    bits_back, start = unpack_varint(payload, 0, "count of bits-back symbols")
    words = unpack_words(payload, start + _EXCESS.size)
    (excess,) = _EXCESS.unpack_from(payload, start)
    return Stack(words, bits_back, excess)


def _pack_metadata(name: str, block: bytes) -> bytes:
    if len(block) > MAX_METADATA:
        raise BadImageError(f"the {name.upper()} block of the picture exceeds {MAX_METADATA} bytes")
    return squeeze(block)
