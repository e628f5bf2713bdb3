"""The networks: configurations, shapes, the quality dial, bands."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from vlaec.networks import PRESETS, PhotoConfig, PhotoVLAE
from vlaec.networks.blocks import level_weights
from vlaec.networks.config import RECEPTIVE_FIELDS, coding_groups
from vlaec.networks.photo import LatentNoise
from vlaec.networks.pixelcnn import PixelCNN, window_offsets


def noise_for(model: PhotoVLAE, x: torch.Tensor) -> LatentNoise:
    return model.draw_noise(x, torch.Generator().manual_seed(0))


def make(config: PhotoConfig) -> PhotoVLAE:
    torch.manual_seed(0)
    return PhotoVLAE(config).eval().requires_grad_(False)


@pytest.mark.parametrize("preset", PRESETS)
def test_configurations_survive_json(preset: str) -> None:
    config = replace(PRESETS[preset], receptive_field="7x4")
    assert PhotoConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert PhotoConfig.from_dict({}) == PhotoConfig()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"typo": 1}, "unknown model settings: typo"),
        ({"receptive_field": "9x9"}, "4x2, 5x3, 7x4"),
        ({"latent_channels": 130}, "multiple of slices"),
        ({"slices": 1}, "at least 2"),
    ],
)
def test_impossible_configurations_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PhotoConfig.from_dict(values)


def check_shapes(config: PhotoConfig, height: int, width: int) -> None:
    model = make(config)
    x = torch.rand(2, 3, height, width)
    out = model(x, torch.tensor([0.0, 1.0]), noise_for(model, x))
    z = (2, config.latent_channels, height // 16, width // 16)
    detail, features = model.texture(model.texture_synthesis.trunk(out.code))
    assert out.mean.shape == x.shape and detail.shape == x.shape
    assert features.shape == (2, config.features, height, width)
    assert out.prior.mean.shape == z and out.prior.log_scale.shape == z
    assert out.prior.latent_bits.shape == (2,) and (out.prior.latent_bits > 0).all()
    assert out.prior.hyper_bits.shape == (2,) and (out.prior.hyper_bits >= 0).all()
    mixture = model.pixelcnn(x - out.mean, features)
    assert mixture.logits.shape == (2, config.mixtures, height, width)
    for part in (mixture.means, mixture.log_scales, mixture.coefficients):
        assert part.shape == (2, 3, config.mixtures, height, width)


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes_of_every_preset(preset: str) -> None:
    check_shapes(PRESETS[preset], 64, 128)


@pytest.mark.parametrize("receptive_field", RECEPTIVE_FIELDS)
def test_shapes_of_every_receptive_field(receptive_field: str) -> None:
    check_shapes(replace(PRESETS["tiny"], receptive_field=receptive_field), 64, 64)


@pytest.mark.parametrize(("receptive_field", "pixels"), [("4x2", 6), ("5x3", 12), ("7x4", 24)])
def test_the_sampler_sees_its_window_and_nothing_else(receptive_field: str, pixels: int) -> None:
    offsets = window_offsets(receptive_field)
    assert len(set(offsets)) == pixels and all(offset < (0, 0) for offset in offsets)
    config = replace(PRESETS["tiny"], receptive_field=receptive_field)
    torch.manual_seed(0)
    cnn = PixelCNN(config).requires_grad_(False)
    residual, features = torch.zeros(1, 3, 12, 14), torch.randn(1, config.features, 12, 14)
    changed = residual.clone()
    changed[0, :, 5, 6] = 0.02
    before, after = (torch.cat([*cnn(r, features)[1:]], 1) for r in (residual, changed))
    differ = (before != after)[0].flatten(0, 1).any(0).nonzero().tolist()
    assert sorted(map(tuple, differ)) == sorted((5 - row, 6 - column) for row, column in offsets)


@pytest.mark.parametrize("slices", [2, 4, 8])
def test_groups_code_every_element_once(slices: int) -> None:
    config = replace(PRESETS["tiny"], slices=slices)
    seen = [
        (channel, group.parity)
        for group in coding_groups(config)
        for channel in range(group.start, group.stop)
    ]
    assert sorted(seen) == [(c, p) for c in range(config.latent_channels) for p in (0, 1)]
    # The last slice seeds bits-back, so it must not see w.
    late = {group.start for group in coding_groups(config) if not group.uses_hyper}
    assert late == {config.early_channels}
    check_shapes(config, 64, 64)


def test_level_weights_interpolate_between_neighbours() -> None:
    weights = level_weights(torch.tensor([0.0, 0.2, 0.3, 1.0]), 6)
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    torch.testing.assert_close(weights[0], torch.eye(6)[0])
    torch.testing.assert_close(weights[1], torch.eye(6)[1])
    torch.testing.assert_close(weights[2], (torch.eye(6)[1] + torch.eye(6)[2]) / 2)
    torch.testing.assert_close(weights[3], torch.eye(6)[5])


def test_gains_are_interpolated_geometrically() -> None:
    model = make(PRESETS["tiny"])
    model.log_gain.normal_()
    x = torch.rand(1, 3, 64, 64)
    knots = [0.2, 0.4, 0.3]
    low, high, middle = (model.encode(x, level_weights(torch.tensor([k]), 6)) for k in knots)
    torch.testing.assert_close(middle.abs(), (low * high).sqrt(), rtol=1e-4, atol=1e-5)


def test_quality_raises_rate_and_weight() -> None:
    model = make(PRESETS["tiny"])
    config = model.config
    assert config.rate_weight(0.0) == pytest.approx(config.lambda_min)
    assert config.rate_weight(1.0) == pytest.approx(config.lambda_max)
    x = torch.rand(1, 3, 64, 64).expand(3, -1, -1, -1)
    bits = model(x, torch.tensor([0.0, 0.5, 1.0]), noise_for(model, x)).prior.latent_bits
    assert bits[0] < bits[1] < bits[2]
