"""The exact prior: same bits everywhere, and the same function as the trained one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from photo_models import TINY, exact_prior, golden_prior

from vlaec.coding import exact
from vlaec.coding.exact import (
    ACTIVATION_GRID,
    ExactConv,
    ExactNetwork,
    GridError,
    relu,
    shuffle,
    to_grid,
    unshuffle,
)
from vlaec.photo import exact_prior as prior_module
from vlaec.photo.exact_prior import ExactPrior

if TYPE_CHECKING:
    from vlaec.networks import PhotoVLAE


def make_prior(level_path: bool) -> tuple[PhotoVLAE, ExactPrior]:
    """A random prior, as it is trained and as it is run."""
    import torch

    from vlaec.networks import PhotoVLAE

    torch.manual_seed(3)
    config = replace(TINY, level_path=level_path)
    model = PhotoVLAE(config).eval().requires_grad_(False)
    for network in model.prior.parameters_of:
        network[-1].weight.normal_(std=0.3)
    if model.prior.level_scale is not None:
        model.prior.level_scale.normal_()
    return model, exact_prior(model)


def fingerprint() -> str:
    """Hash of every parameter that the prior computes for one random latent."""
    prior = golden_prior()
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
        {"OPENBLAS_CORETYPE": "Haswell"},
        {"OPENBLAS_CORETYPE": "Prescott"},
        {"VLAEC_THREADS": "1"},
        {"VLAEC_THREADS": "3"},
    ],
    ids=lambda s: "-".join("=".join(item) for item in s.items()),
)
def test_same_bits_in_another_process(settings: dict[str, str]) -> None:
    code = "from test_exact import fingerprint; print(fingerprint())"
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings},
        cwd=os.path.dirname(__file__),
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == fingerprint()


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fingerprint()
    monkeypatch.setattr(exact, "CHUNK", 7)
    monkeypatch.setattr(prior_module, "HYPER_CELLS", 1)
    monkeypatch.setattr(prior_module, "POSITIONS", 1)
    assert fingerprint() == expected


def on_grid(*shape: int) -> np.ndarray:
    return to_grid(np.random.default_rng(0).normal(0, 300, shape))


def random_conv(out: int, channels: int, kernel: int) -> ExactConv:
    rng = np.random.default_rng(1)
    return ExactConv(rng.normal(0, 0.2, (out, channels, kernel, kernel)), rng.normal(0, 1, out))


def test_order_of_sums_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    weight, bias, x = rng.normal(0, 0.1, (8, 40, 1, 1)), rng.normal(0, 1, 8), on_grid(40, 1, 5, 6)
    order = rng.permutation(40)
    a, b = ExactConv(weight, bias)(x), ExactConv(weight[:, order], bias)(x[order])
    assert np.array_equal(a, b)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 1, 1), (4, 40, 90)])
def test_a_convolution_is_one(kernel: int, shape: tuple[int, int, int]) -> None:
    torch = pytest.importorskip("torch")
    conv, x = random_conv(6, 5, kernel), on_grid(5, *shape)
    weight = conv.weight.reshape(6, kernel, kernel, 5).transpose(0, 3, 1, 2)
    batch, weights = (torch.from_numpy(a) for a in (x.transpose(1, 0, 2, 3), weight))
    bias = torch.from_numpy(conv.bias[:, 0])
    plain = torch.nn.functional.conv2d(batch, weights, bias, padding=kernel // 2).numpy()
    assert np.abs(conv(x) - np.clip(plain, -1024, 1024).transpose(1, 0, 2, 3)).max() <= 2**-12
    assert np.array_equal(conv(x) * ACTIVATION_GRID, np.rint(conv(x) * ACTIVATION_GRID))


@pytest.mark.parametrize(("threads", "worth"), [("1", 256), ("3", 256), ("3", 100)])
def test_at_agrees_with_the_whole_plane(
    threads: str, worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_THREADS", threads)
    monkeypatch.setattr("vlaec.coding.exact.WORTH_A_THREAD", worth)
    network = ExactNetwork(random_conv(6, 5, 3), relu, random_conv(4, 6, 1))
    x = on_grid(5, 1, 9, 200)
    positions = np.flatnonzero(np.add.outer(np.arange(9), np.arange(200)).ravel() % 2)
    assert np.array_equal(network.at(x[:, 0], positions), network(x).reshape(4, -1)[:, positions])


@pytest.mark.parametrize("factor", [2, 3])
def test_shuffles_are_torchs(factor: int) -> None:
    torch = pytest.importorskip("torch")
    x = on_grid(2 * factor**2, 1, 6, 12)
    batch = torch.from_numpy(x).transpose(0, 1)
    shuffled = torch.nn.functional.pixel_shuffle(batch, factor).transpose(0, 1).numpy()
    assert np.array_equal(shuffle(factor)(x), shuffled)
    back = torch.nn.functional.pixel_unshuffle(torch.from_numpy(shuffled).transpose(0, 1), factor)
    assert np.array_equal(unshuffle(factor)(shuffled), back.transpose(0, 1).numpy())


@pytest.mark.parametrize("level_path", [False, True])
def test_agrees_with_the_trained_network(level_path: bool) -> None:
    torch = pytest.importorskip("torch")
    from vlaec.networks.blocks import level_weights

    model, prior = make_prior(level_path)
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

    noise = model.prior.draw_noise(zt, torch.Generator().manual_seed(0))
    trained = model.prior(zt, zt, levels, noise)
    w = (q_mean + noise * q_log_scale.exp())[0]
    features = prior.features((w.numpy() * 16).round().ravel() / 16, weights, 8, 12)
    for group in prior.groups:
        positions, g = prior.group(group, z, features if group.uses_hyper else None, weights)
        mean = trained.mean[0, group.start : group.stop].flatten(1)[:, positions]
        np.testing.assert_allclose(g.means, mean.numpy(), atol=0.05)
        log_scale = trained.log_scale[0, group.start : group.stop].flatten(1)[:, positions]
        np.testing.assert_allclose(g.log_scales, log_scale.numpy(), atol=0.07)


def test_a_group_reads_only_what_is_known() -> None:
    prior = golden_prior()
    weights = prior.level_weights(5000)
    features = np.zeros((8, 6, 6), np.float32)
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
    with pytest.raises(GridError):
        ExactConv(np.full((1, 4, 1, 1), 9000.0), np.zeros(1))


def test_level_weights_are_exact_and_complete() -> None:
    prior = golden_prior()
    for hundredths in (0, 1, 1999, 2000, 2001, 5000, 9999, 10000):
        weights = prior.level_weights(hundredths)
        assert weights.sum() == 1 and (weights >= 0).all()
        assert np.array_equal(weights * 4096, np.round(weights * 4096))
