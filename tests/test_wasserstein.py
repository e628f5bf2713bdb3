"""Wasserstein distortion, its form for training, and the energy score."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from vlaec.metrics.perceptual import LPIPS
from vlaec.metrics.samples import energy_score
from vlaec.metrics.wasserstein import PIXEL_SCALE, STAGES, WassersteinDistortion
from vlaec.metrics.windows import FeatureMaps, scales, window_distance, window_levels


@pytest.fixture(scope="module")
def vgg() -> LPIPS:
    """VGG16 with random weights and an eighth of the channels: the laws hold for any."""
    random = np.random.default_rng(5)
    channels = [3, 8, 8, 16, 16, 32, 32, 32, 64, 64, 64, 64, 64, 64]
    arrays = {}
    for i, (before, after) in enumerate(pairwise(channels)):
        weight = random.normal(0, (2 / (9 * before)) ** 0.5, (after, before, 3, 3))
        arrays[f"conv{i}_weight"] = weight.astype(np.float32)
        arrays[f"conv{i}_bias"] = np.zeros(after, np.float32)
    for i, after in enumerate((8, 16, 32, 64, 64)):
        arrays[f"lin{i}_weight"] = np.ones(after, np.float32)
    return LPIPS(arrays, "vgg")


def grain(seed: int, amplitude: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + amplitude * torch.randn(1, 3, 64, 48, generator=generator)


def reference(a: np.ndarray, b: np.ndarray, log_sigma: float) -> float:
    """Wasserstein distortion of maps [C, h, w], as its authors define it: in loops."""
    taps = np.array([0.25, 0.5, 0.25])

    def lowpass(x: np.ndarray) -> np.ndarray:
        x = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
        out = np.zeros((x.shape[0], x.shape[1] - 2, x.shape[2] - 2))
        for i in range(3):
            for j in range(3):
                out += taps[i] * taps[j] * x[:, i : i + out.shape[1], j : j + out.shape[2]]
        return out

    total = max(0.0, 1 - log_sigma) * ((a - b) ** 2).mean()
    moments = [a, a**2, b, b**2]
    for level in range(1, 6):
        if level > 1:
            moments = [m[:, ::2, ::2] for m in moments]
        moments = [lowpass(m) for m in moments]
        mean_a, square_a, mean_b, square_b = moments
        deviation_a = np.sqrt(np.maximum(square_a - mean_a**2, 5e-7))
        deviation_b = np.sqrt(np.maximum(square_b - mean_b**2, 5e-7))
        apart = (mean_a - mean_b) ** 2 + (deviation_a - deviation_b) ** 2
        total += max(0.0, 1 - abs(log_sigma - level)) * apart.mean()
    return float(total)


@pytest.mark.parametrize("sigma", [1.0, 3.0, 4.0, 8.0])
def test_the_distance_is_that_of_plain_loops(vgg: LPIPS, sigma: float) -> None:
    a, b = grain(1), grain(2, 0.2)
    expected = 0.0
    for maps in zip(*([x.double()] for x in (a, b)), strict=True):
        pixels = [((m[0] - 0.5) / PIXEL_SCALE).numpy() for m in maps]
        expected += reference(pixels[0], pixels[1], np.log2(sigma))
    for m, n in zip(vgg.net(a, stages=STAGES), vgg.net(b, stages=STAGES), strict=True):
        expected += reference(m[0].double().numpy(), n[0].double().numpy(), np.log2(sigma))
    found = WassersteinDistortion(vgg, sigma)(a, b)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_chance_costs_little_and_a_blur_much(vgg: LPIPS) -> None:
    wide, pointwise = WassersteinDistortion(vgg, 8.0), WassersteinDistortion(vgg, 1.0)
    flat = torch.full_like(grain(1), 0.5)
    for metric, chance_is_cheaper in ((wide, True), (pointwise, False)):
        assert metric(grain(1), grain(1)).item() == 0
        other, blur = metric(grain(1), grain(2)).item(), metric(grain(1), flat).item()
        assert (3 * other < blur) == chance_is_cheaper


def test_levels_are_wide_where_texture_was_lost() -> None:
    known = torch.full((1, 3, 96, 96), 0.5)
    known[..., 48:] += 0.2 * torch.randn(1, 1, 96, 48, generator=torch.Generator().manual_seed(1))
    original = known.clone()
    original[..., :48] += 0.1 * torch.randn(1, 1, 96, 48)
    levels = window_levels(original, known)
    assert levels.shape == (1, 1, 96, 96)
    assert (levels[..., :32] == 3).all() and (levels[..., 72:] < 0.5).all()


def training_distance(network: FeatureMaps, x: Tensor, y: Tensor, level: float) -> float:
    target = network(x)
    levels = torch.full_like(x[:, :1], level)
    return window_distance(target, network(y), levels, scales(target)).item()


def test_the_training_form_agrees_in_kind(vgg: LPIPS) -> None:
    network = FeatureMaps(vgg)
    x, flat = grain(1), torch.full_like(grain(1), 0.5)
    for level, ratio in ((3.0, 3.0), (1.0, 1.0)):
        other = training_distance(network, x, grain(2), level)
        assert training_distance(network, x, x, level) == 0
        assert ratio * other < training_distance(network, x, flat, level)
    # One pixel wide it compares place by place, where a blur beats chance.
    assert training_distance(network, x, grain(2), 0.0) > training_distance(network, x, flat, 0.0)


def test_gradients_of_the_training_form_are_finite_and_strengthen_texture(vgg: LPIPS) -> None:
    network = FeatureMaps(vgg)
    target = network(grain(1))
    levels = torch.full_like(grain(1)[:, :1], 3.0)
    for start in (grain(2, 0.02), torch.full_like(grain(1), 0.5)):
        y = start.requires_grad_()
        window_distance(target, network(y), levels, scales(target)).sum().backward()
        assert y.grad is not None and bool(y.grad.isfinite().all())
    y = grain(2, 0.02).requires_grad_()
    window_distance(target, network(y), levels, scales(target)).sum().backward()
    assert y.grad is not None and ((y - 0.5) * y.grad).sum() < 0


def test_the_energy_score_is_least_for_the_true_distribution() -> None:
    """Of Gaussians around nothing, the one of the data's deviation, neither none nor twice it."""
    generator = torch.Generator().manual_seed(4)

    def draw(deviation: float) -> list[Tensor]:
        return [deviation * torch.randn(256, 16, 8, 8, generator=generator)]

    units = [torch.ones(256)]
    score = {d: energy_score(draw(1), draw(d), draw(d), units).mean() for d in (0.0, 0.7, 1.0, 1.4)}
    assert min(score, key=lambda d: float(score[d])) == 1.0


def test_metric_weights_in_bfloat16_change_little(vgg: LPIPS) -> None:
    a, b = grain(1), grain(2, 0.05)
    exact = vgg(a, b)
    rough = copy.deepcopy(vgg).in_bfloat16()
    assert rough.net.weight0.dtype == torch.bfloat16
    torch.testing.assert_close(rough(a, b), exact, rtol=0.03, atol=0)
