"""Rate-distortion optimised quantisation."""

from __future__ import annotations

import pytest
import torch
from photo_models import tensors

from vlaec.coding.gaussian import LATENT_BOUND, Gaussians
from vlaec.coding.student import student_bits
from vlaec.networks import PRESETS, PhotoVLAE
from vlaec.networks.blocks import level_weights, parity_mask
from vlaec.networks.config import coding_groups
from vlaec.networks.prior import gaussian_bits
from vlaec.photo.exact_prior import PlainPrior
from vlaec.photo.quantise import WEIGHT, quantise


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
    prior = PlainPrior(tensors(model), model.config)
    integers = quantise(y[0].numpy(), prior, levels[0].double().numpy())
    z = torch.from_numpy(integers).float()[None]
    assert bool(((z - y).abs() <= 1).all())
    assert bits(model, z, levels) < bits(model, y.round(), levels)


@pytest.mark.parametrize("weight", [WEIGHT, 1.0])
def test_each_element_is_the_better_of_two(
    model: PhotoVLAE, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the definition, with torch's parameters and what the coder charges for them."""
    monkeypatch.setattr("vlaec.photo.quantise.WEIGHT", weight)
    for network in model.prior.parameters_of:
        network[-1].weight.normal_(std=1.0)
    levels = level_weights(torch.tensor([0.6]), 6)
    y = 3 * torch.randn(1, 16, 12, 10)
    prior = PlainPrior(tensors(model), model.config)
    below, expected = y.floor(), y.round()
    hyper, _ = model.prior.posterior(expected[:, : model.prior.early_channels])
    features = model.prior.features(hyper, levels, 12, 10)

    def chosen() -> torch.Tensor:
        mean, log_scale = model.prior.conditionals(expected, features, levels)
        given = Gaussians(mean[0].numpy(), log_scale[0].numpy())
        lower, upper = (
            student_bits(choice[0].numpy(), given) + weight * (choice - y)[0].square().numpy()
            for choice in (below, below + 1)
        )
        return torch.where(torch.from_numpy(lower <= upper), below, below + 1)

    at_once = chosen()
    for group in coding_groups(model.config):
        cells = torch.zeros_like(y, dtype=torch.bool)
        cells[:, group.start : group.stop] = parity_mask(12, 10, group.parity)
        expected = torch.where(cells, chosen(), expected)
    z = quantise(y[0].numpy(), prior, levels[0].double().numpy())
    assert (expected[0].numpy() != z).mean() < 2e-3
    assert (expected != y.round()).any()
    # That each group sees what those before it chose shows where bits count for much.
    assert weight > 1 or (at_once != expected).float().mean() > 4e-3


def test_integers_stay_and_bounds_hold(model: PhotoVLAE) -> None:
    levels = level_weights(torch.tensor([1.0]), 6)
    y = torch.tensor([-LATENT_BOUND, -3.0, 0.0, 2.0, LATENT_BOUND]).repeat(16, 1)[None, :, None]
    prior = PlainPrior(tensors(model), model.config)
    z = quantise(y[0].numpy(), prior, levels[0].double().numpy())
    # The lowest is left out: a stack of nothing else would look empty.
    assert z.min() >= 1 - LATENT_BOUND and z.max() <= LATENT_BOUND
    assert (z[:, :, 2] == 0).all()
