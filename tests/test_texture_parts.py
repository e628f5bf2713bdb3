"""Parts of texture: strengths that are zero where there is nothing, and the command."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from training import write_photos

from benchmarks.texture_parts import main, measure, rms
from vlaec.networks import PRESETS, PhotoVLAE

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("VLAEC_DATA", ROOT.parent / "shared" / "data"))
WEIGHTS = Path(os.environ.get("VLAEC_WEIGHTS", DATA / "lpips"))

needs_weights = pytest.mark.skipif(
    not (WEIGHTS / "dists_alpha_beta.npz").is_file(), reason=f"no LPIPS weights in {WEIGHTS}"
)


def test_strength_is_in_levels() -> None:
    assert rms(torch.full((3, 4, 4), -2 / 255)) == pytest.approx(2)


@needs_weights
def test_detail_that_is_zero_changes_no_comparison() -> None:
    torch.manual_seed(0)
    model = PhotoVLAE(PRESETS["tiny"]).eval()  # its detail starts at zero
    square = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    result = measure(model, [square], 50, WEIGHTS)
    assert result["detail"] == 0 < result["seeds"] < result["residual"]
    assert result["texture 0: lpips"] == result["detail: lpips"]
    assert result["detail: psnr"] != result["detail + sample: psnr"]
    for name in ("lpips", "dists"):
        assert result[f"by itself: {name}"] < 0
        assert result[f"by itself: {name}"] <= result[f"by variance: {name}"]


@needs_weights
def test_the_command_writes_a_table(
    tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    (tmp_path / "photos").mkdir()
    write_photos(tmp_path / "photos", count=2, side=256)
    out = tmp_path / "parts.md"
    given = ["--model", "tiny", "--data", str(tmp_path / "photos"), "--weights", str(WEIGHTS)]
    assert main([*given, "--qualities", "20", "--out", str(out)]) == 0
    text = out.read_text()
    assert all(part in text for part in ("| seeds |", "## Quality 20", "## Choosing a seed"))
    assert str(tmp_path) not in text
