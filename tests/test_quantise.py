"""Rate-distortion optimised quantisation."""

from __future__ import annotations

import pytest
import torch

from vlaec.coding.gaussian import LATENT_BOUND
from vlaec.networks import PRESETS, PhotoVLAE
from vlaec.networks.blocks import level_weights
from vlaec.networks.prior import gaussian_bits
from vlaec.photo.quantise import quantise


@pytest.fixture
def model() -> PhotoVLAE:
    torch.manual_seed(0)
    return PhotoVLAE(PRESETS["tiny"]).eval().requires_grad_(False)


def bits(model: PhotoVLAE, z: torch.Tensor, levels: torch.Tensor) -> float:
    hyper, _ = model.prior.posterior(z[:, : model.prior.early_channels])
    features = model.prior.features(hyper, levels, *z.shape[2:])
    mean, log_scale = model.prior.conditionals(z, features, levels)
    return float(gaussian_bits(z, mean, log_scale.exp()).sum())


def test_neighbours_only_and_cheaper(model: PhotoVLAE) -> None:
    y = 0.8 * torch.randn(1, 16, 9, 7)
    levels = level_weights(torch.tensor([0.2]), 6)
    z = quantise(y, model.prior, levels)
    assert torch.equal(z, z.round())
    assert bool(((z - y).abs() <= 1).all())
    assert bits(model, z, levels) < bits(model, y.round(), levels)
    assert torch.equal(z, quantise(y, model.prior, levels))


def test_integers_stay_and_bounds_hold(model: PhotoVLAE) -> None:
    levels = level_weights(torch.tensor([1.0]), 6)
    y = torch.tensor([-LATENT_BOUND, -3.0, 0.0, 2.0, LATENT_BOUND]).repeat(16, 1)[None, :, None]
    z = quantise(y, model.prior, levels)
    assert bool((z.abs() <= LATENT_BOUND).all())
    assert torch.equal(z[:, :, :, 2], torch.zeros_like(z[:, :, :, 2]))
