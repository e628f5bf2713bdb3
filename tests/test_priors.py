"""Priors on the latents of a finished model: training lowers the rate, and rows differ."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training import write_photos

from benchmarks.priors import Latents, main, rates, train
from vlaec.model import PRESETS
from vlaec.model.prior import Prior

TINY = PRESETS["tiny"]


def test_a_prior_learns_the_latents_it_is_given() -> None:
    torch.manual_seed(0)
    y = 4 * torch.randn(12, TINY.latent_channels, 16, 16) + 6
    prior = Prior(TINY)
    before = rates(prior, y, 50, TINY.levels)
    train(prior, Latents(y, torch.full((12,), 0.5)), 60, TINY.levels, seed=0)
    after = rates(prior, y, 50, TINY.levels)
    assert after["bpp"] < 0.8 * before["bpp"]
    assert 0 <= after["w"] < min(after["bpp"], after["w_pushed"])


def test_rows_by_command(
    tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    (tmp_path / "photos").mkdir()
    # Large enough to be reduced by half before a crop.
    write_photos(tmp_path / "photos", count=2, side=520)
    out = tmp_path / "priors.md"
    given = ["--data", str(tmp_path / "photos"), "--model", "tiny", "--out", str(out)]
    size = ["--steps", "2", "--crops", "4", "--qualities", "50", "--rows", "full", "no-w"]
    assert main([*given, *size]) == 0
    text = out.read_text()
    for row in ("shipped", "full", "no-w"):
        assert text.count(f"| {row} |") == 2
    no_w = next(line for line in text.splitlines()[::-1] if line.startswith("| no-w |"))
    assert [cell.strip() for cell in no_w.split("|")[4:6]] == ["0.0000"] * 2  # nothing is paid
    assert str(tmp_path) not in text
