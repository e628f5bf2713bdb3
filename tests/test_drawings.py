"""The page about strengths: drawings of many kinds, and the command."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from training import write_photos

from benchmarks.drawings import REGION, SIDE, by_region, drawings, main

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("VLAEC_DATA", ROOT.parent / "shared" / "data"))
WEIGHTS = Path(os.environ.get("VLAEC_WEIGHTS", DATA / "lpips"))


def test_drawings_differ_and_are_the_same_every_time() -> None:
    first, second = drawings(), drawings()
    assert all(p.shape == (SIDE, SIDE, 3) and p.dtype == np.uint8 for p in first.values())
    assert len({p.tobytes() for p in first.values()}) == len(first) > 8
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_each_region_has_the_most_texture_that_does_not_harm_it() -> None:
    random = np.random.default_rng(1)
    grain = random.normal(0, 9, (REGION, 3 * REGION, 3)).round()
    original = np.full((REGION, 3 * REGION, 3), 128.0)
    left, middle = slice(REGION), slice(REGION, 2 * REGION)
    original[:, left] += grain[:, left]
    original[:, middle] += (grain[:, middle] / 2).round()  # the rest is clean
    pictures = {s: (128 + s * grain[::-1]).astype(np.uint8) for s in (1.0, 0.5, 0.0)}
    found = by_region(original.astype(np.uint8), pictures)
    for place, strength in enumerate((1.0, 1.0, 0.0)):
        there = slice(place * REGION, (place + 1) * REGION)
        assert np.array_equal(found[:, there], pictures[strength][:, there])


@pytest.mark.skipif(
    not (WEIGHTS / "dists_alpha_beta.npz").is_file(), reason=f"no LPIPS weights in {WEIGHTS}"
)
def test_the_command_writes_a_table(
    tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    monkeypatch.setattr("benchmarks.drawings.SIDE", 64)
    (tmp_path / "photos").mkdir()
    write_photos(tmp_path / "photos", count=2, side=256)
    out = tmp_path / "drawings.md"
    given = ["--data", str(tmp_path / "photos"), "--weights", str(WEIGHTS), "--out", str(out)]
    assert main([*given, "--qualities", "20"]) == 0
    lines = out.read_text().splitlines()
    sets = ("| drawings", "| held-out", "| trained")
    assert sum(line.startswith(sets) for line in lines) == 6
    assert sum("| 20 |" in line for line in lines) == len(drawings()) + 2
