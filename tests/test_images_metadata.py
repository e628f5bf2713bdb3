"""Metadata of pictures: kept, or named where it is not; stripped where that is asked for."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import chunk, exif_block, jpeg, png, segment, smooth, stored
from PIL import ExifTags, Image, ImageFile, ImageOps, PngImagePlugin

from vlaec import images
from vlaec.errors import BadImageError, OutputError, UsageError
from vlaec.images import ReadOptions, WriteOptions, finish

EXIF, XMP = exif_block(), b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
PHOTO = Image.fromarray(smooth())
GUID = b"0123456789ABCDEF0123456789ABCDEF"
RDF = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"%s>%s</rdf:RDF>'


def raw_profile(name: str, block: bytes) -> bytes:
    """As ImageMagick writes it."""
    digits = block.hex()
    lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    text = f"\n{name}\n{len(block):8d}\n{lines}\n".encode()
    return chunk(b"zTXt", f"Raw profile type {name}".encode() + b"\0\0" + zlib.compress(text))


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    ("name", "block", "kept"),
    [
        ("exif", b"Exif\0\0" + EXIF, {"exif": EXIF}),
        ("APP1", b"Exif\0\0" + EXIF, {"exif": EXIF}),
        ("APP1", b"http://ns.adobe.com/xap/1.0/\0" + XMP, {"xmp": XMP}),
        ("xmp", XMP, {"xmp": XMP}),
        ("icc", b"profile", {"icc": b"profile"}),
    ],
)
def test_raw_profiles_of_png(name: str, block: bytes, kept: dict[str, bytes], behind: bool) -> None:
    extra = raw_profile(name, block)
    data = png(smooth(), after=extra) if behind else png(smooth(), before=extra)
    picture = images.read(data)
    assert picture.metadata == kept and not picture.dropped


def test_what_png_says_in_text_is_named() -> None:
    texts = chunk(b"tEXt", b"Author\0me") + chunk(b"iTXt", b"Title\0\0\0\0\0x")
    assert images.read(png(smooth(), before=texts)).dropped == ("text (Author, Title)",)
    assert images.read(png(smooth(), before=raw_profile("iptc", b"x"))).dropped == ("IPTC profile",)
    bad = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n4\nzz")
    assert images.read(png(smooth(), before=bad)).dropped == ("raw profile exif (damaged)",)
    bomb = chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(bytes(2**26 + 1)))
    assert images.read(png(smooth(), before=bomb)).dropped


def test_damaged_ancillary_chunks_are_skipped_and_named() -> None:
    extra = bytearray(chunk(b"eXIf", EXIF))
    extra[-1] ^= 1
    picture = images.read(png(smooth(), before=bytes(extra)))
    assert np.array_equal(picture.rgb, smooth()) and not picture.metadata
    assert picture.dropped == ("eXIf chunk (damaged)",)
    palette = bytearray(chunk(b"PLTE", bytes(range(6))))
    palette[-1] ^= 1
    with pytest.raises(BadImageError, match="PLTE"):
        images.read(png(np.zeros((2, 2, 1)), 8, 3, bytes(palette)))


def test_png_without_its_end_is_whole() -> None:
    picture = images.read(png(smooth())[:-12])
    assert np.array_equal(picture.rgb, smooth()) and "end mark" in picture.notes[0]


def extended(packet: bytes, extension: bytes, size: int = 100, **changes: Any) -> bytes:
    parts = []
    for start in range(0, len(extension), size):
        head = GUID + struct.pack(">II", changes.get("total", len(extension)), start)
        part = extension[start : start + size]
        parts.append(segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + head + part))
    if changes.get("shuffled"):
        parts.reverse()
    if changes.get("missing"):
        del parts[1]
    return jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet), *parts)


PACKET = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">%s</x:xmpmeta>' % (
    RDF
    % (
        b"",
        b'<rdf:Description xmlns:xmpNote="http://ns.adobe.com/xmp/note/" '
        b'xmpNote:HasExtendedXMP="%s"/>' % GUID,
    )
)
EXTENSION = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">%s</x:xmpmeta>' % (
    RDF % (b' xmlns:big="urn:big"', b'<rdf:Description big:data="%s"/>' % (b"E" * 3000))
)


@pytest.mark.parametrize("shuffled", [False, True])
def test_extended_xmp_is_put_together(shuffled: bool) -> None:
    picture = images.read(extended(PACKET, EXTENSION, shuffled=shuffled))
    assert picture.xmp is not None and b"E" * 3000 in picture.xmp
    assert b"HasExtendedXMP" not in picture.xmp and not picture.dropped
    assert picture.xmp.count(b"<rdf:RDF") == 1


@pytest.mark.parametrize(
    "data",
    [
        extended(PACKET, EXTENSION, missing=True),
        extended(PACKET, EXTENSION, total=99),
        extended(PACKET.replace(GUID, GUID[::-1]), EXTENSION),
        extended(PACKET, EXTENSION.replace(b"/>", b">")),
        extended(PACKET, b"no rdf"),
        extended(PACKET, EXTENSION, total=2**31),
    ],
)
def test_extended_xmp_that_does_not_fit_is_named(data: bytes) -> None:
    picture = images.read(data)
    assert picture.dropped == ("extended XMP",)
    assert picture.xmp is not None and picture.xmp.startswith(b"<x:xmpmeta")


GAIN_MAP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" hdrgm:Version="1.0"/>'


@pytest.mark.parametrize(
    ("data", "dropped"),
    [
        (jpeg(segment(0xFE, b"hello")), ("comment",)),
        (jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04")), ("IPTC",)),
        (jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\x04\x25")), ("Photoshop resources",)),
        (jpeg(segment(0xE2, b"MPF\0")), ("further pictures (MPO)",)),
        (jpeg() + jpeg(), ("further pictures (MPO)",)),
        (jpeg() + b"\0\0\0\x18ftypmp42", ("video (motion photo)",)),
        (jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + GAIN_MAP)), ("gain map",)),
        (jpeg(segment(0xE2, b"ICC_PROFILE\0\1\2abc")), ("ICC profile (damaged)",)),
        (jpeg(dpi=(300, 300)), ("resolution (300 x 300 per inch)",)),
        (jpeg(dpi=(72, 72)), ()),
        (stored(PHOTO, "png", dpi=(300, 300)), ("resolution (300 x 300 per inch)",)),
        (stored(PHOTO.quantize(8), "gif", comment=b"hello"), ("comment",)),
        (stored(PHOTO, "tiff", tiffinfo={33723: b"iptc"}), ("IPTC",)),
    ],
)
def test_what_is_not_kept_is_named(data: bytes, dropped: tuple[str, ...]) -> None:
    picture = images.read(data)
    assert picture.dropped == dropped
    assert np.abs(picture.rgb.astype(int) - smooth()).mean() < 25


def test_a_resolution_that_exif_repeats_is_kept() -> None:
    exif = exif_block({0x011A: 300.0, 0x011B: 300.0, 0x0128: 2})
    picture = images.read(jpeg(segment(0xE1, b"Exif\0\0" + exif), dpi=(300, 300)))
    assert picture.exif == exif and not picture.dropped


def test_profiles_in_several_segments_of_jpeg() -> None:
    profile = np.random.default_rng(0).bytes(150_000)
    assert images.read(jpeg(icc_profile=profile)).icc == profile


def test_exif_of_tiff_is_kept_without_what_describes_its_storage() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Artist] = "Maker", "Artist"
    exif[ExifTags.IFD.Exif] = {int(ExifTags.Base.ISOSpeedRatings): 400}
    picture = images.read(stored(PHOTO, "tiff", exif=exif.tobytes()))
    assert picture.exif is not None and not picture.dropped
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + picture.exif)
    assert set(tags) == {ExifTags.Base.Make, ExifTags.Base.Artist, ExifTags.IFD.Exif}
    assert tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] == 400
    assert images.read(stored(PHOTO, "tiff")).exif is None


GARBAGE = [
    b"garbage",
    b"II*\0",
    b"MM\0*\xff\xff\xff\xff",
    b"II*\0\x08\0\0\0\xff\xff" + bytes(30),
    b"\0",
    EXIF[: len(EXIF) // 2],
    bytes(range(256)) * 4,
    b"II*\0\x08\0\0\0\1\0\x0f\1\2\0\xff\xff\xff\x7f\x1a\0\0\0\0\0\0\0",
    exif_block({0x0100: 3, 0x0103: 7, 0x0111: 5, 0x0106: 1, 0x0102: 4, 0x0115: 9, 0x010F: "m"}),
]


@pytest.mark.parametrize("block", GARBAGE)
@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "tiff"])
def test_broken_exif_never_breaks_the_picture(block: bytes, form: str) -> None:
    picture = images.Picture(smooth(), metadata={"exif": block, "xmp": XMP})
    encoded = images.encode(picture, form)
    back = images.read(encoded.data)
    if form != "jpeg":
        assert np.array_equal(back.rgb, smooth())
    assert back.xmp == XMP
    if form == "tiff":
        assert encoded.dropped or back.exif is not None
    else:
        assert back.exif == block and not encoded.dropped


def test_damaged_exif_is_kept_as_it_is() -> None:
    for block in GARBAGE:
        assert images.read(jpeg(segment(0xE1, b"Exif\0\0" + block))).exif == block


def test_random_exif_never_breaks_a_tiff() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        block = bytearray(EXIF * 2)
        for at in rng.integers(0, len(block), 4):
            block[at] = rng.integers(256)
        picture = images.Picture(smooth(), metadata={"exif": bytes(block)})
        encoded = images.encode(picture, "tiff")
        turn = 1 if encoded.dropped else images.orientation(picture)  # reading a TIFF turns it
        assert np.array_equal(images.read(encoded.data).rgb, finish.turned(smooth(), turn))


def test_tiff_keeps_directories() -> None:
    """Pillow drops those of EXIF and GPS in a compressed file."""
    exif = Image.Exif()
    exif[0x010F], exif[0x8769] = "maker", {0x8827: 400}
    exif[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}
    blocks = {"exif": exif.tobytes()[6:], "xmp": XMP, "icc": b"profile"}
    for alpha in (None, smooth()[..., 1]):
        for grey in (False, True):
            rgb = np.repeat(smooth()[..., :1], 3, 2) if grey else smooth()
            encoded = images.encode(images.Picture(rgb, alpha, grey, blocks), "tiff")
            back = images.read(encoded.data)
            assert np.array_equal(back.rgb, rgb) and back.grey == grey and not encoded.dropped
            assert alpha is None or np.array_equal(back.alpha, alpha)
            assert (back.xmp, back.icc) == (XMP, b"profile") and back.exif is not None
            tags = Image.Exif()
            tags.load(b"Exif\0\0" + back.exif)
            assert tags.get_ifd(0x8769) == {0x8827: 400}
            assert tags.get_ifd(0x8825)[2] == (51.0, 30.0, 0.0)


def test_large_tiffs_have_many_strips() -> None:
    picture = images.Picture(np.tile(smooth(), (20, 12, 1)))
    assert np.array_equal(images.read(images.to_bytes(picture, "tiff")).rgb, picture.rgb)


@pytest.mark.parametrize("packet", ["<x>\u00e9</x>".encode("latin-1"), "<x/>".encode("utf-16")])
def test_xmp_of_any_encoding_comes_back_from_png(packet: bytes) -> None:
    picture = images.Picture(smooth(), metadata={"xmp": packet})
    assert images.read(images.to_bytes(picture, "png")).xmp == packet


def test_blocks_that_are_too_long_for_jpeg_are_named() -> None:
    blocks = {"exif": EXIF + bytes(70_000), "xmp": XMP + b" " * 70_000, "icc": bytes(17_000_000)}
    encoded = images.encode(images.Picture(smooth(), metadata=blocks), "jpeg")
    assert [name.split()[0] for name in encoded.dropped] == ["EXIF", "XMP", "ICC"]
    assert not images.read(encoded.data).metadata


def test_what_a_format_cannot_hold_is_said_before_the_work() -> None:
    images.check("png", 20_000, 20_000, True)
    for form, width, alpha in (("jpeg", 9, True), ("jpeg", 65536, False), ("webp", 16384, False)):
        with pytest.raises(OutputError):
            images.check(form, width, 9, alpha)
    with pytest.raises(OutputError, match="choose one of"):
        images.check("psd", 9, 9, False)
    images.check("jpeg", 9, 9, True, WriteOptions(background=(0, 0, 0)))


def test_transparency_over_a_background() -> None:
    alpha = np.zeros((40, 56), np.uint8)
    alpha[:, 28:] = 255
    picture = images.Picture(smooth(), alpha)
    options = WriteOptions(background=(10, 200, 30), quality=100)
    back = images.read(images.encode(picture, "jpeg", options).data).rgb.astype(int)
    assert np.abs(back[:, :24] - [10, 200, 30]).max() < 6
    assert np.abs(back[:, 32:] - smooth()[:, 32:]).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(orientation: int) -> None:
    block = exif_block({0x0112: orientation, 0x010F: "maker"})
    data = stored(PHOTO, "png", exif=b"Exif\0\0" + block)
    with Image.open(io.BytesIO(data)) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(finish.turned(smooth(), orientation), wanted)
    as_is = images.read(data)
    assert np.array_equal(as_is.rgb, smooth()) and as_is.exif == block
    upright = images.read(data, ReadOptions(upright=True))
    assert np.array_equal(upright.rgb, wanted)
    assert images.orientation(upright) == 1 and upright.exif is not None
    assert len(upright.exif) == len(block) and b"maker" in upright.exif
    # Without its EXIF block a picture would lie on its side.
    stripped = images.read(data, ReadOptions(strip=frozenset({"exif"})))
    assert np.array_equal(stripped.rgb, wanted) and stripped.exif is None


def test_stripping() -> None:
    place = b' exif:GPSLatitude="51,30N"'
    packet = b"<x%s><exif:GPSAltitude>3</exif:GPSAltitude><a/></x>" % place
    blocks = {"exif": exif_block(gps=True), "xmp": packet, "icc": b"profile"}
    data = images.to_bytes(images.Picture(smooth(), metadata=blocks), "png")

    def read(*names: str) -> images.Picture:
        return images.read(data, ReadOptions(strip=frozenset(names)))

    assert read().metadata == blocks
    assert not read("all").metadata
    assert set(read("exif").metadata) == {"xmp", "icc"}
    assert set(read("xmp", "icc").metadata) == {"exif"}
    placeless = read("gps")
    assert placeless.xmp == b"<x><a/></x>" and placeless.exif is not None
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + placeless.exif)
    assert tags[0x010F] == "maker" and tags[0x0112] == 6 and 0x8825 not in tags
    assert b"\x88\x25" not in placeless.exif and b"\x25\x88" not in placeless.exif
    with pytest.raises(UsageError, match="strip colour"):
        read("colour")


def test_places_that_cannot_be_taken_out_go_with_their_block() -> None:
    blocks = {"exif": b"II*\0\xff\xff\xff\xff GPS", "xmp": b"<x>GPSLatitude=5</x>"}
    data = images.to_bytes(images.Picture(smooth(), metadata=blocks), "png")
    picture = images.read(data, ReadOptions(strip=frozenset({"gps"})))
    assert not picture.metadata and len(picture.dropped) == 2


def test_frames() -> None:
    shades = [Image.new("L", (8, 8), value) for value in (0, 100, 200)]
    for form in ("gif", "tiff", "png", "webp"):
        data = stored(shades[0], form, save_all=True, append_images=shades[1:])
        with pytest.raises(BadImageError, match=r"animations are not supported .3 frames"):
            images.read(data)
        for index, value in enumerate((0, 100, 200)):
            picture = images.read(data, ReadOptions(frame=index))
            assert abs(int(picture.rgb[4, 4, 0]) - value) < 8, form
        with pytest.raises(BadImageError, match="no frame 3"):
            images.read(data, ReadOptions(frame=3))


def test_the_first_picture_of_an_mpo() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    data = stored(frames[0], "mpo", save_all=True, append_images=frames[1:])
    picture = images.read(data)
    assert picture.rgb.min() > 200 and picture.dropped == ("further pictures (MPO)",)
    with Image.open(io.BytesIO(data)) as image:
        assert images.from_pillow(image).rgb.min() > 200
        image.seek(1)
        with pytest.raises(BadImageError, match="later frame"):
            images.from_pillow(image)
        assert images.from_pillow(image.copy()).rgb.max() < 50


def test_images_of_pillow_are_read_again_from_their_files(tmp_path: Path) -> None:
    """Pillow itself says nothing of cICP, raw profiles, or rows that are missing."""
    path = tmp_path / "a.png"
    cicp = chunk(b"cICP", bytes([12, 13, 0, 1]))
    path.write_bytes(
        png(smooth(), before=cicp + chunk(b"eXIf", EXIF), after=raw_profile("xmp", XMP))
    )
    with Image.open(path) as image:
        picture = images.from_pillow(image)
        assert picture.metadata == {"cicp": cicp[8:12], "exif": EXIF, "xmp": XMP}
    with Image.open(path) as image:
        del image.info["exif"]  # the caller's wish
        assert "exif" not in images.from_pillow(image).metadata
    path.write_bytes(png(smooth(), keep=0.5))
    with Image.open(path) as image, pytest.raises(BadImageError, match="rows are missing"):
        images.from_pillow(image)


def test_images_that_the_caller_has_changed_count_as_they_are() -> None:
    with Image.open(io.BytesIO(stored(PHOTO, "jpeg", exif=b"Exif\0\0" + EXIF))) as image:
        image.draft("RGB", (28, 20))
        picture = images.from_pillow(image)
        assert picture.rgb.shape == (20, 28, 3) and picture.exif == EXIF
    with Image.open(io.BytesIO(stored(PHOTO, "png"))) as image:
        image.paste((0, 0, 0), (0, 0, 56, 40))
        assert images.from_pillow(image).rgb.max() == 0
    with Image.open(io.BytesIO(stored(PHOTO, "png"))) as image:
        image.info["exif"] = EXIF
        assert images.from_pillow(image).exif == EXIF


def test_the_callers_settings_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = np.random.default_rng(0).bytes(5000)
    whole = stored(PHOTO, "png", icc_profile=profile)
    plane = smooth()[..., 0].copy()
    data = images.encode_alpha(plane)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 10)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 10)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(images.decode_alpha(data, 56, 40), plane)
        assert images.read(whole).icc == profile
        for form in ("png", "jpeg", "bmp", "tiff", "webp", "gif", "ppm", "avif", "jpeg2000"):
            content = stored(PHOTO.quantize(99) if form == "gif" else PHOTO, form)
            assert images.read(content).height == 40
            with pytest.raises(BadImageError):
                images.read(content[: len(content) // 2])
        picture = images.from_pillow(PHOTO)
        assert np.array_equal(picture.rgb, smooth())


def test_threads_leave_the_callers_warnings_alone() -> None:
    data = stored(PHOTO, "tiff", exif=Image.Exif())
    before = list(warnings.filters)
    threads = [threading.Thread(target=images.read, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


@pytest.mark.parametrize("error", [SyntaxError, RuntimeError, zlib.error, AttributeError, KeyError])
def test_whatever_pillow_raises_is_one_error(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(self: Any) -> None:
        raise error("several\nlines")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    for form in ("png", "jpeg", "webp"):
        with pytest.raises(BadImageError, match="damaged"):
            images.read(stored(PHOTO, form))


def test_metadata_above_the_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish, "MAX_METADATA", 100)
    picture = images.read(stored(PHOTO, "png", icc_profile=bytes(101), exif=b"Exif\0\0" + EXIF))
    assert set(picture.metadata) == {"exif"} and picture.dropped[0].startswith("ICC")


def test_limits_on_pixels() -> None:
    data = stored(PHOTO, "png")
    with pytest.raises(BadImageError, match="too large: 56 x 40 exceeds the limit of 2239 pixels"):
        images.read(data, ReadOptions(max_pixels=56 * 40 - 1))
    assert images.read(data, ReadOptions(max_pixels=56 * 40)).width == 56


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_every_cut_of_a_jpeg(options: dict[str, Any]) -> None:
    """Browsers show one that lacks its end mark; with less, blocks would be grey."""
    data = jpeg(**options)
    expected = images.read(data)
    for length in (len(data) - 1, len(data) - 2):
        picture = images.read(data[:length])
        assert np.array_equal(picture.rgb, expected.rgb) and "end mark" in picture.notes[0]
    for length in [*range(2, len(data) - 2, 7), *range(len(data) - 20, len(data) - 2)]:
        with pytest.raises(BadImageError):
            images.read(data[:length])
        if length > 700:  # the same with an end mark behind the cut
            with pytest.raises(BadImageError):
                images.read(data[:length] + b"\xff\xd9")


@pytest.mark.parametrize("form", ["webp", "avif", "tiff", "bmp", "gif", "jpeg2000", "ppm", "png"])
def test_cuts_of_the_other_formats(form: str) -> None:
    data = stored(PHOTO.quantize(99) if form == "gif" else PHOTO, form)
    expected = images.read(data)
    for length in range(1, len(data), len(data) // 23):
        try:
            picture = images.read(data[:length])
        except BadImageError:
            continue
        assert np.array_equal(picture.rgb, expected.rgb)
        assert length > len(data) - 20
