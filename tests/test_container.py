"""The container: its law (unpack inverts pack), its overhead, and every kind of damage."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlaec import images
from vlaec.errors import BadFileError, BadImageError
from vlaec.limits import MAX_METADATA, MAX_PIXELS
from vlaec.photo import container
from vlaec.photo.container import Container, Header, Stack, pack, unpack

HEADER = Header(
    width=600,
    height=400,
    grey=False,
    quality_hundredths=5000,
    model_id=b"\x01\x23\x45\x67\x89\xab\xcd\xef",
    seed=7,
    texture_255=204,
    z_crc=0xDEADBEEF,
)
STACK = Stack(np.array([1, 2**32 - 1, 0x12345678], np.uint32), bits_back=96, excess=-5)


def small(alpha: bytes | None = None, **metadata: bytes) -> bytes:
    return pack(Container(HEADER, STACK, alpha, metadata))


def header_bytes(**fields: object) -> bytes:
    """A header with a right CRC around fields that `Header` itself would refuse."""
    values = {
        **{"version": 3, "flags": 0, "width": 600, "height": 400, "quality": 5000},
        **{"model_id": b"12345678", "seed": 0, "texture": 0, "crc": 0},
        **fields,
    }
    fixed = struct.pack("<4sBBIIH8sBBI", b"VLAE", *values.values())
    return fixed + struct.pack("<I", zlib.crc32(fixed))


def chunk(kind: bytes, payload: bytes) -> bytes:
    body = struct.pack("<cI", kind, len(payload)) + payload
    return body + struct.pack("<I", zlib.crc32(body))


Z = chunk(b"Z", b"\x60" + struct.pack("<hIII", -5, 1, 2**32 - 1, 0x12345678))


def around(*chunks: bytes) -> bytes:
    """A file with these chunks before its end."""
    return header_bytes() + b"".join(chunks) + Z


def assert_same(a: Container, b: Container) -> None:
    assert a.header == b.header
    assert np.array_equal(a.stack.words, b.stack.words)
    assert a.stack.words.dtype == b.stack.words.dtype == np.uint32
    assert (a.stack.bits_back, a.stack.excess) == (b.stack.bits_back, b.stack.excess)
    assert a.alpha == b.alpha
    assert dict(a.metadata) == dict(b.metadata)


headers = st.builds(
    Header,
    width=st.integers(1, 2**14),
    height=st.integers(1, 2**14),
    grey=st.booleans(),
    quality_hundredths=st.integers(0, 10000),
    model_id=st.binary(min_size=8, max_size=8),
    seed=st.integers(0, 255),
    texture_255=st.integers(0, 255),
    z_crc=st.integers(0, 2**32 - 1),
).map(lambda header: replace(header, three=header.grey and header.seed % 2 == 1))
stacks = st.builds(
    Stack,
    words=st.lists(st.integers(0, 2**32 - 1)).map(lambda words: np.array(words, np.uint32)),
    bits_back=st.integers(0, 2**21),
    excess=st.integers(-32767, 32767),
)
blocks = st.binary(max_size=300) | st.just(b"compressible" * 50)
metadata = st.dictionaries(st.sampled_from(images.METADATA), blocks)


@given(st.builds(Container, headers, stacks, st.none() | blocks, metadata))
def test_unpack_inverts_pack(made: Container) -> None:
    assert_same(unpack(pack(made)), made)


def test_layout_is_the_documented_one() -> None:
    fields = {"model_id": HEADER.model_id, "seed": 7, "texture": 204, "crc": 0xDEADBEEF}
    assert small(b"plane", xmp=b"x") == b"".join(
        [header_bytes(**fields), chunk(b"A", b"plane"), chunk(b"x", b"\0x"), Z]
    )
    assert len(header_bytes()) == 34


@pytest.mark.parametrize(
    ("bits_back", "overhead"), [(0, 46), (127, 46), (128, 47), (16384, 48), (2**21 - 1, 48)]
)
def test_overhead_is_at_most_48_bytes(bits_back: int, overhead: int) -> None:
    made = Container(HEADER, replace(STACK, bits_back=bits_back))
    assert len(pack(made)) - 4 * len(STACK.words) == overhead


def test_excess_saturates() -> None:
    for excess, stored in ((10**6, 32767), (-(10**6), -32767)):
        assert unpack(pack(Container(HEADER, replace(STACK, excess=excess)))).stack.excess == stored


def test_every_flipped_byte_is_detected() -> None:
    data = small(alpha=b"plane", icc=b"profile" * 9, exif=b"x", xmp=b"<x/>")
    for position in range(len(data)):
        for mask in (1, 0x20, 0x80, 0xFF):  # 0x20 turns a chunk type's case
            damaged = bytearray(data)
            damaged[position] ^= mask
            with pytest.raises(BadFileError):
                unpack(bytes(damaged))


def test_every_truncation_is_detected() -> None:
    data = small(alpha=b"plane", icc=b"profile" * 9, exif=b"x", cicp=b"abcd")
    for length in range(len(data)):
        with pytest.raises(BadFileError):
            unpack(data[:length])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not a .vlae file"),
        (b"VL", "truncated"),
        (b"VLAE\x04", "version 4 and needs a newer"),
        (header_bytes(version=0), "no format version 0"),
        (header_bytes(flags=4), "newer"),
        (header_bytes(flags=3, version=1), "newer"),
        (header_bytes(flags=2), "three equal channels"),
        (header_bytes(width=2**31, height=2**31), "pixels"),
        (header_bytes(width=MAX_PIXELS + 1, height=1), "pixels"),
        (header_bytes(width=0), "no pixels"),
        (header_bytes(quality=10001), "quality"),
        (header_bytes(), "end is missing"),
        (header_bytes(version=1), "data of its picture is missing"),
        (header_bytes() + chunk(b"i", b"\x00a"), "end is missing"),
        (small() + b"\x00", "within a chunk"),
        (around(Z), "two chunks of type Z"),
        (around() + chunk(b"i", b"\0a"), "follows its end"),
        (around(chunk(b"Q", b"")), "newer vlaec .chunk Q"),
        (around(chunk(b"7", b"")), "not a letter"),
        (header_bytes() + chunk(b"Z", b""), "count"),
        (header_bytes() + chunk(b"Z", b"\x00"), "whole number"),
        (header_bytes() + chunk(b"Z", b"\x00\x00\x00\x01"), "whole number"),
        (header_bytes() + chunk(b"Z", b"\x80\x00\x00\x00"), "count"),
        (header_bytes() + chunk(b"Z", b"\xff\xff\xff\xff\xff\x01\x00\x00"), "count"),
        (around(chunk(b"i", b"")), "ICC"),
        (around(chunk(b"e", b"\x02abc")), "EXIF"),
        (around(chunk(b"x", b"\x01abc")), "XMP"),
        (around(chunk(b"x", b"\x01" + zlib.compress(b"abc")[:-1])), "XMP"),
        (around(chunk(b"x", b"\x01" + zlib.compress(b"abc") + b"!")), "XMP"),
    ],
)
def test_bad_files_have_clear_errors(data: bytes, message: str) -> None:
    with pytest.raises(BadFileError, match=message):
        unpack(data)


def test_metadata_bombs_are_refused() -> None:
    bomb = zlib.compress(bytes(MAX_METADATA + 1))
    with pytest.raises(BadFileError, match="ICC"):
        unpack(around(chunk(b"i", b"\x01" + bomb)))
    with pytest.raises(BadImageError, match="ICC"):
        small(icc=bytes(MAX_METADATA + 1))


def test_metadata_is_squeezed_where_that_helps() -> None:
    assert len(small(icc=bytes(10000))) < len(small()) + 50
    assert len(small(icc=b"abc")) == len(small()) + 9 + 1 + 3


def test_unknown_optional_chunks_are_skipped() -> None:
    data = around(chunk(b"q", b"from the future"))
    assert_same(unpack(data), unpack(around()))
    assert container.info(data).sizes["unknown"] == 9 + 15


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 0},
        {"height": -1},
        {"width": 2**31, "height": 2**31},
        {"quality_hundredths": 10001},
        {"model_id": b"short"},
        {"seed": 256},
        {"texture_255": -1},
        {"z_crc": 2**32},
        {"version": 4},
    ],
)
def test_header_refuses_what_it_cannot_hold(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(HEADER, **fields)


def test_info_accounts_for_every_byte() -> None:
    data = small(alpha=b"plane", icc=b"p", exif=b"e", xmp=b"x")
    info = container.info(data)
    assert info.header == HEADER
    assert list(info.sizes) == ["header", "alpha", "icc", "exif", "xmp", "stack"]
    assert sum(info.sizes.values()) == info.total == len(data)
    assert (info.stack_bits, info.predicted_bits, info.bits_back) == (96, 101, 96)
    assert info.bpp == pytest.approx(8 * len(data) / 240000)
    assert (info.header.quality, info.header.texture) == (50.0, 0.8)


def test_version_1_is_read_and_written_as_it_was() -> None:
    old = replace(HEADER, version=1)
    made = pack(Container(old, STACK, b"plane", {"xmp": b"x"}))
    assert made[4] == 1 and made[34:35] == b"Z"
    assert_same(unpack(made), Container(old, STACK, b"plane", {"xmp": b"x"}))
    assert container.info(made).version == 1
    assert old.checksum(b"latent") == zlib.crc32(b"latent")


def test_version_2_differs_in_its_number_alone() -> None:
    old = pack(Container(replace(HEADER, version=2), STACK))
    new = pack(Container(HEADER, STACK))
    assert (old[4], new[4]) == (2, 3) and old[5:30] == new[5:30] and old[34:] == new[34:]
    assert unpack(old).header.first_versions and not unpack(new).header.first_versions


@given(st.binary(max_size=20), st.data())
def test_the_checksum_covers_every_field(latent: bytes, data: st.DataObject) -> None:
    base = replace(HEADER, grey=True)  # as which it may have any number of channels
    fields = [field for field in vars(base) if field not in ("z_crc", "version")]
    field = data.draw(st.sampled_from(fields))
    other = data.draw(headers.map(lambda header: getattr(header, field)))
    forged = replace(base, **{field: other})
    assert (forged.checksum(latent) == base.checksum(latent)) == (forged == base)
    assert replace(base, z_crc=1).checksum(latent) == base.checksum(latent)


def test_blocks_of_metadata_have_names() -> None:
    data = (Path(__file__).parent / "golden" / "photo-q60-v2.vlae").read_bytes()
    blocks = {"icc": b"profile", "exif": b"block", "xmp": b"packet"}
    whole = replace(container.unpack(data), metadata=blocks)
    back = container.unpack(container.pack(whole))
    assert {"icc": back.icc, "exif": back.exif, "xmp": back.xmp} == blocks
    assert replace(whole, metadata={}).xmp is None
