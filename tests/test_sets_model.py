"""The set models: shapes, what sees what, likelihoods that are likelihoods."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlaec.coding.gaussian import LATENT_BOUND
from vlaec.networks import SET_PRESETS, SetConfig, SetVLAE
from vlaec.networks.pixelcnn import window_offsets
from vlaec.networks.set_config import WINDOWS
from vlaec.networks.set_pixels import (
    LEVEL_LOG_START,
    ColourMixture,
    centre,
    grey,
    mixture_log_likelihood,
    split_mixture,
)

TINY = {name: SET_PRESETS[name] for name in ("tiny-binary", "tiny-colour")}
COLOUR = TINY["tiny-colour"]
VARIANTS = [
    replace(config, **change)
    for config in TINY.values()
    for change in (
        {},
        {"prior": "made"},
        {"prior": "groups", "slices": 2},
        {"prior": "gaussian"},
        {"posterior": "iaf"},
        {"latent_channels": 0},
        {"latent_stride": 8, "height": 8, "width": 16},
        *({"receptive_field": window} for window in WINDOWS),
    )
] + [replace(COLOUR, grey_context=True)]


def make(config: SetConfig, loud: bool = True) -> SetVLAE:
    """A model; `loud` ones have weights under which everything depends on all that it may."""
    torch.manual_seed(0)
    model = SetVLAE(config).eval().requires_grad_(False)
    if loud:
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.normal_(std=1 / math.sqrt(module.in_channels))
                assert module.bias is not None
                module.bias.uniform_(-0.3, 0.3)
    return model


def images(config: SetConfig, count: int = 2) -> Tensor:
    highest = 1 if config.kind == "binary" else 255
    shape = (count, config.channels, config.height, config.width)
    return torch.randint(highest + 1, shape).float() / highest


@pytest.mark.parametrize("preset", SET_PRESETS)
def test_configurations_survive_json(preset: str) -> None:
    config = replace(SET_PRESETS[preset], receptive_field="5x3", posterior="iaf")
    assert SetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert SetConfig.from_dict({}) == SetConfig()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"typo": 1}, "unknown model settings: typo"),
        ({"kind": "grey"}, "binary, colour"),
        ({"prior": "made", "receptive_field": "9x9"}, "4x2, 5x3, 7x4, 11x6, none"),
        ({"latent_stride": 7}, "multiple of 4"),
        ({"latent_stride": 8}, "multiples of latent_stride"),
        ({"prior": "groups", "slices": 3}, "multiple of slices"),
        ({"grey_context": True}, "for colour"),
        ({"kind": "colour", "pixel_hidden": 5}, "at least 6"),
    ],
)
def test_impossible_configurations_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SetConfig.from_dict(values)


@pytest.mark.parametrize("config", VARIANTS)
def test_shapes_and_gradients(config: SetConfig) -> None:
    model = make(config, loud=False).requires_grad_(True)
    x = images(config, 3)
    mean, log_scale = model.encode(x)
    assert mean.shape == log_scale.shape == (3, *config.latent_shape)
    features = model.features(mean)
    assert features.shape == (3, config.features, config.height, config.width)
    parameters = 1 if config.kind == "binary" else 10 * config.mixtures
    assert model.pixels(x, features).shape == (3, parameters, config.height, config.width)
    kl, likelihood = model.elbo(x, torch.Generator().manual_seed(0))
    assert kl.shape == likelihood.shape == (3,) and (likelihood < 0).all()
    (kl - likelihood).sum().backward()
    without = [
        k for k, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert not without


@pytest.mark.parametrize("preset", ["mnist", "cifar"])
def test_the_presets_start_near_the_prior(preset: str) -> None:
    """Nothing saturated, nothing wasted: the KL of an untrained model is small, and so is what it
    pays beyond a uniform distribution. (Of colour it expects neighbours that are alike.)"""
    config = SET_PRESETS[preset]
    x = images(config)
    if config.kind == "colour":
        coarse = F.interpolate(x[:, :, ::8, ::8], scale_factor=8, mode="bilinear")
        x = (coarse * 255).round() / 255
    kl, likelihood = make(config, loud=False).elbo(x, torch.Generator().manual_seed(0))
    uniform = config.subpixels * math.log(2 if config.kind == "binary" else 256)
    assert (kl >= 0).all() and (kl < 0.1 * uniform).all()
    assert (-likelihood < 1.5 * uniform).all()


@pytest.mark.parametrize("window", [w for w in WINDOWS if w != "none"])
@pytest.mark.parametrize("grey_context", [False, True])
def test_colour_starts_as_a_linear_prediction(window: str, grey_context: bool) -> None:
    """Ramps are predicted to within the scale that all components start with."""
    config = replace(COLOUR, receptive_field=window, grey_context=grey_context, pixel_hidden=24)
    model = make(config, loud=False)
    ramp = torch.linspace(0.2, 0.8, 8)
    x = (0.5 * ramp[:, None] + 0.5 * ramp).expand(1, 3, 8, 8)
    outputs = model.pixels(x, torch.zeros(1, config.features, 8, 8))
    means = split_mixture(outputs).means.mean(2)  # [1, 3, H, W]
    inside = (slice(None), slice(None), slice(3, None), slice(3, 5))
    assert (means[inside] - 255 * x[inside]).abs().max() < math.exp(LEVEL_LOG_START)


@pytest.mark.parametrize("config", [c for c in VARIANTS if c.latent_channels])
def test_the_prior_of_an_element_sees_earlier_steps_alone(config: SetConfig) -> None:
    prior = make(config).prior
    cells = torch.cat(prior.steps)
    size = math.prod(config.latent_shape)
    assert torch.equal(cells.sort().values, torch.arange(size))
    z = torch.randn(1, *config.latent_shape) * 16
    whole = torch.stack(prior.conditionals(z)).flatten(2)  # [2, 1, size]
    for index, step in enumerate(prior.steps):
        later = torch.cat(prior.steps[index:])
        changed = z.flatten(1).clone()
        changed[:, later] = torch.randn(1, len(later)) * 16
        changed = changed.reshape(z.shape)
        after = torch.stack(prior.conditionals(changed)).flatten(2)
        torch.testing.assert_close(whole[:, :, step], after[:, :, step])
        torch.testing.assert_close(torch.stack(prior.step(index, changed)), whole[:, :, step])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("base", [*TINY.values(), replace(COLOUR, grey_context=True)])
def test_a_pixel_sees_its_window_and_nothing_else(window: str, base: SetConfig) -> None:
    config = replace(base, height=12, width=16, receptive_field=window)
    model = make(config)
    x, features = images(config, 1), torch.randn(1, config.features, 12, 16)
    row, column = 5, 7
    changed = x.clone()
    changed[:, :, row, column] = 1 - x[:, :, row, column]
    difference = model.pixels(x, features) != model.pixels(changed, features)
    seen = {(int(r), int(c)) for r, c in difference[0].any(0).nonzero()}
    offsets = [] if window == "none" else window_offsets(window)
    assert seen == {(row - r, column - c) for r, c in offsets}


def test_a_grey_context_hides_colour() -> None:
    model = make(replace(COLOUR, grey_context=True))
    x, features = images(COLOUR, 1), torch.randn(1, COLOUR.features, 8, 8)
    # The same grey value everywhere, as near as 8 bits come to it.
    level = (grey(centre(x)) * 64 + 127.5).round() / 255
    same = level.expand(-1, 3, -1, -1)
    distance = (model.pixels(x, features) - model.pixels(same, features)).abs().max()
    inverted = (model.pixels(x, features) - model.pixels(1 - same, features)).abs().max()
    assert distance < 0.05 * inverted


def test_binary_likelihoods_sum_to_one() -> None:
    """Over all images of 2 x 4 pixels (a decoder that is not blind to its own context)."""
    config = replace(TINY["tiny-binary"], height=4, width=4, receptive_field="4x2")
    model = make(config)
    rows = torch.tensor(list(product((0.0, 1.0), repeat=8))).reshape(-1, 1, 2, 4)
    x = torch.cat([rows, torch.zeros_like(rows)], 2)
    features = torch.randn(1, config.features, 4, 4).expand(len(x), -1, -1, -1)
    logits = model.pixels(x, features)[:, :, :2]
    total = torch.distributions.Bernoulli(logits=logits).log_prob(rows).flatten(1).sum(1).exp()
    assert float(total.sum()) == pytest.approx(1, rel=1e-4)
    whole = model.log_likelihood(x, features)
    rest = torch.distributions.Bernoulli(logits=model.pixels(x, features)).log_prob(x)
    torch.testing.assert_close(whole, rest.flatten(1).sum(1), rtol=1e-4, atol=1e-4)


def two_logistics(count: int, means: Tensor, log_scale: float) -> ColourMixture:
    """The same two components for `count` pixels; `means` is [3, 2]."""
    coefficients = torch.tensor([[0.7, -0.2], [-1.1, 0.5], [0.4, 2.0]])
    return ColourMixture(
        torch.tensor([0.3, -0.3]).reshape(1, 2, 1, 1).expand(count, -1, -1, -1),
        means.reshape(1, 3, 2, 1, 1).expand(count, -1, -1, -1, -1),
        torch.full((count, 3, 2, 1, 1), log_scale),
        coefficients.reshape(1, 3, 2, 1, 1).expand(count, -1, -1, -1, -1),
    )


@pytest.mark.parametrize("channel", range(3))
@pytest.mark.parametrize("log_scale", [-2.25, 0.0, 2.5, 4.125])
def test_colour_likelihoods_sum_to_one(channel: int, log_scale: float) -> None:
    """Over one channel, the others being certain: so far below 0 that 0 takes it all."""
    values, means = torch.zeros(256, 3), torch.full((3, 2), -1e5)
    values[:, channel] = torch.arange(256.0)
    means[channel] = torch.tensor([-20.0, 190.3])
    x = (values / 255)[:, :, None, None]
    masses = mixture_log_likelihood(x, two_logistics(256, means, log_scale)).double().exp()
    assert float(masses.sum()) == pytest.approx(1, abs=1e-4)


def test_green_moves_with_red_and_blue_with_both() -> None:
    torch.manual_seed(2)
    values = torch.cat([torch.randint(256, (38, 3)), torch.tensor([[0, 255, 0], [255, 0, 255]])])
    red, green = (values[:, i] - 127.5 for i in range(2))
    for k in range(2):  # one component at a time: the other one has no weight
        means = torch.tensor([90.0, 100.0, 140.0])[:, None].expand(3, 2)
        mixture = two_logistics(40, means, 3.0)
        weights = torch.full((40, 2, 1, 1), -1e4)
        weights[:, k] = 0
        c = mixture.coefficients[0, :, k, 0, 0]
        shifts = torch.stack([torch.zeros(40), c[0] * red, c[1] * red + c[2] * green], 1)
        distance = (values - means[:, 0] - shifts).double()
        upper, lower = (torch.sigmoid((distance + side) / math.exp(3)) for side in (0.5, -0.5))
        upper, lower = upper.where(values < 255, 1.0), lower.where(values > 0, 0.0)
        expected = (upper - lower).log().sum(1).float()
        x = (values / 255)[:, :, None, None]
        found = mixture_log_likelihood(x, mixture._replace(logits=weights))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_latents_stay_on_the_grid_that_the_coder_has() -> None:
    for config in TINY.values():
        model = make(config)
        for module in model.analysis:
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(50)
        mean, log_scale = model.encode(images(config))
        assert mean.abs().max() == LATENT_BOUND
        assert log_scale.min() >= 0.75 and log_scale.max() <= 5.625


def test_the_kl_estimate_is_right_on_average() -> None:
    """Against log q - log p of many samples: for the Gaussian prior it is exact."""
    config = replace(TINY["tiny-binary"], prior="gaussian")
    model = make(config)
    x = images(config, 1)
    mean, log_scale = model.encode(x)
    q = torch.distributions.Normal(mean, log_scale.exp())
    z = q.sample((20000,))[:, 0]
    p_mean, p_log_scale = model.prior.conditionals(z)
    p = torch.distributions.Normal(p_mean, p_log_scale.exp())
    ratio = (q.log_prob(z) - p.log_prob(z)).flatten(1).sum(1)
    _, kl = model.sample(x, torch.Generator().manual_seed(0))
    assert float(kl) == pytest.approx(float(ratio.mean()), rel=0.05)
