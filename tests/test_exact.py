"""The exact prior: same bits everywhere, and the same function as the trained one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from vlaec.networks import PRESETS, PhotoVLAE
from vlaec.networks.blocks import level_weights
from vlaec.photo.exact_prior import (
    ACTIVATION_GRID,
    SCALES,
    ExactNetwork,
    ExactPrior,
    Gaussians,
    GridError,
)


def make_prior() -> tuple[PhotoVLAE, ExactPrior]:
    torch.manual_seed(3)
    model = PhotoVLAE(PRESETS["tiny"]).eval().requires_grad_(False)
    for network in model.prior.parameters_of:
        network[-1].weight.normal_(std=0.3)
    return model, ExactPrior(model.prior, model.config)


def fingerprint() -> str:
    """Hash of every parameter that the prior computes for one random latent."""
    _, prior = make_prior()
    rng = np.random.default_rng(5)
    z = np.rint(rng.normal(0, 5, (16, 9, 14))).astype(np.int32)
    weights = prior.level_weights(6180)
    posterior = prior.posterior(z)
    w = np.rint(posterior.means).astype(np.int32)
    features = prior.features(w, weights, 9, 14)
    digest = hashlib.sha256(posterior.means.tobytes() + posterior.indices.tobytes())
    for group in prior.groups:
        _, g = prior.group(group, z, features if group.uses_hyper else None, weights)
        digest.update(g.means.tobytes() + g.indices.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize(
    "settings",
    [
        {"ATEN_CPU_CAPABILITY": "avx2"},
        {"ATEN_CPU_CAPABILITY": "default"},
        {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        {"ONEDNN_MAX_CPU_ISA": "SSE41"},
        {"OMP_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "2"},
    ],
    ids=lambda s: "-".join("=".join(item) for item in s.items()),
)
def test_same_bits_in_another_process(settings: dict[str, str]) -> None:
    code = "from tests.test_exact import fingerprint; print(fingerprint())"
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings},
        cwd=os.path.dirname(os.path.dirname(__file__)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == fingerprint()


def test_order_of_sums_does_not_matter() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(40, 8, 1).requires_grad_(False)
    x = (torch.randn(40, 5, 6).double() * 300 * ACTIVATION_GRID).round() / ACTIVATION_GRID
    x = x.clamp(-1024, 1024)
    order = torch.randperm(40)
    shuffled = nn.Conv2d(40, 8, 1).requires_grad_(False)
    shuffled.weight.copy_(conv.weight[:, order])
    shuffled.bias.copy_(conv.bias)
    a = ExactNetwork(nn.Sequential(conv))(x)
    b = ExactNetwork(nn.Sequential(shuffled))(x[order])
    assert torch.equal(a, b)


def test_at_agrees_with_the_whole_plane() -> None:
    _, prior = make_prior()
    network = prior._parameters[0]
    x = torch.arange(14 * 35).double().view(-1, 5, 7)[:14] / 16
    channels = network.layers[0].weight.shape[1] // 9
    x = x.repeat(channels // 14 + 1, 1, 1)[:channels]
    positions = torch.tensor([0, 6, 17, 34])
    assert torch.equal(network.at(x, positions), network(x).flatten(1)[:, positions])


def test_agrees_with_the_trained_network() -> None:
    model, prior = make_prior()
    rng = np.random.default_rng(1)
    z = np.rint(rng.normal(0, 3, (16, 8, 12))).astype(np.int32)
    level = 0.37
    levels = level_weights(torch.tensor([level]), model.config.levels)
    weights = prior.level_weights(round(level * 10000))
    np.testing.assert_allclose(weights, levels[0].numpy(), atol=2e-4)

    zt = torch.from_numpy(z)[None].float()
    q_mean, q_log_scale = model.prior.posterior(zt[:, : prior.early_channels])
    posterior = prior.posterior(z)
    np.testing.assert_allclose(posterior.means, q_mean.flatten().numpy(), atol=1 / 16)
    np.testing.assert_allclose(posterior.log_scales, q_log_scale.flatten().numpy(), atol=0.07)

    # Zero posterior noise makes the trained pass use the posterior's mean, as w is here.
    torch.manual_seed(0)
    noise = torch.randn_like(q_mean) * q_log_scale.exp()
    torch.manual_seed(0)
    trained = model.prior(zt, zt, levels)
    w = (q_mean + noise)[0]
    exact_w = (w * 16).round().double() / 16
    scaled = torch.cat([exact_w / 16, torch.from_numpy(weights)[:, None, None].expand(-1, 2, 3)])
    features = prior._synthesis(scaled)[:, :8, :12].relu()
    for group in prior.groups:
        positions, g = prior.group(group, z, features if group.uses_hyper else None, weights)
        mean = trained.mean[0, group.start : group.stop].flatten(1)[:, positions]
        np.testing.assert_allclose(g.means, mean.numpy(), atol=0.05)


def test_a_group_reads_only_what_is_known() -> None:
    _, prior = make_prior()
    weights = prior.level_weights(5000)
    features = torch.zeros(8, 6, 6).double()
    rng = np.random.default_rng(0)
    z = rng.integers(-5, 6, (16, 6, 6)).astype(np.int32)
    checker = np.add.outer(np.arange(6), np.arange(6)) % 2
    for group in prior.groups:
        changed = z.copy()
        changed[group.stop :] += 7
        unknown = checker >= group.parity
        changed[group.start : group.stop][:, unknown] += 7
        side = features if group.uses_hyper else None
        a, b = (prior.group(group, v, side, weights)[1] for v in (z, changed))
        assert np.array_equal(a.means, b.means) and np.array_equal(a.indices, b.indices)


def test_too_large_weights_are_refused() -> None:
    conv = nn.Conv2d(4, 1, 1).requires_grad_(False)
    conv.weight.fill_(9000.0)
    with pytest.raises(GridError):
        ExactNetwork(nn.Sequential(conv))


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(TypeError):
        ExactNetwork(nn.Sequential(nn.GELU()))


def test_scale_table() -> None:
    np.testing.assert_allclose(np.log(SCALES), -2.25 + np.arange(64) / 8, atol=1e-4)
    g = Gaussians(torch.zeros(3).double(), torch.tensor([-99.0, 0.0, 99.0]).double())
    assert g.indices.tolist() == [0, 18, 63]
    assert g.scales[1] == 1.0


def test_level_weights_are_exact_and_complete() -> None:
    _, prior = make_prior()
    for hundredths in (0, 1, 1999, 2000, 2001, 5000, 9999, 10000):
        weights = prior.level_weights(hundredths)
        assert weights.sum() == 1 and (weights >= 0).all()
        assert np.array_equal(weights * 4096, np.round(weights * 4096))
