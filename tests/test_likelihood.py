"""Importance sampling finds the likelihood, whatever the posterior is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vlaec.bench import likelihood
from vlaec.bench.likelihood import as_input, bits_per_dim, estimate, likelihoods
from vlaec.networks.set_config import SET_PRESETS, SetConfig
from vlaec.networks.sets import SetVLAE

BINARY = SET_PRESETS["tiny-binary"]
COLOUR = SET_PRESETS["tiny-colour"]
KINDS = [
    BINARY,
    replace(BINARY, prior="gaussian"),
    replace(BINARY, prior="gaussian", posterior="iaf"),
    replace(BINARY, posterior="iaf"),
    COLOUR,
    replace(COLOUR, prior="gaussian", receptive_field="none"),
]


def build(config: SetConfig, strength: float = 1.0) -> SetVLAE:
    """An untrained model whose distributions all depend on their inputs."""
    torch.manual_seed(1)
    model = SetVLAE(config).requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel():
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=strength / math.sqrt(fan_in))
    if config.prior == "gaussian" and config.latent_channels:
        nn.init.normal_(model.prior.mean, std=0.1)
        nn.init.normal_(model.prior.log_scale, std=0.1)
    return model


def pictures(config: SetConfig, n: int) -> np.ndarray:
    random = np.random.default_rng(0)
    if config.kind == "binary":
        return random.integers(0, 2, (n, config.height, config.width), np.uint8)
    return random.integers(90, 160, (n, config.height, config.width, 3), np.uint8)


def exact(model: SetVLAE, images: np.ndarray) -> Tensor:
    """log p(x | z = 0), the log-likelihood of a model whose decoder ignores z; [N]."""
    features = model.features(torch.zeros(len(images), *model.config.latent_shape))
    return model.log_likelihood(as_input(images), features)


@pytest.mark.parametrize("config", KINDS)
def test_a_decoder_that_ignores_z_has_its_own_likelihood(config: SetConfig) -> None:
    model = build(config, 0.15)
    first = next(m for m in model.synthesis.modules() if isinstance(m, nn.Conv2d))
    first.weight.zero_()
    images = pictures(config, 2)
    result = likelihoods(model, images, 4096)
    log_p = exact(model, images).numpy()
    assert (np.abs(result.nll + log_p) < 0.2 * result.kl + 0.01).all()
    np.testing.assert_allclose(result.elbo, log_p - result.kl, rtol=1e-4)


@pytest.mark.parametrize("config", [BINARY, COLOUR])
def test_against_numerical_integration(config: SetConfig) -> None:
    config = replace(config, height=4, width=4, latent_channels=1, prior="gaussian", slices=1)
    model = build(config, 0.5)
    images = pictures(config, 2)
    prior_mean, prior_log_scale = (
        float(t) for t in model.prior.conditionals(torch.zeros(1, 1, 1, 1))
    )
    step = math.exp(prior_log_scale) / 100
    z = prior_mean + step * torch.arange(-800.0, 801.0)
    log_prior = -0.5 * ((z - prior_mean) / (100 * step)).square() - math.log(
        100 * step * math.sqrt(2 * math.pi)
    )
    features = model.features(z[:, None, None, None])
    expected = [
        float(
            torch.logsumexp(
                model.log_likelihood(x.expand(len(z), -1, -1, -1), features) + log_prior, 0
            )
        )
        + math.log(step)
        for x in as_input(images).split(1)
    ]
    result = likelihoods(model, images, 4096)
    np.testing.assert_allclose(-result.nll, expected, atol=0.1)
    assert (result.nll < -result.elbo).all()


@pytest.mark.parametrize("config", [BINARY, COLOUR])
def test_a_pixelcnn_alone_is_exact(config: SetConfig) -> None:
    model = build(replace(config, latent_channels=0))
    images = pictures(model.config, 3)
    result = likelihoods(model, images, 1000)
    np.testing.assert_allclose(result.nll, -exact(model, images).numpy(), rtol=1e-6)
    np.testing.assert_array_equal(result.elbo, -result.nll)
    assert not result.kl.any()


@pytest.mark.parametrize("config", KINDS)
def test_how_samples_are_streamed_does_not_matter(
    config: SetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(config)
    images = pictures(config, 3)
    widest = 0

    def features(z: Tensor) -> Tensor:
        nonlocal widest
        widest = max(widest, len(z))
        return model.synthesis(z / 16)

    monkeypatch.setattr(model, "features", features)
    whole = likelihoods(model, images, 50, seed=3)
    monkeypatch.setattr(likelihood, "CHUNK", 7)
    widest = 0
    parts = likelihoods(model, images[:2], 50, seed=3)
    assert widest == 7
    for name in ("elbo", "kl", "nll"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name)[:2], rtol=1e-5)
    other = likelihoods(model, images, 50, seed=4)
    assert not np.isclose(other.nll, whole.nll, rtol=1e-7).any()


def test_more_samples_tighten_the_bound() -> None:
    model = build(BINARY)
    images = pictures(BINARY, 8)
    few, many = (likelihoods(model, images, k).nll.mean() for k in (1, 32))
    best = likelihoods(model, images, 512).nll.mean()
    assert best < many < few


def test_estimates() -> None:
    values = np.array([1.0, 2.0, 3.0, 6.0])
    nats = estimate(values)
    assert nats.mean == 3 and nats.error == pytest.approx(np.std(values, ddof=1) / 2)
    bits = bits_per_dim(nats, 16)
    assert bits.mean == pytest.approx(3 / 16 / math.log(2))
    assert bits.error == pytest.approx(nats.error / 16 / math.log(2))
    assert estimate(values[:1]).error == math.inf


def test_inputs_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="0 and 1"):
        as_input(np.full((1, 8, 8), 255, np.uint8))
    with pytest.raises(ValueError, match="N, H, W"):
        as_input(np.zeros((8, 8), np.uint8))
    colour = as_input(pictures(COLOUR, 2))
    assert colour.shape == (2, 3, 8, 8) and 0.3 < float(colour.mean()) < 0.7
