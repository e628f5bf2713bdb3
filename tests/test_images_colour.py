"""Colour that is not sRGB: kept, converted with a note, or refused."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from pictures import box, chunk, jpeg, png, segment, smooth, stored
from PIL import Image, ImageCms, features

from vlaec import images
from vlaec.errors import BadImageError
from vlaec.images import ReadOptions, colour, icc, isobmff

P3_SRGB = bytes([12, 13, 0, 1])
PQ = bytes([9, 16, 0, 1])
HLG = bytes([9, 18, 0, 1])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TONE_MAP = ReadOptions(tone_map=True)


def through(profile: bytes, rgb: np.ndarray) -> np.ndarray:
    """Pixels of a profile as sRGB, by the library for it, in 8 bits."""
    converted = colour.to_srgb(rgb, profile, grey=False)
    assert converted is not None
    return converted.astype(int)


def gradient() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def test_a_profile_of_srgb_changes_nothing() -> None:
    made = icc.from_cicp(bytes([1, 13, 0, 1]))
    assert made is not None
    assert np.abs(through(made, gradient()) - gradient()).max() <= 1


def test_profiles_of_code_points_mean_what_h273_says() -> None:
    """Against the arithmetic of the tables, for colours that sRGB can show."""
    made = icc.from_cicp(P3_SRGB)
    assert made is not None
    rgb = np.clip(smooth().astype(int) // 2 + 60, 0, 255).astype(np.uint8)
    signal = rgb / 255
    light = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    matrix = np.linalg.solve(icc.to_xyz(icc.PRIMARIES[1]), icc.to_xyz(icc.PRIMARIES[12]))
    linear = np.clip(light @ matrix.T, 0, 1)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(through(made, rgb) - np.rint(255 * coded)).max() <= 1


@pytest.mark.parametrize("transfer", [1, 4, 8, 13])
@pytest.mark.parametrize("primaries", icc.PRIMARIES)
def test_profiles_can_be_read(primaries: int, transfer: int) -> None:
    made = icc.from_cicp(bytes([primaries, transfer, 0, 1]))
    assert made is not None
    assert len(made) == int.from_bytes(made[:4], "big") and len(made) < 700
    ImageCms.ImageCmsProfile(io.BytesIO(made))
    through(made, gradient())


@pytest.mark.parametrize("code", [PQ, HLG, bytes([3, 13, 0, 1]), bytes([1, 99, 0, 1])])
def test_some_code_points_have_no_profile(code: bytes) -> None:
    assert icc.from_cicp(code) is None


def test_cicp_of_png_comes_back() -> None:
    picture = images.read(png(smooth(), before=chunk(b"cICP", P3_SRGB)))
    assert picture.metadata == {"cicp": P3_SRGB} and not picture.dropped
    assert images.read(images.to_bytes(picture, "png")).metadata == {"cicp": P3_SRGB}
    for form in ("webp", "tiff", "jpeg"):
        back = images.read(images.to_bytes(picture, form))
        assert back.icc == icc.from_cicp(P3_SRGB)
    assert images.to_pillow(picture).info["icc_profile"] == icc.from_cicp(P3_SRGB)


def test_cicp_of_srgb_says_nothing_new() -> None:
    assert not images.read(png(smooth(), before=chunk(b"cICP", bytes([1, 13, 0, 1])))).metadata


def test_cicp_without_a_profile_is_named_where_it_is_lost() -> None:
    odd = bytes([3, 13, 0, 1])
    picture = images.read(png(smooth(), before=chunk(b"cICP", odd)))
    assert images.encode(picture, "webp").dropped == ("cICP",)
    assert images.encode(picture, "png").dropped == ()


@pytest.mark.parametrize("code", [PQ, HLG])
def test_hdr_is_refused_or_converted(code: bytes) -> None:
    data = png(smooth(), before=chunk(b"cICP", code))
    with pytest.raises(BadImageError, match=r"HDR.*--tone-map"):
        images.read(data)
    picture = images.read(data, TONE_MAP)
    assert not picture.metadata and "HDR" in picture.notes[0]
    assert picture.rgb.std() > 10


@pytest.mark.parametrize("kind", ["wrong tag", "cicp tag"])
def test_hdr_in_a_profile(kind: str) -> None:
    """ICC 4.4 lets a profile say PQ in a tag of its own."""
    made = bytearray(icc.rgb_profile(icc.PRIMARIES[9], (1.0,), "x"))
    at = made.index(b"cprt")
    made[at : at + 4] = b"cicp" if kind == "cicp tag" else b"xicp"
    (offset,) = struct.unpack_from(">I", made, at + 4)
    made[offset : offset + 12] = b"cicp" + bytes(4) + PQ
    data = jpeg(segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(made)))
    if kind == "cicp tag":
        with pytest.raises(BadImageError, match="HDR"):
            images.read(data)
        assert images.read(data, TONE_MAP).notes
    else:
        assert images.read(data).icc == bytes(made)


def test_tone_mapping_keeps_order_and_grey() -> None:
    for code in (PQ, HLG):
        ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
        mapped = colour.tone_mapped(ramp, code)[0].astype(int)
        assert (np.diff(mapped[:, 0]) >= 0).all() and mapped[0, 0] == 0 and mapped[-1, 0] > 240
        assert np.abs(mapped - mapped[:, :1]).max() <= 1
    # 203 cd/m^2, the white of pictures, is 0.58 of PQ's range and close to white.
    assert 225 < colour.tone_mapped(np.full((1, 1, 3), 148, np.uint8), PQ)[0, 0, 0] < 250


@pytest.mark.parametrize("grey", [False, True])
def test_gamma_of_png_becomes_a_profile(grey: bool) -> None:
    gama = chunk(b"gAMA", struct.pack(">I", 100000))  # linear light
    values = smooth()[..., :1] if grey else smooth()
    picture = images.read(png(values, 8, 0 if grey else 2, gama))
    assert picture.icc is not None and picture.notes
    shown = colour.to_srgb(picture.rgb, picture.icc, grey)
    assert shown is not None
    light = picture.rgb / 255
    wanted = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(shown - np.rint(255 * wanted)).max() <= 1


def chrm(code: int) -> bytes:
    values = icc.PRIMARIES[code]
    order = (*values[6:], *values[:6])
    return chunk(b"cHRM", struct.pack(">8I", *(round(100000 * value) for value in order)))


def test_chromaticities_of_png_become_a_profile() -> None:
    gama = chunk(b"gAMA", struct.pack(">I", 45455))
    picture = images.read(png(smooth(), before=gama + chrm(12)))
    made = icc.from_cicp(P3_SRGB)
    assert picture.icc is not None and made is not None
    got, wanted = through(picture.icc, gradient()), through(made, gradient())
    assert np.abs(got - wanted).max() <= 2


@pytest.mark.parametrize(
    "before",
    [
        chunk(b"gAMA", struct.pack(">I", 45455)) + chrm(1),
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chrm(1),
        chunk(b"sRGB", b"\0") + chunk(b"gAMA", struct.pack(">I", 100000)) + chrm(9),
        chunk(b"gAMA", struct.pack(">I", 0)),
        chunk(b"gAMA", b"\0"),
        chunk(b"cHRM", bytes(32)),
        chunk(b"cHRM", b"\xff" * 32),
        chunk(b"cHRM", struct.pack(">8I", *[30000] * 8)),
    ],
)
def test_gamma_that_says_srgb_or_nothing(before: bytes) -> None:
    picture = images.read(png(smooth(), before=before))
    assert not picture.metadata and not picture.notes


def test_a_profile_comes_before_gamma() -> None:
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(SRGB))
    picture = images.read(png(smooth(), before=profile + chunk(b"gAMA", struct.pack(">I", 100000))))
    assert picture.icc == SRGB and not picture.notes


@pytest.mark.parametrize("size", [1_500_000, 3_000_000])
def test_long_profiles_go_through_png(size: int) -> None:
    """Pillow ends at 1 MiB."""
    profile = np.random.default_rng(0).bytes(size)
    data = stored(Image.fromarray(smooth()), "png", icc_profile=profile)
    picture = images.read(data)
    assert picture.icc == profile
    assert images.read(images.to_bytes(picture, "png")).icc == profile


def avif(nclx: bytes | None, **options: Any) -> bytes:
    data = stored(Image.fromarray(smooth()), "avif", **options)
    if nclx is None:
        return data
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", *nclx[:2]) + data[at + 4 :]


needs_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")


@needs_avif
def test_code_points_of_avif() -> None:
    assert not images.read(avif(None)).metadata
    assert images.read(avif(P3_SRGB)).metadata == {"cicp": P3_SRGB}
    for code in (PQ, HLG):
        with pytest.raises(BadImageError, match="HDR"):
            images.read(avif(code))
        assert "HDR" in images.read(avif(code), TONE_MAP).notes[0]


def heif(*properties: bytes, items: bytes = b"") -> bytes:
    """The boxes of a file with one item that has all the properties."""
    count = len(properties)
    associations = bytes([0, 1, count, *range(1, count + 1)])
    ipma = box(b"ipma", bytes(4), struct.pack(">I", 1), associations)
    iprp = box(b"iprp", box(b"ipco", *properties), ipma)
    pitm = box(b"pitm", bytes(4), b"\0\1")
    return box(b"ftyp", b"avif", bytes(4)) + box(b"meta", bytes(4), pitm, items, iprp)


def test_depth_and_gain_maps_of_avif() -> None:
    assert isobmff.scan_heif(heif(box(b"pixi", bytes(4), b"\3\x0a\x0a\x0a")))[1] == 10
    assert isobmff.scan_heif(heif(box(b"av1C", b"\x81\x00\x40\x00")))[1] == 10
    assert isobmff.scan_heif(heif(box(b"av1C", b"\x81\x00\x00\x00")))[1] == 8
    item = box(b"infe", b"\2\0\0\0", b"\0\2\0\0", b"tmap", b"\0")
    found, _ = isobmff.scan_heif(heif(items=box(b"iinf", bytes(4), b"\0\1", item)))
    assert found.dropped == ["gain map"]
    urn = b"urn:com:apple:photo:2020:aux:hdrgainmap\0"
    assert isobmff.scan_heif(heif(box(b"auxC", bytes(4), urn)))[0].dropped == ["gain map"]


@needs_avif
def test_damaged_boxes_never_escape() -> None:
    data = bytearray(avif(P3_SRGB))
    rng = np.random.default_rng(0)
    for _ in range(300):
        mutant = bytearray(data)
        for at in rng.integers(0, 400, 3):
            mutant[at] = rng.integers(256)
        isobmff.scan_heif(bytes(mutant[: rng.integers(20, len(mutant))]))


def test_cmyk_goes_through_its_profile() -> None:
    cmyk = Image.fromarray(smooth()).convert("CMYK")
    with pytest.raises(BadImageError, match="CMYK"):
        images.read(stored(cmyk, "jpeg"))
    with pytest.raises(BadImageError, match=r"CMYK.*damaged"):
        images.read(stored(cmyk, "jpeg", icc_profile=b"no profile"))
    with pytest.raises(BadImageError, match=r"CMYK.*damaged"):
        images.read(stored(cmyk, "tiff", icc_profile=SRGB))  # of another colour space


@pytest.mark.parametrize("grey", [False, True])
def test_stripping_a_profile_converts_the_colours(grey: bool) -> None:
    strip = ReadOptions(strip=frozenset({"icc"}))
    profile = icc.grey_profile((1.0,)) if grey else icc.from_cicp(P3_SRGB)
    assert profile is not None
    picture = Image.fromarray(smooth()[..., 0] if grey else smooth())
    data = stored(picture, "png", icc_profile=profile)
    before, after = images.read(data), images.read(data, strip)
    shown = colour.to_srgb(before.rgb, profile, grey)
    assert after.icc is None and not after.dropped
    assert shown is not None and np.array_equal(after.rgb, shown)
    assert not np.array_equal(after.rgb, before.rgb)
    tagged = png(smooth(), before=chunk(b"cICP", P3_SRGB))
    assert not images.read(tagged, strip).metadata
    broken = images.read(stored(picture, "png", icc_profile=b"x" * 200), strip)
    assert broken.icc is None and broken.dropped


def test_bmp_profiles() -> None:
    data = stored(Image.fromarray(smooth()), "bmp")
    head = bytearray(data[14:54] + bytes(84))
    struct.pack_into("<I", head, 0, 124)
    pixels = data[54:]
    struct.pack_into("<4s", head, 56, b"DEBM")
    struct.pack_into("<II", head, 112, 124 + len(pixels), len(SRGB))
    file = b"BM" + struct.pack("<IHHI", 138 + len(pixels) + len(SRGB), 0, 0, 138)
    assert images.read(file + head + pixels + SRGB).icc == SRGB
    assert images.read(file + head + pixels + SRGB[:-1]).dropped == ("ICC profile (damaged)",)
    struct.pack_into("<4s", head, 56, b"KNIL")
    assert images.read(file + head + pixels).dropped == ("ICC profile (in another file)",)


def test_profiles_of_jpeg_2000() -> None:
    data = stored(Image.fromarray(smooth()), "jpeg2000")
    at = data.index(b"colr") - 4
    (size,) = struct.unpack_from(">I", data, at)
    colr = box(b"colr", b"\2\0\0", SRGB)
    grown = bytearray(data[:at] + colr + data[at + size :])
    head = grown.index(b"jp2h") - 4
    struct.pack_into(">I", grown, head, struct.unpack_from(">I", data, head)[0] - size + len(colr))
    assert images.read(bytes(grown)).icc == SRGB
