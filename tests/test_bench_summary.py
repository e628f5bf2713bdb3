"""Means, BD-rates, intervals, and the files that other tools read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bjontegaard")

from vlaec.bench.curves import Curve, Interval, at_rate, bd_rate, make_grid
from vlaec.bench.metrics import METRICS
from vlaec.bench.references import compressai_result, read_reference
from vlaec.bench.results import Cache, Failure, Record
from vlaec.bench.run import Outcome
from vlaec.bench.summary import Summary, summarise
from vlaec.bench.tables import all_tables, as_markdown, bd_table, level_table
from vlaec.bench.verdict import verdict
from vlaec.errors import UsageError


def record(image: str, codec: str, level: float, size: int, **metrics: float | None) -> Record:
    return Record(
        image=image,
        image_hash=f"hash of {image}",
        width=100,
        height=80,
        codec=codec,
        level=level,
        bytes=size,
        lossless=codec == "png",
        encode_time=0.1 * level,
        decode_time=0.01,
        encode_time_all=None,
        decode_time_all=None,
        metrics=dict(metrics),
    )


def outcome() -> Outcome:
    """Three pictures; `thrifty` needs 0.8 of the bytes of `plain` at the same quality."""
    records = []
    for number in range(3):
        image = f"{number}.png"
        for level in (1, 2, 3, 4):
            quality = {"psnr": 25 + 3 * level + number, "lpips": 0.5 / level + 0.01 * number}
            size = 200 * 2**level + 50 * number
            records.append(record(image, "plain", level, size, **quality))
            records.append(record(image, "thrifty", level, round(size * 0.8), **quality))
        records.append(record(image, "png", 9, 9000, psnr=None, lpips=0.0))
    return Outcome(records, failures=[Failure("bad.png", "not a picture")])


def summary(tmp_path: Path) -> Summary:
    return summarise(
        outcome(),
        Cache(tmp_path / "cache"),
        dataset="three",
        metrics=["psnr", "lpips"],
        anchors=["plain"],
        rates=[1.0],
        memory={"plain": {"encode": 40, "plain": 30}},
        versions={"plain": "plain 1.0"},
        unavailable={"codec vlaec": "no model"},
    )


def test_bd_rate_of_scaled_rates() -> None:
    bpp, values = np.array([0.1, 0.2, 0.4, 0.8]), np.array([28.0, 31.0, 34.0, 37.0])
    assert bd_rate("psnr", (bpp, values), (bpp * 0.9, values)) == pytest.approx(-10)
    assert bd_rate("lpips", (bpp, -values), (bpp * 1.25, -values)) == pytest.approx(25)
    ms_ssim = 1 - 10 ** (-values / 20)
    assert bd_rate("ms-ssim", (bpp, ms_ssim), (bpp * 0.5, ms_ssim)) == pytest.approx(-50)


def test_bd_rate_of_ms_ssim_averages_over_decibels() -> None:
    """The saving grows with quality, so its mean depends on the scale that it is taken over."""
    decibel = np.linspace(8, 20, 7)
    anchor = 10 ** (decibel / 20)  # any rates that rise
    saving = -0.02 * (decibel - 8)  # of the logarithm of the rate: linear in dB
    values = 1 - 10 ** (-decibel / 10)
    found = bd_rate("ms-ssim", (anchor, values), (anchor * np.exp(saving), values))
    assert found == pytest.approx(100 * np.expm1(saving.mean()), abs=0.05)


def test_bd_rate_leaves_out_what_is_dominated_and_knows_when_there_is_none() -> None:
    bpp, values = np.array([0.1, 0.2, 0.4, 0.8]), np.array([28.0, 31.0, 34.0, 37.0])
    worse = np.append(bpp, 0.9), np.append(values, 33.0)
    assert bd_rate("psnr", (bpp, values), worse) == pytest.approx(0)
    assert bd_rate("psnr", (bpp, values), (bpp, values + 20)) is None
    assert bd_rate("psnr", (bpp, values), (bpp[:1], values[:1])) is None
    holes = np.array([np.nan, 31.0, np.nan, 37.0])
    assert bd_rate("psnr", (bpp, values), (bpp, holes)) == pytest.approx(0, abs=1)


def test_summary(tmp_path: Path) -> None:
    found = summary(tmp_path)
    assert list(found.curves) == ["plain", "thrifty", "png"]
    assert found.curves["plain"].bpp == sorted(found.curves["plain"].bpp)
    assert found.curves["plain"].metrics["psnr"] == [29, 32, 35, 38]
    assert found.curves["png"].lossless and "png" not in found.bd_rates["plain"]["psnr"]
    for name in found.metrics:
        interval = found.bd_rates["plain"][name]["thrifty"]
        assert interval is not None and interval.value == pytest.approx(-20, abs=0.2)
        assert interval.low is not None and interval.high is not None
        assert interval.low - 0.1 <= interval.value <= interval.high + 0.1
    at = found.at_bpp["1"]
    plain, thrifty = at["plain"]["psnr"], at["thrifty"]["psnr"]
    assert plain is not None and thrifty is not None and thrifty > plain
    assert found.speed["plain"].encode == pytest.approx(0.25)
    assert (found.speed["plain"].encode_memory, found.speed["png"].decode_memory) == (40, None)


def test_a_picture_without_some_level_is_left_out() -> None:
    records = [record("a", "x", level, 100 * level, psnr=30) for level in (1, 2)]
    records += [record("b", "x", 1, 100, psnr=30)]
    grid = make_grid(records, ["psnr"])
    assert grid.images == ["a"] and grid.bpp.shape == (1, 2)


def test_interpolation_stays_inside_the_curve() -> None:
    curve = Curve("x", [1, 2], [0.1, 0.4], {"psnr": [30.0, 34.0]})
    assert at_rate(curve, "psnr", 0.2) == pytest.approx(32)
    assert at_rate(curve, "psnr", 0.5) is None


def test_results_can_be_read_back_as_references(tmp_path: Path) -> None:
    result = compressai_result(summary(tmp_path), "plain")
    assert set(result) == {"name", "description", "results"}
    path = tmp_path / "plain.json"
    path.write_text(json.dumps(result))
    assert '"psnr-rgb"' in path.read_text()
    curve = read_reference(path)
    assert curve.codec == "plain" and curve.metrics["psnr"] == [29, 32, 35, 38]
    path.write_text("[1, 2]")
    with pytest.raises(UsageError, match=r"plain\.json"):
        read_reference(path)


def test_tables(tmp_path: Path) -> None:
    found = summary(tmp_path)
    titles = [table.title for table in all_tables(found)]
    assert titles == [
        "BD-rate against plain",
        "Quality at 1 bpp",
        "Measured points",
        "Speed and memory",
        "Lossless",
    ]
    text = as_markdown(bd_table(found))
    assert "| thrifty | **-20" in text and text.count("\n| ") == 4
    table, psnr = level_table(found), METRICS["psnr"].title
    points = [row for row in table.rows if row[0] == "plain"]
    curve = found.curves["plain"]
    assert [row[1] for row in points] == [f"{level:g}" for level in curve.levels]
    assert (
        [float(row[table.header.index(psnr)]) for row in points]
        == curve.metrics["psnr"]
        == [29, 32, 35, 38]
    )
    nothing = {name: dict.fromkeys(rates) for name, rates in found.bd_rates["plain"].items()}
    assert not bd_table(replace(found, bd_rates={"plain": nothing})).rows


def test_ms_ssim_is_compared_in_decibels() -> None:
    """Both rates double every 4 dB, one codec needing twice the other's: 100 % more, exactly."""

    def curve(decibels: list[float], factor: float) -> tuple[np.ndarray, np.ndarray]:
        db = np.array(decibels)
        return factor * 2 ** (db / 4), 1 - 10 ** (-db / 10)

    rate = bd_rate("ms-ssim", curve([8, 14, 20], 0.01), curve([9, 11, 19], 0.02))
    assert rate == pytest.approx(100, abs=1e-6)


def test_the_verdict_claims_no_more_than_the_intervals(tmp_path: Path) -> None:
    rates: dict[str, dict[str, Interval | None]] = {
        "lpips": {"thrifty": Interval(-50.2, -60, -40)},
        "psnr": {"thrifty": Interval(30.4, 20, 41)},
        "dists": {"thrifty": Interval(-9, -20, 5)},
        "fd": {"thrifty": Interval(-12)},
    }
    made = replace(summary(tmp_path), metrics=tuple(rates), bd_rates={"plain": rates})
    assert verdict(made) == [
        "Against plain, files of thrifty are 50 % smaller (-60 to -40) at equal LPIPS (AlexNet) "
        "and 12 % smaller at equal Frechet, 64px patches; 30 % larger (+20 to +41) at equal "
        "PSNR (dB); not clearly different at equal DISTS."
    ]
    assert verdict(replace(made, bd_rates={"plain": {}})) == []
    equal = {"plain": {"fd": {"thrifty": Interval(0.4)}}}
    assert verdict(replace(made, bd_rates=equal)) == [
        "Against plain, files of thrifty are not clearly different at equal Frechet, 64px patches."
    ]
