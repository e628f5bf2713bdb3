"""Larger PixelCNNs from smaller ones, dropout, and several set models in one session."""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_sets.make import make_images, make_model
from torch import Tensor

from vlaec.bench.likelihood import as_input
from vlaec.networks import SET_PRESETS, SetConfig, SetVLAE
from vlaec.train.sets import many
from vlaec.train.sets.data import SetData
from vlaec.train.sets.dropout import add_dropout
from vlaec.train.sets.grow import grown
from vlaec.train.sets.recipe import SET_RECIPES

BINARY, COLOUR = SET_PRESETS["tiny-binary"], SET_PRESETS["tiny-colour"]
LARGER = {"receptive_field": "11x6", "pixel_hidden": 12, "pixel_depth": 3}


def batch(config: SetConfig) -> Tensor:
    """Four images in [0, 1]."""
    images = make_images(config, 4)
    return as_input(images // 255 if config.kind == "binary" else images)


def log_likelihoods(config: SetConfig, state: dict[str, Tensor]) -> Tensor:
    model = SetVLAE(config)
    model.load_state_dict(state)
    x = batch(config)
    with torch.inference_mode():
        return model.log_likelihood(x, model.features(model.encode(x)[0]))


@pytest.mark.parametrize("config", [BINARY, COLOUR], ids=["binary", "colour"])
def test_a_larger_pixelcnn_starts_as_the_smaller(config: SetConfig) -> None:
    large, old = replace(config, **LARGER), make_model(config).state_dict()
    new = grown(old, config, large, make_model(large, seed=1).state_dict())
    assert new["pixelcnn.window.weight"].shape != old["pixelcnn.window.weight"].shape
    torch.testing.assert_close(log_likelihoods(large, new), log_likelihoods(config, old))


def test_copies_of_a_component_part_a_little() -> None:
    old, large = make_model(COLOUR).state_dict(), replace(COLOUR, mixtures=4)
    new = grown(old, COLOUR, large, make_model(large, seed=1).state_dict())
    before, after = log_likelihoods(COLOUR, old), log_likelihoods(large, new)
    torch.testing.assert_close(after, before, rtol=0.02, atol=0)
    assert not torch.equal(after, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_channels": 8}, "another"),
        ({"pixel_hidden": 6}, "shrink"),
        ({"pixel_depth": 0}, "shrink"),
        ({"mixtures": 3}, "multiplied"),
    ],
    ids=str,
)
def test_what_cannot_grow_is_refused(change: dict[str, int], message: str) -> None:
    state, other = make_model(COLOUR).state_dict(), replace(COLOUR, **change)
    with pytest.raises(ValueError, match=message):
        grown(state, COLOUR, other, make_model(other).state_dict())


def test_dropout_is_for_training_and_not_for_pixels() -> None:
    model, x = make_model(BINARY), batch(BINARY)
    z = model.encode(x)[0]
    plain = model.features(z), model.pixels(x, model.features(z))
    add_dropout(model, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(model.features(z), plain[0])
    model.train()
    assert not torch.equal(model.features(z), plain[0])
    assert torch.equal(model.pixels(x, plain[0]), plain[1])


def test_dropout_keeps_the_mean() -> None:
    network = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(40, 1))
    model = make_model(BINARY)
    model.analysis = network
    add_dropout(model, 0.25, torch.Generator().manual_seed(0))
    model.train()
    with torch.inference_mode():
        network[1].weight.fill_(1.0)
        network[1].bias.zero_()
        sums = network(torch.ones(2000, 40))
    assert sums.std() > 1
    assert sums.mean().item() == pytest.approx(40, abs=0.4)
    # Whole inputs are left out, the others raised to make up for them.
    counts = sums * 0.75
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-3)


def test_a_model_of_many_is_packed_and_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(SET_RECIPES["tiny-binary"], validations=2)
    images = make_images(recipe.model, 48) // 255
    monkeypatch.setattr(many, "JOBS", {"tiny": many.Job(recipe, share=0.5)})
    data = SetData(images[:32], images[32:40], images[40:])
    monkeypatch.setattr(many, "load", lambda name, folder: data)
    monkeypatch.setattr(many, "PACK_SECONDS", 0.3)
    monkeypatch.setattr(many, "RESERVE_SECONDS", 0.0)
    best = []
    for name, init in (("first", None), ("second", tmp_path / "first")):
        out = tmp_path / name
        out.mkdir()
        args = Namespace(seconds=2.0, data=tmp_path, out=out, init=init, device="cpu")
        many.train("tiny", args, time.time() + args.seconds)
        packed = torch.load(out / "tiny.pt", weights_only=True)
        assert packed["recipe"] == recipe.to_dict() and packed["best_elbo"] < 0
        SetVLAE(recipe.model).load_state_dict(packed["ema"])
        best.append(packed["best_elbo"])
    assert best[1] > 1.05 * best[0]  # both are negative


def test_a_failed_model_fails_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "GRACE_SECONDS", 120.0)
    arguments = f"--data {tmp_path} --seconds 1 --out {tmp_path} --models caltech --device cpu"
    assert many.main(arguments.split()) == 1
    assert "caltech101" in (tmp_path / "sets.log").read_text()
