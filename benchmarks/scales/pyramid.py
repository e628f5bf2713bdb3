"""Texture from coarse to fine: one small PixelCNN each at strides 4, 2 and 1.

A residual is taken apart into its 4x4 block means, what its 2x2 block means add to them, and the
rest. A level is sampled after all coarser ones, so it may look at them in every direction, and at
its own past through a causal window: at stride 4 a "5x3" window is 20 pixels wide.

The levels have 1 + 1/4 + 1/16 values per value of the residual: a likelihood of all of them is an
upper bound of what coding the residual by levels would cost.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlaec.metrics.perceptual import LPIPS
from vlaec.networks import PhotoConfig, PhotoVLAE
from vlaec.networks.pixelcnn import INPUT_SCALE, WINDOW_BOUND, PixelCNN, SamplingNoise, mixture_bits
from vlaec.photo.sampler import BAND, TextureSampler, band_noise
from vlaec.train.photo.losses import Objective, TextureLoss
from vlaec.train.photo.recipe import Recipe

STRIDES = (4, 2, 1)
WINDOW = "5x3"
# What a level is told of the coarser ones, in channels beside the features.
COARSE_FEATURES = 16


def split(residual: Tensor) -> list[Tensor]:
    """Levels of a residual [N, 3, H, W], H and W multiples of 4, from the coarsest on."""
    half = F.avg_pool2d(residual, 2)
    quarter = F.avg_pool2d(half, 2)
    return [quarter, half - _doubled(quarter), residual - _doubled(half)]


def join(levels: list[Tensor]) -> Tensor:
    """Inverse of `split`; of its first levels alone, the block means that they amount to."""
    total = levels[0]
    for level in levels[1:]:
        total = _doubled(total) + level
    return total


def _doubled(x: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, C, 2h, 2w]: every value four times."""
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


class Pyramid(nn.Module):
    """In place of the PixelCNN: three of them, each one layer less deep, which together cost about
    as much per pixel as a single one with window 7x4."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        first = replace(config, receptive_field=WINDOW, pixel_depth=max(1, config.pixel_depth - 1))
        informed = replace(first, features=config.features + COARSE_FEATURES)
        self.cnns = nn.ModuleList([PixelCNN(first), PixelCNN(informed), PixelCNN(informed)])
        # A pixel sees the 3x3 coarse cells around its own; pixel-shuffle tells it which quarter of
        # that cell it is.
        self.coarse = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, 4 * COARSE_FEATURES, 3, padding=1), nn.PixelShuffle(2))
            for _ in STRIDES[1:]
        )

    def known(self, features: Tensor, coarser: list[Tensor]) -> Tensor:
        """What the level after `coarser` is conditioned on, [N, F', H/s, W/s] at its stride s, of
        the features [N, F, H, W]."""
        index = len(coarser)
        pooled = F.avg_pool2d(features, STRIDES[index])
        if not coarser:
            return pooled
        seen = (join(coarser) * INPUT_SCALE).clamp(-WINDOW_BOUND, WINDOW_BOUND)
        return torch.cat([pooled, self.coarse[index - 1](seen)], 1)

    @torch.inference_mode()
    def draw(self, features: Tensor, key: int, temperature: float) -> Tensor:
        """A sample [3, H, W] of a picture, like `TextureSampler.sample`: bands of BAND rows do not
        see each other.

        Args:
            features: [F, H, W]; H a multiple of BAND, W of 16.
            key: of the noise, below 2^62.
        """
        bands = features.shape[1] // BAND
        by_band = features.unflatten(1, (bands, BAND)).transpose(0, 1)  # [bands, F, BAND, W]
        levels: list[Tensor] = []
        for index, cnn in enumerate(self.cnns):
            assert isinstance(cnn, PixelCNN)
            known = self.known(by_band, levels)
            noise = _level_noise(4 * key + index, known, cnn.mixtures)
            levels.append(TextureSampler(cnn, temperature).sample_batch(known, noise))
        return join(levels).transpose(0, 1).flatten(1, 2)


def _level_noise(key: int, known: Tensor, mixtures: int) -> SamplingNoise:
    """Noise for bands [B, _, h, w] of one level."""
    bands, _, h, w = known.shape
    # A band of noise has BAND rows: as many cells as the level has in narrower ones.
    narrow = h * w // BAND
    parts = zip(*(band_noise(key, band, narrow, mixtures) for band in range(bands)), strict=True)
    return SamplingNoise(
        *(torch.stack(part).reshape(bands, h, w, -1).permute(0, 3, 1, 2) for part in parts)
    )


class PyramidLoss(TextureLoss):
    """Losses of texture from a pyramid: a level is sampled given the samples of coarser ones, and
    its gradient reaches them."""

    pixelcnn: Pyramid  # type: ignore[assignment]

    def sample(self, features: Tensor) -> Tensor:
        levels: list[Tensor] = []
        for cnn in self.pixelcnn.cnns:
            assert isinstance(cnn, PixelCNN)
            levels.append(self.resample(cnn, self.pixelcnn.known(features, levels)))
        return join(levels)

    def bits(self, truth: Tensor, context: Tensor, features: Tensor) -> Tensor:
        """The sum over the levels: bits of their cells of one grey level, per pixel."""
        seen = split(context)
        bits = torch.zeros((), device=truth.device)
        for index, target in enumerate(split(truth)):
            known = self.pixelcnn.known(features, seen[:index])
            mixture = self.pixelcnn.cnns[index](seen[index], known)
            bits = bits + mixture_bits(mixture, target).mean() / STRIDES[index] ** 2
        return bits


class PyramidObjective(Objective):
    """The objective of a model whose `pixelcnn` is a `Pyramid`."""

    def __init__(
        self, model: PhotoVLAE, recipe: Recipe, lpips: LPIPS | None, vgg: LPIPS | None = None
    ) -> None:
        super().__init__(model, recipe, lpips, vgg)
        self.texture = PyramidLoss(model.pixelcnn, model.config.temperature, recipe, lpips, vgg)
