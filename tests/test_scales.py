"""Scales of texture: the pyramid's laws, and rows that differ in their sampler alone."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from training import RECIPE, write_photos

from benchmarks.scales.__main__ import ROWS, main, windowed, with_sampler
from benchmarks.scales.evaluate import macs_per_pixel
from benchmarks.scales.pyramid import STRIDES, Pyramid, join, split
from vlaec.networks import PRESETS, PhotoVLAE
from vlaec.networks.pixelcnn import PixelCNN
from vlaec.photo.sampler import BAND
from vlaec.train.machine import Machine
from vlaec.train.photo.losses import TextureLoss
from vlaec.train.photo.recipe import Budget
from vlaec.train.photo.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("VLAEC_DATA", ROOT.parent / "shared" / "data"))
WEIGHTS = Path(os.environ.get("VLAEC_WEIGHTS", DATA / "lpips"))
TINY = PRESETS["tiny"]
TEXTURE = {"texture_synthesis", "to_detail", "to_features", "pixelcnn"}


def strengthen(sampler: torch.nn.Module) -> torch.nn.Module:
    """Far from its start, so that everything that a mixture may depend on shows."""
    for module in sampler.modules():
        if isinstance(module, PixelCNN):
            torch.nn.init.normal_(module.head.weight, std=0.3)
    return sampler.requires_grad_(False)


def loss_of(name: str, jacobi_steps: int = 0) -> TextureLoss:
    """The texture's loss of an untrained row, without LPIPS."""
    torch.manual_seed(0)
    recipe = replace(RECIPE, jacobi_steps=jacobi_steps)
    model = PhotoVLAE(TINY)
    model.pixelcnn = strengthen(ROWS[name].sampler(TINY))  # type: ignore[assignment]
    return ROWS[name].objective(model, recipe, None).texture


@pytest.fixture(scope="module")
def pyramid() -> Pyramid:
    torch.manual_seed(0)
    sampler = strengthen(Pyramid(TINY))
    assert isinstance(sampler, Pyramid)
    return sampler


def test_levels_add_up_and_have_no_coarser_part() -> None:
    residual = torch.randn(2, 3, 16, 24)
    levels = split(residual)
    assert [residual.shape[2] // level.shape[2] for level in levels] == list(STRIDES)
    torch.testing.assert_close(join(levels), residual)
    for level in levels[1:]:
        means = torch.nn.functional.avg_pool2d(level, 2)
        torch.testing.assert_close(means, torch.zeros_like(means), atol=1e-6, rtol=0)
    for count, stride in enumerate(STRIDES, 1):
        means = torch.nn.functional.avg_pool2d(residual, stride)
        torch.testing.assert_close(join(levels[:count]), means)


def test_a_level_sees_the_coarse_cells_around_its_own(pyramid: Pyramid) -> None:
    features, coarse = torch.randn(1, TINY.features, 32, 32), 0.1 * torch.randn(1, 3, 8, 8)
    before = pyramid.known(features, [coarse])
    changed = coarse.clone()
    changed[0, :, 4, 5] += 0.05
    moved = (pyramid.known(features, [changed]) != before).any(1)[0]  # [16, 16]
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[6:12, 8:14] = True  # the 3x3 cells around (4, 5), of 2x2 pixels each
    assert torch.equal(moved, expected)


def test_the_levels_have_21_values_for_16_of_the_residual() -> None:
    """A mixture that sees nothing gives every value of zero the same bits."""
    features, zero = torch.randn(1, TINY.features, 32, 32), torch.zeros(1, 3, 32, 32)
    bits = {}
    for name in ("5x3", "pyramid"):
        loss = loss_of(name)
        for module in loss.pixelcnn.modules():
            if isinstance(module, PixelCNN):
                torch.nn.init.zeros_(module.head.weight)
                torch.nn.init.zeros_(module.head.bias)
        bits[name] = loss.bits(zero, zero, features)
        assert loss.bits(zero, torch.randn(1, 3, 32, 32), features) == bits[name]
    torch.testing.assert_close(bits["pyramid"], bits["5x3"] * 21 / 16)


@pytest.mark.parametrize("name", ["11x6", "pyramid"])
def test_the_exact_sample_and_many_jacobi_steps_agree(name: str) -> None:
    """The wavefront knows the widest window, and a level the samples of the coarser ones."""
    features = torch.randn(2, TINY.features, 16, 16, generator=torch.Generator().manual_seed(1))
    samples = []
    for steps in (0, 256):
        loss = loss_of(name, steps)
        torch.manual_seed(2)
        samples.append(loss.sample(features))
    torch.testing.assert_close(*samples, atol=1e-4, rtol=1e-3)
    assert samples[0].std() > 0.01


def test_the_gradient_of_a_sample_reaches_all_levels() -> None:
    loss = loss_of("pyramid")
    loss.pixelcnn.requires_grad_(True)
    loss.sample(torch.randn(1, TINY.features, 16, 16)).square().mean().backward()
    missing = {n for n, p in loss.pixelcnn.named_parameters() if p.grad is None or not p.grad.any()}
    assert missing == set()


def test_bands_of_a_pyramids_sample_do_not_see_each_other(pyramid: Pyramid) -> None:
    features = torch.randn(TINY.features, 2 * BAND, 32)
    whole = pyramid.draw(features, key=5, temperature=0.7)
    assert whole.shape == (3, 2 * BAND, 32)
    top = pyramid.draw(features[:, :BAND], key=5, temperature=0.7)
    torch.testing.assert_close(whole[:, :BAND], top)
    features[:, :BAND] += 1
    changed = pyramid.draw(features, key=5, temperature=0.7)
    torch.testing.assert_close(changed[:, BAND:], whole[:, BAND:])
    assert not torch.equal(pyramid.draw(features, key=6, temperature=0.7), changed)


def test_windows_see_what_they_say_and_the_pyramid_costs_as_much_as_one_of_them() -> None:
    small = PRESETS["small"]
    inputs = {name: windowed(name)(small).window.in_channels for name in list(ROWS)[:-1]}
    assert inputs == {"4x2": 3 * 6, "5x3": 3 * 12, "7x4": 3 * 24, "11x6": 3 * 60}
    macs = {}
    for name in ("7x4", "pyramid"):
        model = PhotoVLAE(small)
        model.pixelcnn = ROWS[name].sampler(small)  # type: ignore[assignment]
        macs[name] = macs_per_pixel(ROWS[name].objective(model, RECIPE, None).texture, 16)
    weights = sum(p.numel() for p in windowed("7x4")(small).parameters() if p.dim() > 1)
    assert macs["7x4"] == weights
    assert macs["pyramid"] == pytest.approx(macs["7x4"], rel=0.1)


def flat(state: dict[str, Tensor], part: str) -> Tensor:
    return torch.cat([v.flatten() for k, v in state.items() if k.split(".")[0] == part])


@pytest.mark.parametrize("name", ["5x3", "11x6", "pyramid"])
def test_a_row_changes_the_texture_alone_and_its_sampler_starts_anew(
    name: str, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    write_photos(photos, count=2)
    torch.manual_seed(3)
    base = PhotoVLAE(TINY).eval().requires_grad_(False)
    recipe = replace(RECIPE, sampler_from=0.0, structure_until=0.0)
    build, objective = with_sampler(base, ROWS[name]), ROWS[name].objective
    machine, budget = Machine(torch.device("cpu")), Budget(steps=2)
    trainer = Trainer(recipe, photos, tmp_path, budget, None, machine, build, objective)
    given, start = base.state_dict(), trainer.model.state_dict()
    parts = {key.split(".")[0] for key in given}
    kept = {part for part in parts if torch.equal(flat(given, part), flat(start, part))}
    assert kept == parts - {"pixelcnn"}
    start = {key: value.clone() for key, value in start.items()}
    assert trainer.train(None, lambda row: None)
    for state in (trainer.model.state_dict(), trainer.ema):
        changed = {p for p in parts if not torch.equal(flat(start, p), flat(state, p))}
        assert changed == TEXTURE


@pytest.mark.skipif(
    not (WEIGHTS / "dists_alpha_beta.npz").is_file(), reason=f"no LPIPS weights in {WEIGHTS}"
)
def test_rows_are_added_one_by_one(
    tmp_path: Path,
    tiny_models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    photos, runs, out = tmp_path / "photos", tmp_path / "runs", tmp_path / "table.md"
    photos.mkdir()
    write_photos(photos, count=3, side=256)
    fixed = ["--preset", "tiny", "--data", str(photos), "--weights", str(WEIGHTS)]
    places = ["--runs", str(runs), "--out", str(out), "--qualities", "50"]

    def call(*arguments: str) -> list[str]:
        """The rows that were trained."""
        assert main([*fixed, *places, *arguments]) == 0
        return sorted({line.split(":")[0] for line in capsys.readouterr().out.splitlines()})

    assert call("--steps", "2", "--rows", "5x3") == ["5x3"]
    assert "| 5x3 |" in out.read_text() and "pyramid" not in out.read_text().split("##")[1]
    result = runs / "5x3" / "result.json"
    before = json.loads(result.read_text())
    assert call("--steps", "2", "--rows", "5x3", "pyramid") == ["pyramid"]
    text = out.read_text()
    assert text.count("| 5x3 |") == text.count("| pyramid |") == 2 and "| texture 0 |" in text
    assert str(tmp_path) not in text
    # Interrupted before its evaluation, a row is evaluated without training it again.
    result.unlink()
    assert call("--steps", "2", "--rows", "5x3") == []
    after = json.loads(result.read_text())
    assert after["points"].keys() == before["points"].keys() and after["steps"] == 2
    for quality, point in after["points"].items():
        # Threads may split a sum another way, so the last digits are free.
        assert point == pytest.approx(before["points"][quality], rel=1e-4)
    with pytest.raises(SystemExit):
        call("--steps", "3")
    assert "other settings" in capsys.readouterr().err
