"""The archive's container: unpack inverts pack, the layout is the documented one, every damage."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlaec.errors import BadFileError
from vlaec.sets import container as archive_container
from vlaec.sets.container import MAX_BLOCK, MAX_INITIAL, Archive, Header, Stack, info, pack, unpack

HEADER = Header(
    count=7,
    height=28,
    width=20,
    colour=False,
    lossy=False,
    model_id=b"\x01\x23\x45\x67\x89\xab\xcd\xef",
    seed=9,
    crc=0xDEADBEEF,
)
STACK = Stack(np.array([1, 2**32 - 1, 0x12345678], np.uint32), 11, -5, (1, 2, 4))
LOSSY = replace(HEADER, lossy=True)
NAMES = tuple(f"{i}.png" for i in range(7))
NUMBERS = struct.pack("<i", -5) + bytes([11, 3, 1, 2, 4])
WORDS = struct.pack("<III", 1, 2**32 - 1, 0x12345678)


def header_bytes(**fields: object) -> bytes:
    """A header with a right CRC around fields that `Header` itself would refuse."""
    values = {
        **{"version": 2, "flags": 0, "count": 7, "height": 28, "width": 20},
        **{"model_id": HEADER.model_id, "seed": 9, "crc": 0xDEADBEEF},
        **fields,
    }
    fixed = struct.pack("<4sBBIHH8sII", b"VLAA", *values.values())
    return fixed + struct.pack("<I", zlib.crc32(fixed))


def chunk(kind: bytes, payload: bytes) -> bytes:
    body = struct.pack("<cI", kind, len(payload)) + payload
    return body + struct.pack("<I", zlib.crc32(body))


S = chunk(b"S", NUMBERS + WORDS)
SMALL = header_bytes() + S


def around(*chunks: bytes) -> bytes:
    """A file with these chunks before its end."""
    return header_bytes() + b"".join(chunks) + S


@st.composite
def archives(draw: st.DrawFn) -> Archive:
    blocks = draw(st.lists(st.integers(1, 300), min_size=1, max_size=20))
    count = sum(blocks)
    header = Header(
        count=count,
        height=draw(st.integers(1, 300)),
        width=draw(st.integers(1, 300)),
        colour=draw(st.booleans()),
        lossy=draw(st.booleans()),
        model_id=draw(st.binary(min_size=8, max_size=8)),
        seed=draw(st.integers(0, 2**32 - 1)),
        crc=draw(st.integers(0, 2**32 - 1)),
    )
    words = np.array(draw(st.lists(st.integers(0, 2**32 - 1))), np.uint32)
    initial = draw(st.integers(0, MAX_INITIAL))
    stack = Stack(words, initial, draw(st.integers(-(2**31) + 1, 2**31 - 1)), tuple(blocks))
    steps = draw(st.binary(max_size=99)) if header.lossy else None
    names = tuple(f"é{i}" for i in range(count)) if draw(st.booleans()) else None
    return Archive(header, stack, steps, names)


@given(archives())
def test_unpack_inverts_pack(made: Archive) -> None:
    data = pack(made)
    back = unpack(data)
    assert np.array_equal(back.stack.words, made.stack.words)
    assert back.stack.words.dtype == np.uint32
    assert replace(back, stack=replace(back.stack, words=made.stack.words)) == made
    facts = info(data)
    assert sum(facts.sizes.values()) == facts.total == len(data)


def test_layout_is_the_documented_one() -> None:
    assert pack(Archive(HEADER, STACK)) == SMALL
    lossy = Archive(replace(LOSSY, colour=True), STACK, steps=b"\x00\xff", names=NAMES)
    names = b"\x01" + zlib.compress("\0".join(NAMES).encode(), 9)
    raw = b"\x00" + "\0".join(NAMES).encode()
    expected = header_bytes(flags=3) + chunk(b"Q", b"\x00\xff")
    assert pack(lossy) == expected + chunk(b"n", min(names, raw, key=len)) + S
    assert len(header_bytes()) == 34


def test_rates_without_the_initial_bits() -> None:
    facts = info(SMALL)
    assert facts.initial_bits == 32 * 11
    assert facts.predicted_bits == 32 * (3 - 11) + 5
    dims = 7 * 28 * 20
    assert facts.bits_per_dim == 8 * len(SMALL) / dims
    assert facts.net_bits_per_dim == (8 * len(SMALL) - 32 * 11) / dims


def test_excess_saturates() -> None:
    for excess, stored in ((2**40, 2**31 - 1), (-(2**40), -(2**31) + 1)):
        made = Archive(HEADER, replace(STACK, excess=excess))
        assert unpack(pack(made)).stack.excess == stored


def test_every_flipped_byte_is_detected() -> None:
    data = pack(Archive(LOSSY, STACK, steps=b"\x05\x06", names=NAMES))
    for position in range(len(data)):
        for mask in (1, 0x20, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= mask
            with pytest.raises(BadFileError):
                unpack(bytes(damaged))


def test_every_truncation_is_detected() -> None:
    data = pack(Archive(LOSSY, STACK, steps=b"\x05", names=NAMES))
    for length in range(len(data)):
        with pytest.raises(BadFileError):
            unpack(data[:length])


def with_names(*names: str) -> bytes:
    return around(chunk(b"n", b"\x00" + "\0".join(names).encode()))


def stack_chunk(*numbers: int) -> bytes:
    return header_bytes() + chunk(b"S", bytes(4) + bytes(numbers))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"VLAE" + bytes(50), "not a .vlaa file"),
        (b"VLAA\x03", "version 3 and needs a newer"),
        (header_bytes(version=0), "no format version 0"),
        (header_bytes(flags=4), "newer"),
        (header_bytes(count=0), "no pixels"),
        (header_bytes(width=0), "no pixels"),
        (header_bytes(count=2**32 - 1), "values"),
        (header_bytes(), "end is missing"),
        (header_bytes(version=1), "data of its images is missing"),
        (SMALL + chunk(b"n", b""), "follows its end"),
        (SMALL + b"\x00", "within a chunk"),
        (around(S), "two chunks of type S"),
        (around(chunk(b"X", b"")), "newer vlaec .chunk X"),
        (around(chunk(b"Q", b"\x01")), "belong to lossy"),
        (header_bytes(flags=2) + chunk(b"S", NUMBERS + WORDS), "belong to lossy"),
        (header_bytes() + chunk(b"S", b"\x00"), "cut short"),
        (header_bytes() + chunk(b"S", NUMBERS + WORDS[:-1]), "whole number"),
        (header_bytes() + chunk(b"S", bytes(4) + b"\xff\xff\xff\x7f\x00"), "initial"),
        (stack_chunk(0x80), "initial words"),
        (stack_chunk(0), "blocks"),
        (stack_chunk(0, 3, 1), "size of a block"),
        (stack_chunk(0, 2, 1, 5), "do not make up"),
        (stack_chunk(0, 3, 0, 3, 4), "do not make up"),
        (with_names("a", "b"), "names"),
        (with_names(*"abcdef", "../g"), "names"),
        (with_names(*"abcdef", "a\\g"), "names"),
        (with_names(*"abcdef", "C:g"), "names"),
        (with_names(*"abcdef", ".."), "names"),
        (with_names(*"abcdef", ""), "names"),
        (with_names(*"abcdef", "A"), "names"),
        (with_names(*"abcdef", "g\n"), "names"),
        (stack_chunk(0, 1, 0x81, 0x08), "do not make up"),
        (around(chunk(b"n", b"\x00\xff\xfe")), "UTF-8"),
        (around(chunk(b"n", b"\x02abc")), "names chunk"),
    ],
)
def test_bad_files_have_clear_errors(data: bytes, message: str) -> None:
    with pytest.raises(BadFileError, match=message):
        unpack(data)


def test_unknown_optional_chunks_are_skipped() -> None:
    facts = info(around(chunk(b"z", b"later")))
    assert facts.sizes["unknown"] == 14 and archive_container.unpack(SMALL).names is None


BAD_NAMES = ["NUL", "con.png", "Com1.tar.gz", "a.", "a ", " a", "AUX .png", "x" * 256, "LPT\u00b2"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_some_system_cannot_hold_are_refused(name: str) -> None:
    assert not archive_container.safe_names((name,))
    with pytest.raises(BadFileError, match="names"):
        unpack(with_names(*"abcdef", name))


def test_names_that_some_system_takes_for_the_same_are_refused() -> None:
    for twins in (("\u00e9", "e\u0301"), ("STRASSE", "stra\u00dfe"), ("\ufb01", "fi")):
        assert not archive_container.safe_names(twins)
        assert all(archive_container.safe_names((name,)) for name in twins)
    assert archive_container.safe_names(
        ("console.png", "nul-1.png", "\u00e9.png", ".hidden", "a b")
    )


def test_version_1_is_read_and_written_as_it_was() -> None:
    old = replace(LOSSY, version=1)
    names = tuple(f"nul.{i}" for i in range(7))  # version 2 would refuse them
    made = pack(Archive(old, STACK, b"\x05", names))
    assert made[4] == 1 and made[34:35] == b"S"
    assert unpack(made).names == names and info(made).version == 1
    assert old.checksum(b"z") == zlib.crc32(b"z") != LOSSY.checksum(b"z")


def test_blocks_are_bounded() -> None:
    header = replace(HEADER, count=MAX_BLOCK + 1)
    with pytest.raises(BadFileError, match="a block of more than"):
        unpack(pack(Archive(header, replace(STACK, blocks=(MAX_BLOCK + 1,)))))
    split = replace(STACK, blocks=(MAX_BLOCK, 1))
    assert unpack(pack(Archive(header, split))).stack.blocks == (MAX_BLOCK, 1)
