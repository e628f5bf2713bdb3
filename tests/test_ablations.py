"""The ablations: every row differs as it says, and the tables can be completed row by row."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from training import write_photos

from vlaec.model import PRESETS, PhotoVLAE
from vlaec.model.blocks import level_weights
from vlaec.train.recipe import RECIPES

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "ablations.py"
DATA = Path(os.environ.get("VLAEC_DATA", ROOT.parent / "shared" / "data"))
WEIGHTS = Path(os.environ.get("VLAEC_WEIGHTS", DATA / "lpips"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ablations", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ablations"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def build(script: ModuleType, name: str) -> PhotoVLAE:
    torch.manual_seed(0)
    model: PhotoVLAE = script.ROWS[name].build(PRESETS["tiny"])
    for network in model.prior.parameters_of:
        torch.nn.init.normal_(network[-1].weight, std=0.3)
    return model.requires_grad_(False)


# Cells of z, of 4 slices of 4 channels, whose change the prior's mean of channel 9 at an odd cell
# can see: of an earlier slice, and of its own slice at a neighbouring even cell.
@pytest.mark.parametrize(
    ("name", "slice_before", "neighbour"),
    [
        ("full", True, True),
        ("factorised", False, False),
        ("no-w", True, True),
        ("no-checkerboard", True, False),
    ],
)
def test_what_a_group_sees(
    script: ModuleType, name: str, slice_before: bool, neighbour: bool
) -> None:
    prior = build(script, name).prior
    levels = level_weights(torch.tensor([0.5]), 6)
    features = torch.randn(1, 8, 8, 8)
    z = torch.randn(1, 16, 8, 8).round()
    before, _ = prior.conditionals(z, features, levels)
    for channel, column, expected in ((2, 4, slice_before), (9, 4, neighbour), (9, 5, False)):
        changed = z.clone()
        changed[0, channel, 4, column] += 3
        after, _ = prior.conditionals(changed, features, levels)
        assert (before != after)[0, 8:12, 4, 5].any() == expected


def test_rows_without_w_pay_nothing_for_it(script: ModuleType) -> None:
    z, levels = torch.randn(2, 16, 8, 8).round(), level_weights(torch.tensor([0.1, 0.5]), 6)
    for name, row in script.ROWS.items():
        prior = row.build(PRESETS["tiny"]).prior
        features, bits = prior.side_information(z, levels)
        without = name in ("no-w", "factorised")
        assert bool((bits == 0).all()) == without and bool((features == 0).all()) == without


def test_no_prediction_passes_z_through(script: ModuleType) -> None:
    z, mean, log_scale = torch.randn(3, 1, 16, 4, 4).unbind()
    levels = level_weights(torch.tensor([0.5]), 6)
    plain = build(script, "no-prediction")
    assert torch.equal(
        plain.known(z, mean, log_scale, levels), plain.known(z, mean + 1, log_scale - 1, levels)
    )


def test_rows_change_what_they_say(script: ModuleType) -> None:
    recipes = {name: row.change(RECIPES["small"]) for name, row in script.ROWS.items()}
    assert recipes["full"] == RECIPES["small"]
    assert recipes["slices-8"].model.slices == 8
    assert recipes["narrow"].model.widths == (48, 96, 144)
    assert recipes["wide"].model.widths == (96, 192, 288)
    assert recipes["lpips-none"].perceptual_weight == 0
    assert recipes["lpips-both"].mean_perceptual_weight == recipes["full"].perceptual_weight
    assert recipes["lpips-mean"].perceptual_weight == 0


@pytest.mark.skipif(
    not (WEIGHTS / "dists_alpha_beta.npz").is_file(), reason=f"no LPIPS weights in {WEIGHTS}"
)
def test_rows_are_added_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    write_photos(tmp_path / "photos", count=3, side=256)
    out = tmp_path / "ablations.md"

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        fixed = ["--preset", "tiny", "--data", str(tmp_path / "photos"), "--weights", str(WEIGHTS)]
        places = ["--runs", str(tmp_path / "runs"), "--out", str(out), "--qualities", "50"]
        return subprocess.run(
            [sys.executable, str(SCRIPT), *fixed, *places, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )

    first = call("--steps", "2", "--rows", "full")
    assert first.returncode == 0, first.stderr
    assert "| full |" in out.read_text() and "no-w" not in out.read_text()
    second = call("--steps", "2", "--rows", "full", "no-w", "no-prediction")
    assert second.returncode == 0 and "full" not in second.stdout
    text = out.read_text()
    assert text.count("| full |") == text.count("| no-w |") == text.count("| no-prediction |") == 2
    assert str(tmp_path) not in text
    other = call("--steps", "3")
    assert other.returncode == 2 and "another preset or budget" in other.stderr
