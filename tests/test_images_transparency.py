"""Transparent colours of PNG at every depth, and rows that are missing."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from pictures import chunk, png, stored
from PIL import Image

from vlaec import images
from vlaec.errors import BadImageError

RNG = np.random.default_rng(0)
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CASES = [
    *((depth, GREY) for depth in (1, 2, 4, 8, 16)),
    *((depth, RGB) for depth in (8, 16)),
]


def values_of(depth: int, channels: int, height: int = 13, width: int = 19) -> np.ndarray:
    """Few different values, so that a key occurs often, none of them the key in its high byte."""
    levels = RNG.integers(0, 2**depth, 3)
    return levels[RNG.integers(0, 3, (height, width, channels))]


def key_chunk(key: np.ndarray) -> bytes:
    return chunk(b"tRNS", key.astype(">u2").tobytes())


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("depth", "colour"), CASES)
def test_the_key_counts_at_the_depth_of_the_file(depth: int, colour: int, interlaced: bool) -> None:
    values = values_of(depth, 1 if colour == GREY else 3)
    key = values[2, 3]
    picture = images.read(png(values, depth, colour, key_chunk(key), interlaced=interlaced))
    expected = np.where((values == key).all(2), 0, 255)
    assert picture.alpha is not None and np.array_equal(picture.alpha, expected)
    assert picture.grey == (colour == GREY)
    plain = images.read(png(values, depth, colour, interlaced=interlaced))
    assert np.array_equal(plain.rgb, picture.rgb) and plain.alpha is None


@pytest.mark.parametrize("low", [0x00, 0x01, 0xFF])
@pytest.mark.parametrize("colour", [GREY, RGB])
def test_colours_that_differ_in_low_bytes_are_not_the_key(colour: int, low: int) -> None:
    channels = 1 if colour == GREY else 3
    values = np.full((4, 6, channels), 0x5600)
    values[:, :2] += low
    values[:, 2:4, 0] += 2
    key = np.full(channels, 0x5600 + low)
    alpha = images.read(png(values, 16, colour, key_chunk(key))).alpha
    expected = np.where((values == key).all(2), 0, 255)
    assert alpha is not None and np.array_equal(alpha, expected)


def test_only_the_low_bits_of_a_key_count() -> None:
    values = values_of(4, 1)
    key = chunk(b"tRNS", struct.pack(">H", 0xAB00 | int(values[0, 0, 0])))
    alpha = images.read(png(values, 4, GREY, key)).alpha
    assert alpha is not None and np.array_equal(alpha == 0, values[..., 0] == values[0, 0, 0])


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_with_transparency(depth: int) -> None:
    count = 2**depth
    palette = RNG.integers(0, 256, (count, 3), np.uint8)
    shares = RNG.integers(0, 255, max(1, count - 1), np.uint8)  # the last entry is opaque
    values = RNG.integers(0, count, (9, 11, 1))
    chunks = chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", shares.tobytes())
    picture = images.read(png(values, depth, PALETTE, chunks))
    assert np.array_equal(picture.rgb, palette[values[..., 0]])
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, np.append(shares, 255)[values[..., 0]])


@pytest.mark.parametrize(
    ("colour", "depth"), [(GREY_ALPHA, 8), (GREY_ALPHA, 16), (RGBA, 8), (RGBA, 16)]
)
def test_alpha_channels(colour: int, depth: int) -> None:
    channels = 2 if colour == GREY_ALPHA else 4
    values = RNG.integers(0, 2**depth, (9, 11, channels))
    picture = images.read(png(values, depth, colour))
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, values[..., -1] >> (depth - 8))
    assert picture.grey == (colour == GREY_ALPHA)
    assert picture.reduced == (depth == 16)
    assert np.array_equal(picture.rgb[..., 0], values[..., 0] >> (depth - 8))


def test_a_key_without_a_match_is_opaque_and_a_short_key_is_named() -> None:
    values = np.full((3, 3, 3), 7)
    alpha = images.read(png(values, 8, RGB, key_chunk(np.array([7, 7, 8])))).alpha
    assert alpha is not None and alpha.min() == 255
    picture = images.read(png(values, 8, RGB, chunk(b"tRNS", b"\0\7")))
    assert picture.alpha is None and picture.dropped


@pytest.mark.parametrize("lazy", [True, False])
def test_the_key_of_an_image_of_pillow(tmp_path: Path, lazy: bool) -> None:
    values = values_of(16, 3)
    path = tmp_path / "key.png"
    path.write_bytes(png(values, 16, RGB, key_chunk(values[0, 0])))
    with Image.open(path) as image:
        if not lazy:
            image.load()
        picture = images.from_pillow(image)
    if lazy:
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha == 0, (values == values[0, 0]).all(2))
    else:  # Pillow has cut the colours to 8 bits, and the key not
        assert picture.alpha is None and "transparent colour" in picture.dropped[0]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("depth", "colour", "channels"), [(8, RGB, 3), (1, GREY, 1), (16, RGBA, 4)]
)
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.999])
def test_missing_rows_are_an_error(
    depth: int, colour: int, channels: int, interlaced: bool, keep: float
) -> None:
    values = RNG.integers(0, 2**depth, (37, 41, channels))
    assert images.read(png(values, depth, colour, interlaced=interlaced)).height == 37
    with pytest.raises(BadImageError, match="truncated"):
        images.read(png(values, depth, colour, interlaced=interlaced, keep=keep))


def test_rows_in_many_chunks() -> None:
    data = stored(Image.fromarray(RNG.integers(0, 256, (90, 90, 3), np.uint8)), "png")
    start = data.index(b"IDAT") - 4
    body = data[start + 8 : start + 8 + struct.unpack_from(">I", data, start)[0]]
    parts = [body[i : i + 100] for i in range(0, len(body), 100)]
    for kept in (parts, parts[:-2], parts[:1]):
        again = data[:start] + b"".join(chunk(b"IDAT", part) for part in kept) + chunk(b"IEND", b"")
        if kept is parts:
            assert np.array_equal(images.read(again).rgb, images.read(data).rgb)
        else:
            with pytest.raises(BadImageError):
                images.read(again)


@pytest.mark.parametrize("palette", [None, b"", bytes(11), bytes(769), bytes(3 * 257)])
def test_a_palette_that_is_no_palette_is_an_error(palette: bytes | None) -> None:
    before = b"" if palette is None else chunk(b"PLTE", palette)
    with pytest.raises(BadImageError, match="palette"):
        images.read(png(np.zeros((2, 3, 1), np.uint8), 8, 3, before=before))


def test_a_second_palette_is_an_error_and_one_for_colours_only_a_hint() -> None:
    palette = chunk(b"PLTE", bytes(range(12)))
    with pytest.raises(BadImageError, match="palette"):
        images.read(png(np.zeros((2, 3, 1), np.uint8), 8, 3, before=2 * palette))
    values = np.full((2, 3, 3), 7, np.uint8)
    assert images.read(png(values, before=palette)).rgb.max() == 7


def test_a_chunk_that_readers_must_know_is_not_skipped() -> None:
    with pytest.raises(BadImageError, match="chunk CgBI, which is unknown"):
        images.read(png(np.zeros((2, 3, 3), np.uint8), before=chunk(b"CgBI", bytes(4))))


def test_a_broken_count_of_frames_is_one_frame_whatever_warnings_are() -> None:
    data = png(np.zeros((2, 3, 3), np.uint8), before=chunk(b"acTL", bytes(8)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.read(data).width == 3
        assert images.read(data, images.ReadOptions(frame=0)).width == 3


def test_a_short_cicp_chunk_is_named() -> None:
    data = png(np.zeros((2, 3, 3), np.uint8), before=chunk(b"cICP", bytes([9, 16])))
    assert images.read(data).dropped == ("cICP chunk (damaged)",)
