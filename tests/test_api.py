"""The functions of the package: what they take, what they refuse, what they give back."""

from __future__ import annotations

import inspect
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vlaec
from vlaec.errors import BadImageError, UsageError
from vlaec.options import CompressOptions, DecompressOptions

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), np.uint8)
RGBA = RNG.integers(0, 256, (20, 30, 4), np.uint8)
GREY = RNG.integers(0, 256, (20, 30), np.uint8)


@pytest.fixture(autouse=True)
def tiny(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("pixels", [RGB, RGBA, GREY], ids=["rgb", "rgba", "grey"])
def test_every_kind_of_picture_gives_the_same_file(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels))
    expected = vlaec.compress(Image.fromarray(pixels))
    kinds: list[Any] = [
        path,
        str(path),
        png(pixels),
        bytearray(png(pixels)),
        io.BytesIO(png(pixels)),
    ]
    kinds += [
        pixels,
        pixels.astype(np.uint16) * 257,
        as_picture(pixels),
    ]
    with open(path, "rb") as stream:
        for kind in [*kinds, stream]:
            assert vlaec.compress(kind) == expected, type(kind)
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(planes.transpose(2, 0, 1).copy())
    assert vlaec.compress(tensor) == vlaec.compress(tensor.float() / 255) == expected


def as_picture(pixels: np.ndarray) -> vlaec.Picture:
    grey = pixels.ndim == 2
    rgb = np.repeat(pixels[..., None], 3, 2) if grey else pixels[..., :3]
    alpha = pixels[..., 3] if pixels.shape[-1] == 4 else None
    return vlaec.Picture(rgb=rgb, alpha=alpha, grey=grey)


@pytest.mark.parametrize("pixels", [RGB, RGBA, GREY], ids=["rgb", "rgba", "grey"])
def test_every_kind_of_result_is_the_same_picture(pixels: np.ndarray, tmp_path: Path) -> None:
    data = vlaec.compress(pixels)
    path = tmp_path / "a.vlae"
    path.write_bytes(data)
    image = vlaec.decompress(path)
    assert (image.size == (30, 20) and image.mode == {2: "L", 3: "RGB"}.get(pixels.ndim)) or "RGBA"
    array = vlaec.decompress(io.BytesIO(data), as_="numpy")
    assert array.dtype == np.uint8 and array.shape == (20, 30, 4 if pixels.shape[-1] == 4 else 3)
    kept = image.convert("RGBA" if array.shape[-1] == 4 else "RGB")
    assert np.array_equal(np.asarray(kept), array)
    picture = vlaec.decompress(data, as_="picture")
    assert np.array_equal(picture.rgb, array[..., :3]) and picture.grey == (pixels.ndim == 2)
    pytest.importorskip("torch")
    tensor = vlaec.decompress(data, as_="torch")
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), array)


@pytest.mark.parametrize(
    "image",
    [
        None,
        3,
        b"",
        b"no picture",
        "absent.png",
        "nul\0name",
        io.StringIO("text"),
        ["a.png"],
        object(),
        RGB.astype(float),
        RGB.astype(np.int64),
        RGB[0, 0],
        RGB[None],
        RGB[..., :2],
        RGB[:0],
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused(image: Any) -> None:
    with pytest.raises(vlaec.VlaecError):
        vlaec.compress(image)


def test_other_tensors_are_refused() -> None:
    torch = pytest.importorskip("torch")
    for tensor in (
        torch.zeros(3, 4),
        torch.zeros(2, 4, 4),
        torch.zeros(3, 0, 4),
        torch.full((3, 4, 4), 1.01),
        torch.full((3, 4, 4), float("nan")),
        torch.zeros(3, 4, 4, dtype=torch.int64),
    ):
        with pytest.raises(vlaec.VlaecError):
            vlaec.compress(tensor)


def test_a_damaged_image_that_pillow_has_opened(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(png(RGB)[:200])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(vlaec.BadImageError):
        vlaec.compress(image)


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 101},
        {"quality": float("nan")},
        {"quality": "50"},
        {"quality": None},
        {"quality": True},
        {"effort": 10},
        {"effort": 1.5},
        {"effort": -1},
        {"effort": "1"},
        {"effort": False},
        {"tune": "psnr"},
        {"tune": "ssim", "effort": 1},
        {"model": 3},
    ],
    ids=str,
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(vlaec.UsageError, match=next(iter(options))):
        vlaec.compress(RGB, **options)


@pytest.mark.parametrize(
    "options",
    [{"texture": 1.1}, {"texture": "1"}, {"seed": 256}, {"seed": 0.5}, {"seed": -1}, {"as_": "x"}],
    ids=str,
)
def test_decoding_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(vlaec.UsageError, match=next(iter(options))):
        vlaec.decompress(vlaec.compress(RGB), **options)


@pytest.mark.parametrize("scale", [2, 4, 8, 16])
@pytest.mark.parametrize("pixels", [RGB, RGBA, GREY], ids=["rgb", "rgba", "grey"])
def test_previews_are_means_of_the_structure(pixels: np.ndarray, scale: int) -> None:
    data = vlaec.compress(pixels)
    whole = vlaec.decompress(data, texture=0, as_="numpy").astype(float)
    small = vlaec.decompress(data, scale=scale, as_="numpy")
    assert small.shape == (-(-20 // scale), -(-30 // scale), whole.shape[2])
    for row, column in np.ndindex(small.shape[:2]):
        cell = whole[scale * row :, scale * column :][:scale, :scale]
        assert np.abs(cell.mean((0, 1)) - small[row, column]).max() <= 1


def test_large_pictures_are_refused_on_request() -> None:
    data = vlaec.compress(RGB, max_pixels=600)
    with pytest.raises(vlaec.BadImageError, match="too large"):
        vlaec.compress(png(RGB), max_pixels=599)
    vlaec.decompress(data, max_pixels=600)
    with pytest.raises(vlaec.BadFileError, match="too large"):
        vlaec.decompress(data, max_pixels=599)


def test_metadata_is_left_out_on_request() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a picture"
    exif.get_ifd(0x8825)[1] = "N"
    out = io.BytesIO()
    Image.fromarray(RGB).save(out, "PNG", exif=exif)
    kept = {}
    for strip in ((), "gps", ["exif"], "exif,xmp", "all"):
        picture = vlaec.decompress(vlaec.compress(out.getvalue(), strip=strip), as_="pil")
        kept[str(strip)] = (0x010E in picture.getexif(), bool(picture.getexif().get_ifd(0x8825)))
    assert list(kept.values()) == [(True, True), (True, False)] + [(False, False)] * 3
    for wrong in ("everything", "exif,", None, 3, [[]], [3]):
        with pytest.raises(vlaec.UsageError, match="strip takes"):
            vlaec.compress(RGB, strip=wrong)  # type: ignore[arg-type]


def test_numbers_of_other_types_are_numbers() -> None:
    options = CompressOptions(quality=np.float32(40), effort=np.float64(1.0))  # type: ignore[arg-type]
    assert options == CompressOptions(quality=40.0, effort=1) and type(options.effort) is int
    decoding = DecompressOptions(texture=np.int8(1), seed=np.uint8(3))  # type: ignore[arg-type]
    assert decoding == DecompressOptions(1.0, 3) and type(decoding.seed) is int


def test_options_of_the_functions_are_those_of_the_objects() -> None:
    for function, options in (
        (vlaec.compress, CompressOptions),
        (vlaec.decompress, DecompressOptions),
    ):
        first, *others = inspect.signature(function).parameters.values()
        assert first.kind is first.POSITIONAL_OR_KEYWORD
        assert all(other.kind is other.KEYWORD_ONLY for other in others[1:])
        defaults = {o.name: o.default for o in others if o.name != "as_"}
        assert list(defaults) == list(options.__dataclass_fields__)
        assert options(**defaults) == options()


def test_batches() -> None:
    files = vlaec.compress_batch(np.stack([RGB, RGB[::-1]]), quality=20)
    assert files == [vlaec.compress(one, quality=20) for one in (RGB, RGB[::-1])]
    first, second = vlaec.decompress_batch(files, texture=0, as_="numpy")
    assert np.array_equal(first, vlaec.decompress(files[0], texture=0, as_="numpy"))
    assert not np.array_equal(first, second)
    with pytest.raises(TypeError, match="colour"):
        vlaec.compress_batch([RGB], colour=3)


def test_latents_are_what_the_file_says() -> None:
    data = vlaec.compress(RGB)
    z = vlaec.latents(data)
    assert z.shape[1:] == (2, 2) and z.dtype.kind == "i"
    assert np.array_equal(z, vlaec.latents(io.BytesIO(data)))
    with pytest.raises(vlaec.BadFileError):
        vlaec.latents(data[:-1])


def test_archives(set_models: Path) -> None:
    pytest.importorskip("torch")  # the presets are in `networks`
    from golden_sets.make import make_images

    from vlaec.networks import SET_PRESETS

    images = make_images(SET_PRESETS["tiny-binary"], 3)
    data = vlaec.create_archive(images, model="tiny-binary")
    assert np.array_equal(vlaec.extract_archive(io.BytesIO(data)), images)
    assert vlaec.info(data).header.count == 3
    with pytest.raises(vlaec.UsageError, match="seed"):
        vlaec.create_archive(images, model="tiny-binary", lossy=True, seed=-1)


def test_info_of_a_path(tmp_path: Path) -> None:
    (tmp_path / "a.vlae").write_bytes(vlaec.compress(RGB))
    assert vlaec.info(tmp_path / "a.vlae").header.width == 30


def test_no_module_has_the_name_of_a_function() -> None:
    """Importing it would put the module in the function's place."""
    modules = {path.stem for path in Path(vlaec.__file__).parent.glob("*.py")}
    assert not modules & set(vlaec.__all__)


def test_verify() -> None:
    data = vlaec.compress(RGBA)
    facts = vlaec.verify(data)
    assert (facts["width"], facts["height"], facts["kind"]) == (30, 20, "picture")
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises((vlaec.BadFileError, vlaec.ModelMissingError)):
            vlaec.verify(bytes(damaged))


def test_likelihoods() -> None:
    pytest.importorskip("torch")
    from vlaec import density

    flat = np.full((40, 50, 3), 128, np.uint8)
    found = {}
    for name, pixels in (("flat", flat), ("noise", RGB)):
        one = vlaec.likelihood(pixels, 30)
        assert one.pixel_bits.shape == pixels.shape[:2] and one.pixel_bits.min() > 0
        assert one.latent_bits == vlaec.info(vlaec.compress(pixels, 30)).predicted_bits
        assert one.bits == pytest.approx(one.latent_bits + one.pixel_bits.sum())
        found[name] = one.pixel_bits.mean()
    assert found["flat"] < found["noise"]
    whole = vlaec.likelihood(RGB).pixel_bits
    with pytest.MonkeyPatch.context() as patch:  # rows at a time are the same as all at once
        patch.setattr(density, "ROWS", 7)
        assert np.allclose(vlaec.likelihood(RGB).pixel_bits, whole, rtol=1e-4)


def test_streams_that_cannot_be_read_are_refused() -> None:
    class Broken:
        def read(self) -> bytes:
            raise OSError("no medium")

    closed = io.BytesIO(b"data")
    closed.close()
    for stream in (closed, Broken()):
        for call in (vlaec.compress, vlaec.decompress, vlaec.info):
            with pytest.raises(UsageError, match=r"cannot read the stream: (I/O|no medium)"):
                call(stream)


def test_arrays_of_other_classes() -> None:
    plain = vlaec.compress(RGB[..., 0], model="tiny")
    assert vlaec.compress(RGB[..., 0].view(np.recarray), model="tiny") == plain
    with pytest.raises(BadImageError, match="masked"):
        vlaec.compress(np.ma.masked_array(RGB, RGB > 9), model="tiny")


def test_tensors_without_plain_values() -> None:
    torch = pytest.importorskip("torch")
    for tensor in (torch.ones(3, 4, 4).to_sparse(), torch.ones(3, 4, 4, device="meta")):
        with pytest.raises(BadImageError, match="plain values"):
            vlaec.compress(tensor, model="tiny")
