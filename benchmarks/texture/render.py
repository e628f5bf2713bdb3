"""The parts of a decoded picture, kept apart so that one sample serves all strengths."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlaec import zoo
from vlaec.networks import PhotoVLAE
from vlaec.networks.pixelcnn import SamplingNoise, mixture_bits, sample_mixture
from vlaec.photo.codec import Codec
from vlaec.photo.container import unpack
from vlaec.photo.sampler import BAND, TextureSampler, band_noise


class Layers(NamedTuple):
    """What a file says of a picture, on the [0, 1] scale of pixels."""

    mean: Tensor  # [3, H, W]
    detail: Tensor  # [3, H, W]
    features: Tensor  # [F, H, W]
    key: int  # of the sampling noise
    strength: float  # the file's own

    def picture(self, residual: Tensor, strength: float) -> np.ndarray:
        """[H, W, 3] uint8 with that much of a residual [3, H, W]."""
        x = (self.mean + strength * residual) * 255
        return np.ascontiguousarray(x.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0))


@lru_cache(maxsize=2)
def network(codec: Codec) -> PhotoVLAE:
    """The codec's networks in torch."""
    return zoo.load(codec.card)


@torch.inference_mode()
def read_layers(codec: Codec, data: bytes) -> Layers:
    """The layers in a `.vlae` file, as decoding makes them (in one piece, not in bands)."""
    container = unpack(data)
    header = container.header
    z, parameters = codec.read_latent(container)
    latent, means, log_scales = (
        torch.from_numpy(a).float()[None] for a in (z, parameters.means, parameters.log_scales)
    )
    levels = torch.from_numpy(codec.exact.level_weights(header.quality_hundredths)).float()[None]
    made = network(codec).decode(latent, means, log_scales, levels)
    inside = (0, slice(None), slice(header.height), slice(header.width))
    key = header.z_crc | header.seed << 32
    return Layers(*(part[inside] for part in made), key, header.texture)


def sample(codec: Codec, layers: Layers, temperature: float) -> Tensor:
    """Residual [3, H, W], detail and sample, each pixel from those sampled before it, as decoding
    does."""
    sampler = TextureSampler(codec.graphs.draw, codec.config, temperature)
    _, height, width = layers.features.shape
    noise = sampler.noise(layers.key, range(-(-height // BAND)), min(height, BAND), width)
    drawn = sampler.sample(layers.features.numpy(), noise)
    return layers.detail + torch.from_numpy(drawn)


@torch.inference_mode()
def sample_in_parallel(codec: Codec, layers: Layers, temperature: float, steps: int) -> Tensor:
    """Residual [3, H, W] after `steps` Jacobi iterations from zero, as GPUs train on.

    The noise is that of `sample`, towards which the iterations converge.
    """
    cnn = network(codec).pixelcnn
    bands = []
    for band, features in enumerate(layers.features[None].split(BAND, 2)):
        rows, width = features.shape[2:]
        cells = band_noise(layers.key, band, width, cnn.mixtures)
        parts = (torch.from_numpy(cell[:rows]) for cell in cells)
        noise = SamplingNoise(*(part.permute(2, 0, 1)[None] for part in parts))
        residual = torch.zeros(1, 3, rows, width)
        for _ in range(steps):
            residual = sample_mixture(cnn(residual, features), noise, temperature)
        bands.append(residual[0])
    return layers.detail + torch.cat(bands, 1)


@torch.inference_mode()
def bits_per_pixel(codec: Codec, layers: Layers, residual: Tensor) -> float:
    """-log2 p of a true residual [3, H, W] by the sampler, given z and the true context."""
    truth = (residual - layers.detail)[None]
    mixture = network(codec).pixelcnn(truth, layers.features[None])
    return float(mixture_bits(mixture, truth).mean())


@dataclass
class SizeSearch:
    """Finds the level at which a file has a given size, and remembers every file it made."""

    encode: Callable[[float], bytes]
    low: float
    high: float
    step: float  # between levels
    tolerance: float = 0.005  # of the size
    files: dict[float, bytes] = field(default_factory=dict)

    def __call__(self, size: float) -> tuple[float, bytes]:
        """Level and file nearest to `size` bytes. Sizes are taken to grow with the level."""
        for level in (self.low, self.high):
            self._try(level)
        while True:
            level = min(self.files, key=lambda known: abs(len(self.files[known]) - size))
            found = level, self.files[level]
            below = [known for known, file in self.files.items() if len(file) <= size]
            low = max(below, default=math.inf)
            above = [known for known, file in self.files.items() if len(file) > size]
            high = min((known for known in above if known > low), default=-math.inf)
            close = abs(len(found[1]) / size - 1) < self.tolerance
            if close or high - low < 1.5 * self.step:
                return found
            self._try(self._between(low, high, size))

    def _between(self, low: float, high: float, size: float) -> float:
        """The level inside a bracket at which log size, if linear, would be right."""
        a, b = (math.log(len(self.files[level])) for level in (low, high))
        # Off the ends by a tenth, or a curved function would be approached from one side only.
        share = min(0.9, max(0.1, (math.log(size) - a) / (b - a)))
        level = round((low + share * (high - low)) / self.step) * self.step
        return min(high - self.step, max(low + self.step, level))

    def _try(self, level: float) -> None:
        if level not in self.files:
            self.files[level] = self.encode(level)
