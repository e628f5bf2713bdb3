"""The adapters of `vlaec bench`: what goes in comes out, at the rates that are known for them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlaec.bench.codecs import CODECS, make_codec, why_unavailable
from vlaec.bench.metrics import METRICS, FileMetric, psnr
from vlaec.errors import UsageError
from vlaec.images import Picture
from vlaec.photo.codec import encode

LOSSY = ["jpeg", "jpeg:444", "jpegli", "webp", "avif", "avif:420", "avif:best"]
LOSSY += ["jxl", "hevc", "vvc", "vvc:psnr"]
LOSSLESS = ["png", "webp:lossless", "jxl:lossless"]


def skip_if_missing(specification: str) -> None:
    if reason := why_unavailable(make_codec(specification)):
        pytest.skip(f"{specification}: {reason}")


def scene(height: int = 49, width: int = 75) -> np.ndarray:
    """A gradient with an edge and some grain."""
    y, x = np.mgrid[:height, :width]
    grain = np.random.default_rng(1).normal(0, 6, (height, width, 3))
    base = np.stack([x * 3.0, y * 4.0, 255 - x * 2.0], 2) + 60 * (x > y)[..., None]
    return np.clip(base + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("specification", LOSSY)
def test_more_bytes_give_more_quality(specification: str) -> None:
    skip_if_missing(specification)
    codec, image = make_codec(specification), scene()
    assert codec.version and not codec.lossless
    files = [codec.encode(image, level) for level in (codec.levels[0], codec.levels[-1])]
    decode = codec.decoders()[specification]
    low, high = (psnr(image, decode(data, 1)) for data in files)
    assert len(files[0]) < len(files[1]) and low < high
    assert files[1] == codec.encode(image, codec.levels[-1])


@pytest.mark.parametrize("specification", LOSSY)
def test_limits_are_levels(specification: str) -> None:
    """A search for a size tries them."""
    skip_if_missing(specification)
    codec, image = make_codec(specification), scene()
    smallest, largest = (len(codec.encode(image, level)) for level in codec.limits)
    assert smallest < largest


@pytest.mark.parametrize("specification", LOSSLESS)
def test_lossless_codecs_are(specification: str) -> None:
    skip_if_missing(specification)
    codec, image = make_codec(specification), scene(31, 17)
    data = codec.encode(image, codec.levels[0])
    assert codec.lossless
    assert np.array_equal(codec.decoders()[specification](data, 1), image)


# Mean bits per pixel and PSNR of the 24 Kodak photos, by libjpeg-turbo 3.1.3, libwebp 1.6.0,
# libavif 1.4.0 and libjxl 0.11.2.
@pytest.mark.parametrize(
    ("specification", "level", "bpp", "decibel"),
    [
        ("jpeg:baseline", 35, 0.6829, 31.013),
        ("webp", 10, 0.2744, 28.932),
        ("avif", 20, 0.1659, 28.261),
        ("jxl", 7, 0.3675, 29.672),
    ],
)
def test_kodak_agrees_with_known_numbers(
    specification: str, level: float, bpp: float, decibel: float, kodak: list[Path]
) -> None:
    skip_if_missing(specification)
    codec = make_codec(specification)
    rates, qualities = [], []
    for path in kodak:
        with Image.open(path) as file:
            image = np.asarray(file)
        data = codec.encode(image, level)
        rates.append(8 * len(data) / (image.shape[0] * image.shape[1]))
        qualities.append(psnr(image, codec.decoders()[specification](data, 1)))
    assert np.mean(rates) == pytest.approx(bpp, rel=0.02)
    assert np.mean(qualities) == pytest.approx(decibel, abs=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        *("tiff", "avif:411", "png:fast", "webp:near", "jxl:x", "jpeg:1", "vvc:fast", "hevc:x"),
        *("vlaec:effort=x", "vlaec:effort=", "vlaec:small+tiny"),
    ],
)
def test_unknown_names_and_options(wrong: str) -> None:
    with pytest.raises(UsageError, match=re.escape(wrong.split(":")[-1])):
        make_codec(wrong)


def test_vlaec_searches_as_long_as_it_is_told(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    image = scene()[:32, :32]
    codecs = [make_codec(f"vlaec{option}") for option in ("", ":effort=1", ":tiny+effort=1")]
    files = [codec.encode(image, 50) for codec in codecs]
    assert files[0] != files[1] == files[2] == encode(Picture(image), 50, effort=1)
    assert "effort" not in codecs[0].version and "effort 1" in codecs[1].version
    assert list(codecs[2].decoders()) == ["vlaec:tiny+effort=1", "vlaec:tiny+effort=1 texture=0"]


def test_every_codec_works_or_says_why_not() -> None:
    for name in CODECS:
        reason = why_unavailable(make_codec(name))
        assert reason is None or ": " in reason or "size" in reason or "pip install" in reason


def test_vlaec_decodes_one_file_at_several_textures(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    codec, image = make_codec("vlaec", textures=(0.0,)), scene()
    if reason := why_unavailable(codec):
        pytest.skip(reason)
    rows = codec.decoders()
    assert list(rows) == ["vlaec", "vlaec texture=0"]
    data = codec.encode(image, 50)
    textured, smooth = (decode(data, 1) for decode in rows.values())
    assert textured.shape == smooth.shape == image.shape
    assert not np.array_equal(textured, smooth)
    assert "model" in codec.version
    chance = METRICS["seeds"]
    assert isinstance(chance, FileMetric)
    share = chance.measure(codec, data)
    assert share is not None and 0 < share <= 1.5
    assert chance.measure(make_codec("jpeg"), b"") is None
