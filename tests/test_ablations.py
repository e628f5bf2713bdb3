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

from vlaec.networks import PRESETS
from vlaec.networks.blocks import level_weights
from vlaec.train.photo.recipe import RECIPES

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


def test_no_prediction_passes_z_through(script: ModuleType) -> None:
    z, mean, log_scale = torch.randn(3, 1, 16, 4, 4).unbind()
    levels = level_weights(torch.tensor([0.5]), 6)
    plain = script.ROWS["no-prediction"].build(PRESETS["tiny"]).requires_grad_(False)
    assert torch.equal(
        plain.known(z, mean, log_scale, levels), plain.known(z, mean + 1, log_scale - 1, levels)
    )


def test_rows_change_what_they_say(script: ModuleType) -> None:
    recipes = {name: script.recipe_of(row, "small") for name, row in script.ROWS.items()}
    assert recipes["narrow"].model.widths == (48, 96, 144)
    assert recipes["wide"].model.widths == (96, 192, 288)
    weight = RECIPES["small"].perceptual_weight
    for name, texture, mean in (
        ("tuned", weight, 0),
        ("tuned-none", 0, 0),
        ("tuned-mean", 0, weight),
        ("tuned-both", weight, weight),
    ):
        recipe = recipes[name]
        assert (recipe.perceptual_weight, recipe.mean_perceptual_weight) == (texture, mean)
    # A finished model has all losses from first to last, a new one never the texture's.
    for name, row in script.ROWS.items():
        expected = (0, 1) if row.tunes else (1, 1)
        assert (recipes[name].sampler_from, recipes[name].structure_until) == expected


@pytest.mark.skipif(
    not (WEIGHTS / "dists_alpha_beta.npz").is_file(), reason=f"no LPIPS weights in {WEIGHTS}"
)
def test_rows_are_added_one_by_one(tmp_path: Path, tiny_models: Path) -> None:
    (tmp_path / "photos").mkdir()
    write_photos(tmp_path / "photos", count=3, side=256)
    out = tmp_path / "ablations.md"

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        fixed = [
            "--preset",
            "tiny",
            "--model",
            "tiny",
            "--data",
            str(tmp_path / "photos"),
            "--weights",
            str(WEIGHTS),
        ]
        places = ["--runs", str(tmp_path / "runs"), "--out", str(out), "--qualities", "50"]
        return subprocess.run(
            [sys.executable, str(SCRIPT), *fixed, *places, *arguments],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "VLAEC_MODELS": str(tiny_models),
            },
            capture_output=True,
            text=True,
        )

    first = call("--steps", "2", "--rows", "full")
    assert first.returncode == 0, first.stderr
    assert "| full |" in out.read_text() and "tuned" not in out.read_text()
    second = call("--steps", "2", "--rows", "full", "no-prediction", "tuned-none")
    assert second.returncode == 0 and "full" not in second.stdout
    text = out.read_text()
    for row in ("full", "no-prediction", "tuned-none"):
        assert text.count(f"| {row} |") == 2
    again = call("--steps", "2", "--rows", "full", "tuned-none")
    assert again.returncode == 0 and not again.stdout and out.read_text() == text
    nothing, tuned = text.split("## From the weights of `tiny ")
    assert "| tuned-none |" in tuned and "tuned-none" not in nothing
    assert str(tmp_path) not in text
    other = call("--steps", "3")
    assert other.returncode == 2 and "another preset, model or budget" in other.stderr
