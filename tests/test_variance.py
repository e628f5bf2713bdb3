"""Local variance: what tells clean areas from detail."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vlaec.metrics.energy import energy_distance
from vlaec.metrics.variance import FLOOR, WINDOW, log_variances, opponent_planes, variance_distance


def noise(amplitude: float | Tensor, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + amplitude / 255 * torch.randn(2, 3, 64, 96, generator=generator)


def test_variances_are_those_of_every_window() -> None:
    x = noise(20)
    found = log_variances(x)
    planes = opponent_planes(x).unflatten(0, (2, 3))[:, :, 0]
    windows = planes.unfold(2, WINDOW, 1).unfold(3, WINDOW, 1)
    expected = (windows.flatten(4).var(4, correction=0) + FLOOR).log()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_flat_picture_has_the_floor_everywhere(value: float) -> None:
    found = log_variances(torch.full((1, 3, 32, 40), value))
    assert found.allclose(torch.tensor(math.log(FLOOR)), atol=0.05)


def test_amplitude_is_seen_and_place_hardly() -> None:
    same = variance_distance(noise(20, seed=1), noise(20, seed=2))
    louder = variance_distance(noise(20), noise(80))
    assert (louder > 3 * same).all()


def test_grain_between_lines_is_seen_where_bands_of_frequencies_do_not_see_it() -> None:
    """Half of the rows clean and half rough, against the same energy everywhere."""
    rough = torch.arange(64)[:, None] % 16 < 8
    page, another, even = noise(40 * rough, 1), noise(40 * rough, 2), noise(28, 3)

    def excess(distance: Callable[[Tensor, Tensor], Tensor]) -> float:
        return float((distance(even, page) / distance(another, page)).mean())

    assert excess(variance_distance) > 2 * excess(energy_distance)


def test_gradients_are_finite_and_make_a_flat_picture_grainier() -> None:
    weak = noise(2).requires_grad_()
    variance_distance(weak, noise(20)).sum().backward()
    assert weak.grad is not None and bool(weak.grad.isfinite().all())
    assert float((weak.grad * (weak.detach() - 0.5)).sum()) < 0
    flat = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    variance_distance(flat, noise(20)[:1, :, :32, :32]).sum().backward()
    assert flat.grad is not None and bool(flat.grad.isfinite().all())
