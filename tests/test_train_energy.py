"""The loss on the strength of texture."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vlaec.metrics.energy import energy_distance, log_energies
from vlaec.metrics.variance import FLOOR


def noise(amplitude: float, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    grain = torch.randn(2, 3, 64, 96, generator=generator)
    return 0.5 + amplitude / 255 * grain


def test_a_flat_picture_has_the_floor_everywhere() -> None:
    for energies in log_energies(torch.full((1, 3, 32, 40), 0.3)):
        assert energies.allclose(torch.tensor(math.log(FLOOR)), atol=1e-4)


@pytest.mark.parametrize("factor", [0.5, 2.0, 4.0])
def test_amplitude_is_seen_and_place_is_not(factor: float) -> None:
    same = energy_distance(noise(20, seed=1), noise(20, seed=2))
    scaled = energy_distance(noise(20), 0.5 + factor * (noise(20) - 0.5))
    assert (scaled > 1.5 * same).all()
    assert scaled.allclose(torch.tensor(2 * abs(math.log(factor))), rtol=0.25)


def test_what_no_eye_sees_does_not_count() -> None:
    flat = torch.full((2, 3, 64, 96), 0.5)
    assert (energy_distance(flat, noise(0.1)) < 0.1).all()
    assert (energy_distance(flat, noise(10)) > 1).all()


def test_gradients_make_a_flat_picture_grainier() -> None:
    weak = (0.5 + (noise(2) - 0.5)).requires_grad_()
    energy_distance(weak, noise(20)).sum().backward()
    assert weak.grad is not None and bool(weak.grad.isfinite().all())
    assert float((weak.grad * (weak.detach() - 0.5)).sum()) < 0


def test_grain_of_another_colour_is_seen() -> None:
    grey = 0.5 + (noise(20)[:, :1] - 0.5).expand(-1, 3, -1, -1)
    green = torch.full_like(grey, 0.5)
    green[:, 1] += (grey[:, 1] - 0.5) / 0.587  # of the same luma
    same, other = (energy_distance(grey, picture) for picture in (grey, green))
    assert (same < 1e-5).all() and (other > 1).all()
