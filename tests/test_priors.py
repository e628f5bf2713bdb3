"""Priors on the latents of a finished model: training lowers the rate, and rows differ."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training import write_photos

from benchmarks.priors import ROWS, Latents, main, rates, train
from vlaec.networks import PRESETS
from vlaec.networks.blocks import level_weights
from vlaec.networks.prior import Prior

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
def test_what_a_group_sees(name: str, slice_before: bool, neighbour: bool) -> None:
    torch.manual_seed(0)
    prior = ROWS[name].build(TINY).requires_grad_(False)
    for network in prior.parameters_of:
        assert isinstance(network, torch.nn.Sequential)
        torch.nn.init.normal_(network[-1].weight, std=0.3)
    levels = level_weights(torch.tensor([0.5]), 6)
    features = torch.randn(1, 8, 8, 8)
    z = torch.randn(1, 16, 8, 8).round()
    before, _ = prior.conditionals(z, features, levels)
    for channel, column, expected in ((2, 4, slice_before), (9, 4, neighbour), (9, 5, False)):
        changed = z.clone()
        changed[0, channel, 4, column] += 3
        after, _ = prior.conditionals(changed, features, levels)
        assert (before != after)[0, 8:12, 4, 5].any() == expected


def test_rows_without_w_pay_nothing_for_it() -> None:
    z, levels = torch.randn(2, 16, 8, 8).round(), level_weights(torch.tensor([0.1, 0.5]), 6)
    for name, row in ROWS.items():
        features, bits = row.build(TINY).side_information(z, levels)
        without = name in ("no-w", "factorised")
        assert bool((bits == 0).all()) == without and bool((features == 0).all()) == without


def test_rows_have_the_slices_they_say() -> None:
    slices = {name: len(row.build(TINY).groups) // 2 for name, row in ROWS.items()}
    assert slices["slices-2"] == 2 and slices["slices-8"] == 8
    assert {slices[n] for n in ROWS if not n.startswith("slices")} == {TINY.slices}


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
