"""Qualities found by size and by fidelity."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import vlaec
from vlaec import rate
from vlaec.options import CompressOptions
from vlaec.target import METRICS, Target, parse_size

SIZES = {
    "40000": 40000,
    "40k": 40000,
    "40K": 40000,
    "40kB": 40000,
    "1.5M": 1500000,
    "2G": 2 * 10**9,
}
SIZES |= {"40Ki": 40960, "1Mi": 1048576, "1Gi": 2**30, "2G": 2 * 10**9, " 7 ": 7}


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "40t", "0", "-3", "nan", "inf", "1e30", "4 0", "40kk"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(vlaec.UsageError, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "lpips", "lpips=", "lpips=x", "=1", "vmaf=90", "lpips=nan"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(vlaec.UsageError):
        Target.parse(text)


@pytest.mark.parametrize("metric", METRICS)
def test_a_target_is_met_where_nothing_is_missing(metric: str) -> None:
    better = {"psnr": 31, "ms-ssim": 0.96}.get(metric, 0.19)
    worse = {"psnr": 29, "ms-ssim": 0.94}.get(metric, 0.21)
    target = Target(metric, {"psnr": 30, "ms-ssim": 0.95}.get(metric, 0.2))
    assert target.excess(target.value) == 0 and target.excess(better) < 0 < target.excess(worse)
    assert Target.parse(str(target)) == target


def staircase(bend: float, shift: float, step: float) -> Callable[[float], float]:
    """Sizes as models make them: no straight line, and level from step to step."""
    return lambda place: shift + bend * place + (step * round(place / step) if step else 0)


@settings(deadline=None, max_examples=200)
@given(
    bend=st.floats(0.3, 2.5),
    shift=st.floats(-3, 3),
    step=st.sampled_from([0.0, 0.001, 0.01]),
    falls=st.booleans(),
    start=st.integers(0, 999),
)
def test_the_search_ends_where_the_curve_crosses(
    bend: float, shift: float, step: float, falls: bool, start: int
) -> None:
    sign = -1 if falls else 1
    curve = staircase(bend, shift, step)
    places = np.linspace(-2.5, 0.5, 1000)
    excesses = [sign * curve(place) for place in places]

    def trial(position: int) -> rate.Trial:
        return rate.Trial(position, excesses[position], b"")

    found = rate.search(trial, places, start, 0.03, sign)
    assert len(found) <= rate.MOST_TRIALS
    assert len({t.position for t in found}) == len(found)
    best = max((t.excess for t in found if t.excess <= 0), default=-math.inf)
    possible = max((e for e in excesses if e <= 0), default=-math.inf)
    assert best == possible or best >= -0.03 or len(found) == rate.MOST_TRIALS


@pytest.fixture
def models(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))


def encoder(factor: float) -> tuple[rate.Encode, list[CompressOptions]]:
    """Files as large as a typical photograph's, times a factor, and what was asked for."""
    asked: list[CompressOptions] = []
    qualities, rates = zip(*rate.TYPICAL, strict=True)

    def encode(options: CompressOptions) -> bytes:
        asked.append(options)
        bpp = math.exp(np.interp(options.quality, qualities, np.log(rates)))
        return bytes(int(factor * bpp * 10**6 / 8 * (1 - 0.01 * options.effort)))

    return encode, asked


@pytest.mark.parametrize("factor", [0.2, 0.7, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("bpp", [0.1, 0.3, 0.9])
def test_sizes_are_kept_and_used(models: None, factor: float, bpp: float) -> None:
    limit = int(bpp * 10**6 / 8)
    encode, asked = encoder(factor)
    smallest, largest = (factor * rate.TYPICAL[end][1] for end in (0, -1))
    if bpp < smallest:
        with pytest.raises(vlaec.UsageError, match="smallest takes"):
            rate.encode_within(limit, 10**6, CompressOptions(), encode)
        return
    data = rate.encode_within(limit, 10**6, CompressOptions(), encode)
    assert len(data) <= limit
    assert len(data) >= rate.FULL * limit or largest < bpp
    assert len(asked) <= 4 and not any(options.searches for options in asked)


def test_effort_begins_where_no_effort_ends(models: None) -> None:
    encode, asked = encoder(1.3)
    options = CompressOptions(effort=2, tune="psnr")
    data = rate.encode_within(40000, 10**6, options, encode)
    assert 0.97 * 40000 <= len(data) <= 40000
    efforts = [options.effort for options in asked]
    assert efforts == sorted(efforts) and efforts.count(2) <= 2
    assert all(options.tune == ("psnr" if options.effort else None) for options in asked)


def test_targets_are_reached_with_few_bytes(models: None) -> None:
    encode, _ = encoder(1.0)
    target = Target("psnr", 34.0)
    measure = lambda data: 40 + 3 * math.log(8 * len(data) / 10**6)  # noqa: E731
    data = rate.encode_for(target, CompressOptions(), encode, measure)
    assert 34 <= measure(data) <= 34.05
    with pytest.raises(vlaec.UsageError, match="no quality reaches psnr=99; the best has 40"):
        rate.encode_for(Target("psnr", 99), CompressOptions(), encode, measure)


def test_the_ladder_covers_all_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLAEC_MODELS", raising=False)
    ladder = rate.Ladder()
    assert np.all(np.diff(ladder.places) > 0)
    ends = [ladder.options(p, CompressOptions()) for p in (0, len(ladder.places) - 1)]
    assert [o.quality for o in ends] == [0, 100]
    assert set(ladder.models) == {
        ladder.options(s, CompressOptions()).model for s in ladder.starts[:-1]
    }


def test_models_that_are_found_first_hide_others(models: None) -> None:
    assert rate.Ladder().models == ["tiny"]


def test_the_real_encoder_keeps_a_size(models: None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    free = vlaec.compress(pixels, quality=60)
    data = vlaec.compress(pixels, size=len(free))
    assert len(data) <= len(free)
    assert vlaec.compress(pixels, bpp=8 * len(free) / 64**2) == data
    with pytest.raises(vlaec.UsageError, match="smallest takes"):
        vlaec.compress(pixels, size=50)
    with pytest.raises(vlaec.UsageError, match="exclude each other"):
        vlaec.compress(pixels, size=50, bpp=1)


def test_the_real_encoder_reaches_a_target(models: None) -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    pixels = np.broadcast_to(ramp[:, None], (64, 64, 3)[:2])
    free = vlaec.compress(np.ascontiguousarray(pixels), quality=60)
    back = vlaec.decompress(free, as_="picture")
    reached = rate.make_measure("psnr", vlaec_picture(pixels))(back)
    data = vlaec.compress(np.ascontiguousarray(pixels), target=f"psnr={reached - 0.001}")
    again = vlaec.decompress(data, as_="picture")
    assert rate.make_measure("psnr", vlaec_picture(pixels))(again) >= reached - 0.001


def vlaec_picture(pixels: np.ndarray) -> vlaec.Picture:
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG")
    from vlaec.inputs import as_picture

    return as_picture(out.getvalue())
