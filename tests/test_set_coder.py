"""The exact set models: same bits everywhere, same function as the trained ones, same walk."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_sets.make import make_images, make_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vlaec import zoo
from vlaec.coding import exact
from vlaec.coding.ans import initial_words, new_stack
from vlaec.coding.exact import ExactConv, GridError, to_grid
from vlaec.coding.gaussian import SCALES, Gaussians
from vlaec.coding.symbols import (
    INTEGER_BOUND,
    REACH,
    Sampler,
    StackReader,
    StackWriter,
    draw,
    put_back,
)
from vlaec.networks import SET_PRESETS, SetConfig
from vlaec.sets import coder as set_coder
from vlaec.sets import exact_model, exact_pixels
from vlaec.sets.archive import load_archiver
from vlaec.sets.coder import SetCoder, wavefronts

BINARY, COLOUR = SET_PRESETS["tiny-binary"], SET_PRESETS["tiny-colour"]
VARIANTS = {
    "binary": BINARY,
    "binary-gaussian-11x6": replace(BINARY, prior="gaussian", receptive_field="11x6"),
    "binary-groups": replace(BINARY, prior="groups", slices=2),
    "binary-alone": replace(BINARY, latent_channels=0),
    "colour": COLOUR,
    "colour-grey-7x4": replace(
        COLOUR, grey_context=True, receptive_field="7x4", mixtures=10, pixel_depth=4
    ),
    "colour-made-no-window": replace(COLOUR, prior="made", receptive_field="none"),
}
every_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)


def pixels(config: SetConfig, count: int, seed: int = 0) -> np.ndarray:
    """Images as the coder takes them, [N, C, H, W]."""
    images = make_images(config, count, seed)
    return images[:, None] // 255 if config.kind == "binary" else images.transpose(0, 3, 1, 2)


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Of a model, by name."""
    return {name: value.numpy() for name, value in model.state_dict().items()}


def make_coder(config: SetConfig) -> SetCoder:
    return SetCoder(weights(make_model(config)), config)


def latent(coder: SetCoder, x: np.ndarray, seed: int = 0) -> np.ndarray:
    """z near the posterior of x, [N, D]."""
    q = coder.posterior(x)
    noise = np.random.default_rng(seed).standard_normal(q.means.shape)
    return np.rint(q.means + q.scales * noise).astype(np.int32)


@every_variant
def test_exact_is_the_trained_function(config: SetConfig) -> None:
    model, n = make_model(config), 6
    coder = make_coder(config)
    raw = np.ascontiguousarray(pixels(config, n))
    x = torch.from_numpy(raw).float() / (1 if config.kind == "binary" else 255)
    encoded = coder.exact.encode(raw)
    z = np.rint(encoded[0])
    latents = torch.from_numpy(z).float().view(n, *config.latent_shape)
    features = coder.exact.features(z)
    with torch.inference_mode():
        pairs = list(zip(model.encode(x), encoded, strict=True))
        if config.latent_channels:
            q = coder.prior(z)
            mean, log_scale = model.prior.conditionals(latents)
            pairs += [(mean, q.means), (log_scale, q.log_scales)]
        trained = model.features(latents)
        np.testing.assert_allclose(trained.transpose(0, 1), features, atol=0.01, rtol=1e-3)
        for first, second in pairs:
            # Means are coded to 1/16, log scales to 1/8.
            np.testing.assert_allclose(first.flatten(1), second, atol=0.13, rtol=1e-3)


@every_variant
def test_what_is_pushed_is_popped(config: SetConfig) -> None:
    coder = make_coder(config)
    x = pixels(config, 5)
    z = latent(coder, x)
    below = initial_words(7)
    stack = new_stack(below)
    bits = coder.push_pixels(stack, x, z)
    writer = StackWriter()
    every = np.ones(coder.dimensions)
    assert np.array_equal(coder.code_latent(writer, every, 5, z), z)
    writer.flush(stack)
    assert stack.num_valid_bits() - 32 * 7 <= 1.01 * (bits + writer.bits) + 32
    reader = StackReader(stack)
    assert np.array_equal(coder.code_latent(reader, every, 5), z)
    assert np.array_equal(coder.pull_pixels(reader, z), x)
    assert np.array_equal(stack.get_compressed(), below)


@every_variant
def test_the_coder_charges_what_the_model_says(config: SetConfig) -> None:
    model = make_model(config)
    coder = SetCoder(weights(model), config)
    z = latent(coder, pixels(config, 20))
    x = coder.pull_pixels(Sampler(1, 0, 20, coder.draws), z)  # so that nothing is far in a tail
    bits = coder.push_pixels(new_stack(initial_words(1)), x, z)
    with torch.inference_mode():
        unit = torch.from_numpy(x).float() / (1 if config.kind == "binary" else 255)
        features = model.features(torch.from_numpy(z).float().view(20, *config.latent_shape))
        nats = -model.log_likelihood(unit, features).sum()
    assert bits == pytest.approx(nats.item() / np.log(2), rel=2e-3)


@every_variant
def test_images_do_not_depend_on_their_neighbours(
    config: SetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    coder = make_coder(config)
    x = pixels(config, 7)
    z = latent(coder, x)
    words = sampled = None
    for at_once, columns, number in ((64, 1024, 1), (1, 1024, 2), (3, 5, 3)):
        monkeypatch.setattr(set_coder, "IMAGES_AT_ONCE", at_once)
        monkeypatch.setattr(set_coder, "PIXELS_AT_ONCE", 10 * columns)
        monkeypatch.setattr(set_coder, "PIXELS_PER_THREAD", columns)
        monkeypatch.setattr(exact_model, "COLUMNS", columns)
        monkeypatch.setattr(exact, "CHUNK", columns)
        monkeypatch.setenv("VLAEC_THREADS", str(number))
        stack = new_stack(initial_words(3))
        coder.push_pixels(stack, x, z)
        put_back(stack, coder.posterior(x), latent(coder, x))
        got = stack.get_compressed()
        drawn = [
            coder.pull_pixels(Sampler(8, first, last - first, coder.draws), z[first:last])
            for first, last in ((0, 7), (0, 4), (4, 7))
        ]
        assert np.array_equal(drawn[0], np.concatenate(drawn[1:]))
        assert words is None or np.array_equal(got, words)
        assert sampled is None or np.array_equal(drawn[0], sampled)
        words, sampled = got, drawn[0]


def fingerprint() -> str:
    """Hash of the words that one set of each kind becomes."""
    digest = hashlib.sha256()
    for name in ("tiny-binary", "tiny-colour"):  # from a file: torch.randn is not the same either
        coder = load_archiver(zoo.find(name=name).id).coder
        x = pixels(coder.config, 6)
        q = coder.posterior(x)
        z = np.rint(q.means).astype(np.int32)
        stack = new_stack(initial_words(3))
        coder.push_pixels(stack, x, z)
        writer = StackWriter()
        coder.code_latent(writer, np.ones(coder.dimensions), 6, z)
        writer.flush(stack)
        digest.update(q.means.tobytes() + q.indices.tobytes() + stack.get_compressed().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize(
    "environment",
    [
        {"OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
        {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    ],
    ids=lambda e: "-".join("=".join(item) for item in e.items()),
)
def test_same_words_in_another_process(environment: dict[str, str], set_models: Path) -> None:
    out = subprocess.run(
        [sys.executable, "-c", "from test_set_coder import fingerprint; print(fingerprint())"],
        env={**os.environ, **environment},
        cwd=Path(__file__).resolve().parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == fingerprint()


@pytest.mark.parametrize(("kernel", "size"), [(1, (4, 7)), (3, (4, 7)), (3, (1, 1)), (5, (3, 2))])
def test_convolutions_are_convolutions(kernel: int, size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    conv = nn.Conv2d(6, 5, kernel, padding=kernel // 2).double().requires_grad_(False)
    for parameter in conv.parameters():
        parameter.copy_((parameter * 2**16).round() / 2**16)
    x = to_grid(np.random.default_rng(1).normal(0, 50, (6, 3, *size)))
    layer = ExactConv(conv.weight.numpy(), conv.bias.numpy())
    expected = to_grid(conv(torch.from_numpy(x).transpose(0, 1)).transpose(0, 1).numpy())
    assert np.array_equal(layer(x), expected)


def test_what_has_no_exact_form_is_refused() -> None:
    with pytest.raises(GridError):
        ExactConv(np.full((1, 4, 1, 1), 9000.0), np.zeros(1))
    with pytest.raises(ValueError, match="posterior"):
        make_coder(replace(BINARY, posterior="iaf"))
    part = weights(make_model(BINARY))
    del part["pixelcnn.head.bias"]
    with pytest.raises(KeyError, match="head"):
        SetCoder(part, BINARY)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_wavefronts_come_after_what_their_windows_see(height: int, width: int, skew: int) -> None:
    steps = wavefronts(height, width, skew)
    assert sorted(np.concatenate(steps)) == list(range(height * width))
    time = np.empty(height * width, int)
    for t, positions in enumerate(steps):
        time[positions] = t
    plane = time.reshape(height, width)
    assert (np.diff(plane, axis=1) > 0).all()
    reach = plane[:-1, skew - 1 :]  # skew - 1 columns to the right in the row above
    assert (plane[1:, : reach.shape[1]] > reach).all()


def test_the_logistic_table_is_correctly_rounded() -> None:
    table = exact_pixels.logistic_table()
    bound = exact_pixels.LOGISTIC_RANGE * exact_pixels.LOGISTIC_STEPS
    assert len(table) == 2 * bound + 1 and (np.diff(table) >= 0).all()
    assert (table + table[::-1] == exact_pixels.ONE).all() and table[0] > 0
    with localcontext(prec=50):
        for i in (-bound, -700, -3, 0, 1, 511, 512, 5000, bound):
            value = 2**28 / (1 + (Decimal(-i) / 512).exp())
            assert abs(Decimal(table[i + bound]) - value) <= Decimal("0.5")


def test_tables_of_scales_and_weights() -> None:
    scales = exact_pixels.inverse_scale_table()
    np.testing.assert_allclose(np.log(512 / scales), -2.25 + np.arange(103) / 16, atol=1e-4)
    weights = exact_pixels.weight_table()
    assert weights[0] == 2**20 and weights[-1] == 1 and (weights == np.rint(weights)).all()
    np.testing.assert_allclose(weights / 2**20, np.exp(-np.arange(889) / 64), atol=2**-20)


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.floats(-2, 5))
@settings(max_examples=50, deadline=None)
def test_putting_back_undoes_drawing(seed: int, count: int, log_scale: float) -> None:
    rng = np.random.default_rng(seed)
    gaussians = Gaussians(
        rng.uniform(-1023, 1023, (count, 2)),
        np.minimum(rng.normal(log_scale, 0.4, (count, 2)), 5.0),
    )
    words = initial_words(4 * count + 8)
    stack = new_stack(words)
    z = draw(stack, gaussians)
    assert (np.abs(z - gaussians.means) <= REACH * gaussians.scales + 1.5).all()
    assert np.abs(z).max() <= INTEGER_BOUND
    put_back(stack, gaussians, z)
    assert np.array_equal(stack.get_compressed(), words)


def test_draws_are_gaussian() -> None:
    count = 40000
    gaussians = Gaussians(np.zeros(count), np.full(count, 2.25))
    z = draw(new_stack(initial_words(count)), gaussians) / SCALES[36]
    assert abs(z.mean()) < 0.02 and z.std() == pytest.approx(1, abs=0.02)
    # Bits without meaning must not give symbols without meaning: no tails beyond the Gaussian's.
    assert np.mean(z**4) == pytest.approx(3, abs=0.3)


def test_the_sampler_follows_the_masses() -> None:
    masses = np.array([1.0, 0.0, 5.0, 2.0])
    sampler = Sampler(3, first=0, images=2, draws=40000)
    symbols = sampler.classes(np.broadcast_to(masses, (2, 40000, 4)))
    assert not np.array_equal(symbols[0], symbols[1])
    shares = np.bincount(symbols.ravel(), minlength=4) / symbols.size
    np.testing.assert_allclose(shares, masses / 8, atol=0.01)
