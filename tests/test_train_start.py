"""A run that starts from the weights of another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training import RECIPE, make_trainer, silent, write_photos

from vlaec.networks.blocks import level_weights
from vlaec.networks.photo import PhotoVLAE
from vlaec.train.__main__ import main
from vlaec.train.photo.recipe import Recipe


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def start(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps."""
    run = tmp_path_factory.mktemp("start")
    make_trainer(photos, run, 10).train(None, silent)
    return run


def command(photos: Path, run: Path, start: Path, recipe: Path) -> list[str]:
    """Two steps of a run that starts from another."""
    given = ["--preset", "tiny", "--recipe", str(recipe), "--init", str(start), "--steps", "2"]
    return ["photo", "--data", str(photos), "--run", str(run), *given]


def test_a_run_may_start_from_another(photos: Path, start: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(replace(RECIPE, learning_rate=0.0, final_rate=0.0).to_dict()))
    assert main(command(photos, run, start, recipe)) == 0
    first, second = (
        torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (start, run)
    )
    assert second["step"] == 2
    for kind in ("model", "ema"):
        for name, tensor in second[kind].items():
            torch.testing.assert_close(tensor, first["ema"][name], atol=1e-6, rtol=0)


def deeper(recipe: Recipe) -> Recipe:
    """The recipe of a model with another residual block in every stack."""
    model = replace(recipe.model, analysis_depth=(2, 2, 2), synthesis_depth=(2, 2, 2))
    return replace(recipe, model=model)


def test_a_run_may_start_from_a_shallower_model(photos: Path, start: Path, tmp_path: Path) -> None:
    weights = torch.load(start / "checkpoint.pt", weights_only=True)["ema"]
    shallow = PhotoVLAE(RECIPE.model)
    shallow.load_state_dict(weights)
    trainer = make_trainer(photos, tmp_path / "run", 2, deeper(RECIPE))
    trainer.start_from(weights)
    x = torch.rand(1, 3, 64, 64)
    levels = level_weights(torch.tensor([0.4]), RECIPE.model.levels)
    with torch.no_grad():
        latents = [model.encode(x, levels) for model in (shallow, trainer.model)]
        torch.testing.assert_close(*latents)
        z, zeros = latents[0].round(), torch.zeros_like(latents[0])
        pictures = (model.decode(z, zeros, zeros, levels) for model in (shallow, trainer.model))
        for flat, deep in zip(*pictures, strict=True):
            torch.testing.assert_close(flat, deep)
    trainer.train(None, silent)
    added = trainer.model.analysis[2][1].second.weight  # type: ignore[index,union-attr]
    assert bool(added.any())


def test_a_run_cannot_start_from_another_kind_of_model(
    photos: Path, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.json"
    wide = replace(RECIPE, model=replace(RECIPE.model, widths=(24, 24, 24)))
    recipe.write_text(json.dumps(wide.to_dict()))
    assert main(command(photos, tmp_path / "run", start, recipe)) == 2
    assert "belong to another model" in capsys.readouterr().err
