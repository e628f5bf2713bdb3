"""The loss on patterns that repeat every few pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vlaec.metrics.lattice import FLOOR, PERIODS, lattice_distance, log_repetition


def noise(amplitude: float, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + amplitude / 255 * torch.randn(2, 3, 112, 96, generator=generator)


def pattern(amplitude: float, period: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    tile = torch.randn(1, 3, period, period, generator=generator)
    tiles = tile.repeat(2, 1, 112 // period + 1, 96 // period + 1)
    return 0.5 + amplitude / 255 * tiles[:, :, :112, :96]


@pytest.mark.parametrize("period", PERIODS)
def test_a_slope_repeats_nothing(period: int) -> None:
    slope = torch.linspace(0, 1, 96).expand(1, 3, 112, 96)
    assert log_repetition(slope, period).allclose(torch.tensor(math.log(FLOOR)), atol=0.01)


@pytest.mark.parametrize("period", PERIODS)
def test_a_pattern_is_told_from_noise_of_its_strength(period: int) -> None:
    excess = log_repetition(pattern(8, period), period) - log_repetition(noise(8), period)
    assert float(excess.mean()) > 2.5
    assert (lattice_distance(pattern(8, period), noise(8)) > 1).all()


def test_another_period_is_no_lattice() -> None:
    for period in PERIODS:
        excess = log_repetition(pattern(8, 5), period) - log_repetition(noise(8), period)
        assert float(excess.mean()) < 0.5


def test_small_pictures_are_refused() -> None:
    for period, least in ((2, 36), (4, 40), (8, 80)):
        assert log_repetition(torch.rand(1, 3, least, least), period).isfinite().all()
        with pytest.raises(ValueError, match=f"needs {least}"):
            log_repetition(torch.rand(1, 3, least, least - 1), period)


def test_one_noise_is_as_good_as_another() -> None:
    assert (lattice_distance(noise(8, seed=1), noise(8, seed=2)) < 0.8).all()


def test_gradients_weaken_the_pattern_alone() -> None:
    grain, grid = noise(4), pattern(4, 4) - 0.5
    drawn = (grain + grid).requires_grad_()
    lattice_distance(drawn, grain).sum().backward()
    assert drawn.grad is not None and bool(drawn.grad.isfinite().all())
    weaker = float((drawn.grad * grid).sum())
    assert weaker > 0 and weaker > 5 * abs(float((drawn.grad * (grain - 0.5)).sum()))
