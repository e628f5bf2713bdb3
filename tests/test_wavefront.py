"""Wavefront sampling is ancestral sampling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from vlaec.coding.window import window_offsets
from vlaec.networks import PRESETS, PhotoVLAE
from vlaec.networks.config import RECEPTIVE_FIELDS
from vlaec.networks.pixelcnn import (
    PixelCNN,
    SamplingNoise,
    draw_noise,
    mixture_bits,
    sample_mixture,
)
from vlaec.networks.wavefront import WavefrontSampler
from vlaec.photo.sampler import BAND, TextureSampler, band_noise
from vlaec.train.onnx_export import write_graphs

FEATURES = PRESETS["tiny"].features
MIXTURES = PRESETS["tiny"].mixtures


def make_cnn(receptive_field: str = "5x3") -> PixelCNN:
    torch.manual_seed(2)
    cnn = PixelCNN(replace(PRESETS["tiny"], receptive_field=receptive_field)).requires_grad_(False)
    cnn.head.weight.normal_(std=0.3)
    for value in cnn.parameters():
        value.copy_(value.half())  # as a model's file has them
    return cnn


def noise_of(key: int, band: int, rows: int, width: int) -> SamplingNoise:
    noise = (torch.from_numpy(part[:rows]) for part in band_noise(key, band, width, MIXTURES))
    return SamplingNoise(*(part.permute(2, 0, 1)[None] for part in noise))


def make_sampler(cnn: PixelCNN, temperature: float, folder: Path) -> TextureSampler:
    """A sampler with the graph of a model that has this PixelCNN."""
    side = next(f for f in RECEPTIVE_FIELDS if window_offsets(f) == cnn.offsets)
    config = replace(PRESETS["tiny"], receptive_field=side)
    model = PhotoVLAE(config)
    model.pixelcnn = cnn
    save_file({k: v.half() for k, v in model.state_dict().items()}, folder / "x.safetensors")
    write_graphs(model, folder / "x.safetensors")
    session = onnxruntime.InferenceSession(folder / "x.draw.onnx")

    def draw(inputs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return session.run(None, {"inputs": inputs, "noise": noise})[0]

    return TextureSampler(draw, config, temperature)


@pytest.mark.parametrize("receptive_field", RECEPTIVE_FIELDS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (7, 12), (BAND + 3, 5)])
def test_equals_pixel_by_pixel(
    receptive_field: str, height: int, width: int, tmp_path: Path
) -> None:
    cnn = make_cnn(receptive_field)
    features = torch.randn(FEATURES, height, width)
    sampler = make_sampler(cnn, 0.8, tmp_path)
    noise = sampler.noise(11, range(-(-height // BAND)), min(height, BAND), width)
    drawn = sampler.sample(features.numpy(), noise)
    sampled = torch.from_numpy(drawn)
    for band, top in enumerate(range(0, height, BAND)):
        part = features[None, :, top : top + BAND]
        rows = part.shape[2]
        noise = noise_of(11, band, rows, width)
        expected = torch.zeros(1, 3, rows, width)
        if rows * width <= 100:
            for y in range(rows):
                for x in range(width):
                    whole = sample_mixture(cnn(expected, part), noise, 0.8)
                    expected[..., y, x] = whole[..., y, x]
        else:  # the sample is the fixed point of one parallel step
            expected = sample_mixture(cnn(sampled[None, :, top : top + BAND], part), noise, 0.8)
        torch.testing.assert_close(sampled[:, top : top + BAND], expected[0], atol=2e-6, rtol=1e-4)
        if height <= BAND:
            trained = WavefrontSampler(cnn, 0.8).sample_batch(part, noise)
            torch.testing.assert_close(trained, expected, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("receptive_field", RECEPTIVE_FIELDS)
def test_a_pixel_sees_its_window_and_nothing_else(receptive_field: str) -> None:
    cnn = make_cnn(receptive_field)
    residual = (0.02 * torch.randn(1, 3, 9, 11)).requires_grad_()  # inside the bound
    out = cnn(residual, torch.randn(1, FEATURES, 9, 11))
    out.logits[..., 5, 5].sum().backward()
    seen = {tuple(p) for p in residual.grad[0].abs().sum(0).nonzero().tolist()}
    assert seen == {(5 + row, 5 + column) for row, column in window_offsets(receptive_field)}


def test_the_mixture_is_a_distribution() -> None:
    """Summed over a channel's values the likelihood is 1, and sampling follows it."""
    cnn = make_cnn()
    torch.manual_seed(0)
    n = 40000
    mixture = cnn(torch.zeros(1, 3, 1, 1), torch.randn(1, FEATURES, 1, 1))
    spread = type(mixture)(*(t.expand(n, *t.shape[1:]) for t in mixture))
    noise = draw_noise((n, 1, 1), MIXTURES, torch.Generator().manual_seed(0))
    sample = sample_mixture(spread, noise, 1.0)
    # Monte-Carlo estimate of the total mass of p over the samples' own cells: E[q/q] = 1 by
    # importance weights on a uniform grid of red values.
    red = torch.arange(-512, 513).float() / 255
    marginal = torch.zeros(len(red))
    logits = mixture.logits[0, :, 0, 0].softmax(0)
    for k in range(MIXTURES):
        mean, scale = mixture.means[0, 0, k, 0, 0], mixture.log_scales[0, 0, k, 0, 0].exp()
        upper = torch.sigmoid((red + 0.5 / 255 - mean) / scale)
        marginal += logits[k] * (upper - torch.sigmoid((red - 0.5 / 255 - mean) / scale))
    assert marginal.sum().item() == pytest.approx(1, abs=1e-3)
    mean_red = (marginal * red).sum().item()
    assert sample[:, 0].mean().item() == pytest.approx(mean_red, abs=0.003)
    assert torch.isfinite(mixture_bits(spread, sample)).all()
