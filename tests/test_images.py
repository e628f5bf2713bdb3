"""Pictures in and out: modes, alpha, metadata, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from vlaec import images
from vlaec.errors import BadFileError, BadImageError, OutputError
from vlaec.limits import MAX_PIXELS

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GREY = RGB[..., 0]
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    exif[0x010F] = "maker"
    return exif.tobytes().removeprefix(b"Exif\x00\x00")


def stored(image: Image.Image, form: str = "png", **options: Any) -> io.BytesIO:
    out = io.BytesIO()
    image.save(out, format=form, **options)
    out.seek(0)
    return out


def png(width: int, height: int, depth: int = 8, colour: int = 2, body: bytes = b"") -> io.BytesIO:
    """A PNG by hand: the header may claim anything."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + parts)


def test_rgb() -> None:
    picture = images.read(stored(Image.fromarray(RGB)))
    assert np.array_equal(picture.rgb, RGB)
    assert (picture.width, picture.height) == (7, 5)
    assert picture.alpha is None and not picture.grey and not picture.reduced
    assert (picture.icc, picture.exif, picture.xmp) == (None, None, None)


def test_rgba_keeps_colours_under_transparency() -> None:
    pixels = np.dstack([RGB, np.where(GREY > 128, GREY, 0).astype(np.uint8)])
    picture = images.read(stored(Image.fromarray(pixels)))
    assert np.array_equal(picture.rgb, RGB)
    assert np.array_equal(picture.alpha, pixels[..., 3])


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_modes(mode: str) -> None:
    image = Image.fromarray(GREY).convert(mode)
    picture = images.read(stored(image))
    assert picture.grey
    assert np.array_equal(picture.rgb, np.array(image.convert("RGB")))
    assert (picture.alpha is not None) == (mode == "LA")
    assert images.to_pillow(picture).mode == ("LA" if mode == "LA" else "L")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_transparent_colour_becomes_alpha(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    key = image.getpixel((0, 0))
    picture = images.read(stored(image, transparency=key))
    assert picture.alpha is not None and picture.alpha[0, 0] == 0
    assert picture.alpha.max() == 255


def test_palette_with_and_without_transparency() -> None:
    image = Image.fromarray(RGB).quantize(16)
    picture = images.read(stored(image))
    assert np.array_equal(picture.rgb, np.array(image.convert("RGB")))
    assert picture.alpha is None
    picture = images.read(stored(image, transparency=bytes(range(0, 160, 10))))
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, 10 * np.array(image))


@pytest.mark.parametrize("form", ["png", "tiff", "ppm"])
def test_sixteen_bit_grey_is_rounded(form: str) -> None:
    values = np.array([[0, 128, 129, 385, 386, 65406, 65407, 65535]], np.uint16)
    picture = images.read(stored(Image.fromarray(values), form))
    assert picture.reduced and picture.grey
    assert picture.rgb[0, :, 0].tolist() == [0, 0, 1, 1, 2, 254, 255, 255]
    assert picture.rgb[0, :, 0].tolist() == np.round(values / 257).astype(int)[0].tolist()


def test_sixteen_bit_colour_says_so() -> None:
    picture = images.read(png(1, 1, depth=16, body=b"\x00" + bytes([200, 0, 100, 0, 50, 0])))
    assert picture.reduced
    assert picture.rgb[0, 0].tolist() == [200, 100, 50]


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_metadata_is_kept_on_both_ways(form: str) -> None:
    picture = images.Picture(RGB, metadata={"icc": ICC, "exif": exif_block(), "xmp": XMP})
    back = images.read(io.BytesIO(images.to_bytes(picture, form)))
    assert (back.icc, back.exif, back.xmp) == (picture.icc, picture.exif, picture.xmp)


def test_tiff_keeps_profile_and_pixels() -> None:
    picture = images.Picture(RGB, metadata={"icc": ICC, "xmp": XMP})
    back = images.read(io.BytesIO(images.to_bytes(picture, "tiff")))
    assert (back.icc, back.xmp) == (ICC, XMP)
    assert np.array_equal(back.rgb, RGB)


@pytest.mark.parametrize("form", ["png", "webp", "tiff"])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("alpha", [None, GREY])
def test_lossless_outputs_return_the_picture(form: str, grey: bool, alpha: Any) -> None:
    rgb = np.repeat(GREY[..., None], 3, axis=2) if grey else RGB
    back = images.read(io.BytesIO(images.to_bytes(images.Picture(rgb, alpha, grey), form)))
    assert np.array_equal(back.rgb, rgb)
    assert (back.alpha is None) == (alpha is None)
    assert alpha is None or np.array_equal(back.alpha, alpha)


def test_outputs_that_cannot_hold_the_picture() -> None:
    with pytest.raises(OutputError, match="transparency"):
        images.to_bytes(images.Picture(RGB, GREY), "jpeg")
    with pytest.raises(OutputError, match="webp cannot"):
        images.to_bytes(images.Picture(np.zeros((1, 16384, 3), np.uint8)), "webp")


def test_first_picture_of_a_phone_photo_is_read() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    stream = stored(frames[0], "mpo", save_all=True, append_images=frames[1:])
    assert images.read(stream).rgb.min() > 200


def whole_png() -> bytes:
    return stored(Image.fromarray(RGB)).getvalue()


def animation() -> bytes:
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    return stored(frames[0], "gif", save_all=True, append_images=frames[1:]).getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"just some text\n", "not a picture"),
        (whole_png()[:60], "damaged or truncated"),
        (stored(Image.new("RGB", (99, 99)), "jpeg").getvalue()[:-40], "damaged or truncated"),
        (whole_png()[:20], "damaged or truncated|not a picture"),
        (animation(), "animations"),
        (stored(Image.new("CMYK", (4, 4)), "jpeg").getvalue(), "CMYK"),
        (stored(Image.new("F", (4, 4)), "tiff").getvalue(), "mode F"),
        (stored(Image.new("I", (4, 4)), "tiff").getvalue(), "mode I"),
        (png(2**31 - 1, 2**31 - 1).getvalue(), "too large"),
        (png(2**15, 2**14).getvalue(), "too large"),
    ],
)
def test_bad_pictures_have_clear_errors(data: bytes, message: str) -> None:
    with pytest.raises(BadImageError, match=message):
        images.read(io.BytesIO(data))


def test_size_limit_comes_before_the_pixels() -> None:
    class Huge(Image.Image):
        size = (2**14, 2**14 + 1)
        width, height = size

        def load(self) -> Any:
            raise AssertionError("loaded")

    assert Huge.width * Huge.height > MAX_PIXELS
    with pytest.raises(BadImageError, match="too large"):
        images.from_pillow(Huge())


def test_reads_paths(photo: Path) -> None:
    picture = images.read(photo)
    assert (picture.width, picture.height, picture.grey) == (600, 400, False)
    with pytest.raises(FileNotFoundError):
        images.read(photo.with_name("absent.png"))


def test_picture_checks_its_arrays() -> None:
    for rgb in (GREY, RGB.astype(np.float32), np.zeros((2, 2, 4), np.uint8)):
        with pytest.raises(ValueError, match="rgb"):
            images.Picture(rgb)
    with pytest.raises(ValueError, match="alpha"):
        images.Picture(RGB, GREY[1:])


def test_alpha_plane_round_trip() -> None:
    data = images.encode_alpha(GREY)
    assert np.array_equal(images.decode_alpha(data, 7, 5), GREY)
    for bad in (b"", data[:50], stored(Image.fromarray(RGB)).getvalue()):
        with pytest.raises(BadFileError, match="alpha"):
            images.decode_alpha(bad, 7, 5)
    with pytest.raises(BadFileError, match="alpha"):
        images.decode_alpha(data, 5, 7)


def camera_raw(kind: str) -> bytes:
    """A file as a camera writes it, as far as it is read: a small picture comes first."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    values = {
        "dng": {254: 1, 50706: b"\x01\x04\x00\x00"},
        "nef": {254: 1, 330: 8},
        "pef": {262: 32803},
        "page": {254: 1},
    }
    types = {254: 4, 330: 4, 262: 3, 50706: 1}
    for tag, value in values.get(kind, {}).items():
        tags[tag] = value
        tags.tagtype[tag] = types[tag]
    if kind == "pef":
        return tags.tobytes(8).join([b"II*\0\x08\0\0\0", b""])
    return stored(Image.fromarray(RGB), "TIFF", tiffinfo=tags).getvalue()


@pytest.mark.parametrize(
    "data",
    [
        *(camera_raw(kind) for kind in ("dng", "nef", "pef")),
        b"II*\0\x10\0\0\0CR\x02\0" + bytes(100),
        b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + bytes(100),
        b"FUJIFILMCCD-RAW 0201" + bytes(100),
    ],
    ids=["dng", "nef", "pef", "cr2", "cr3", "raf"],
)
def test_camera_raw_is_not_taken_for_its_thumbnail(data: bytes) -> None:
    with pytest.raises(BadImageError, match="camera raw"):
        images.read(io.BytesIO(data))


def test_a_reduced_page_of_a_tiff_is_a_picture() -> None:
    assert np.array_equal(images.read(io.BytesIO(camera_raw("page"))).rgb, RGB)
    with pytest.raises(BadImageError, match="damaged"):
        images.read(io.BytesIO(b"II*\0\x08\0\0\0" + bytes(100)))
