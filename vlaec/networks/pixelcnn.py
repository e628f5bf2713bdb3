"""The local PixelCNN p(x | z): a mixture of discretised logistics over a deliberately small window.

It models the residual r = x - mean. One causally masked convolution sees the window, 1x1 layers
follow (as in NeLLoC), and the mixture couples the colour channels (PixelCNN++, Salimans et al.
2017): green is conditioned on red, blue on both. Because the window is small, structure must
travel in z, and what the window can guess is resampled when decoding (Chen et al. 2016).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..coding.window import window_offsets
from .config import PhotoConfig
from .texture import (
    INPUT_SCALE,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    LOG_SCALE_START,
    MEAN_BOUND,
    NOISE_BOUND,
    WINDOW_BOUND,
)


def gather_window(residual: Tensor, offsets: list[tuple[int, int]], bound: float) -> Tensor:
    """Neighbours of every pixel, [N, 3, H, W] -> [N, 3 * len(offsets), H, W], within +-bound and
    zero outside the picture."""
    h, w = residual.shape[2:]
    top = -min(row for row, _ in offsets)
    side = max(abs(column) for _, column in offsets)
    padded = F.pad(residual.clamp(-bound, bound), (side, side, top, 0))
    shifted = [
        padded[:, :, top + row : top + row + h, side + column : side + column + w]
        for row, column in offsets
    ]
    return torch.cat(shifted, 1)


class Mixture(NamedTuple):
    """Parameters of K logistic components at every pixel, on the [0, 1] scale of pixels."""

    logits: Tensor  # [N, K, ...]
    raw: Tensor  # [N, 9, K, ...]: means, scales and coefficients as the network gives them

    @property
    def means(self) -> Tensor:
        """[N, 3, K, ...], bounded."""
        return MEAN_BOUND / INPUT_SCALE * torch.tanh(self.raw[:, :3] / MEAN_BOUND)

    @property
    def log_scales(self) -> Tensor:
        """[N, 3, K, ...], bounded."""
        return (self.raw[:, 3:6] + LOG_SCALE_START).clamp(LOG_SCALE_MIN, LOG_SCALE_MAX)

    @property
    def coefficients(self) -> Tensor:
        """[N, 3, K, ...]: green on red, blue on red, blue on green."""
        return self.raw[:, 6:].tanh()


class SamplingNoise(NamedTuple):
    """The randomness of one sample; fixing it makes sampling a deterministic function."""

    gumbel: Tensor  # [N, K, H, W]
    logistic: Tensor  # [N, 3, H, W]


class PixelCNN(nn.Module):
    """Residual model over one window; `forward` is parallel over pixels."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        self.mixtures = config.mixtures
        self.offsets = window_offsets(config.receptive_field)
        hidden = config.pixel_hidden
        self.window = nn.Conv2d(3 * len(self.offsets), hidden, 1)
        self.condition = nn.Conv2d(config.features, hidden, 1)
        self.layers = nn.ModuleList(nn.Conv2d(hidden, hidden, 1) for _ in range(config.pixel_depth))
        self.head = nn.Conv2d(hidden, 10 * self.mixtures, 1)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, residual: Tensor, features: Tensor) -> Mixture:
        """Mixture of every pixel given its window.

        Args:
            residual: [N, 3, H, W] on the [0, 1] scale of pixels.
            features: [N, F, H, W] from the synthesis.
        """
        neighbours = gather_window(residual * INPUT_SCALE, self.offsets, WINDOW_BOUND)
        return self.mixture(self.hidden(self.window(neighbours) + self.condition(features)))

    def hidden(self, x: Tensor) -> Tensor:
        """The 1x1 residual layers, [N, hidden, ...] -> [N, hidden, ...]."""
        for layer in self.layers:
            x = x + layer(torch.relu(x))
        return torch.relu(x)

    def mixture(self, hidden: Tensor) -> Mixture:
        """The mixture that a hidden state stands for."""
        return split_mixture(self.head(hidden).float(), self.mixtures)


def split_mixture(out: Tensor, k: int) -> Mixture:
    """The mixture that a network's output [N, 10 K, ...] stands for."""
    return Mixture(out[:, :k], out[:, k:].unflatten(1, (9, k)))


def mixture_bits(mixture: Mixture, residual: Tensor) -> Tensor:
    """-log2 p of the pixel's 8-bit cell around `residual` [N, 3, H, W]; returns [N, H, W]."""
    red, green = residual[:, :1], residual[:, 1:2]  # [N, 1, H, W]
    c = mixture.coefficients
    green_shift, blue_shift = c[:, 0] * red, c[:, 1] * red + c[:, 2] * green
    shift = torch.stack([torch.zeros_like(green_shift), green_shift, blue_shift], 1)
    distance = (residual[:, :, None] - mixture.means - shift).abs()  # [N, 3, K, H, W]
    inverse = torch.exp(-mixture.log_scales)
    half = 0.5 / 255
    # log(sigmoid(b) - sigmoid(a)) with b - a = width: stable in the far tail.
    upper, lower = (half - distance) * inverse, (-half - distance) * inverse
    width = (upper - lower).clamp_min(1e-6)
    log_mass = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
    per_component = log_mass.sum(1) + F.log_softmax(mixture.logits, 1)
    return -torch.logsumexp(per_component, 1) / 0.6931471805599453


def draw_noise(shape: tuple[int, int, int], k: int, random: torch.Generator) -> SamplingNoise:
    """Training noise for images [N, 3, H, W] of `shape` (N, H, W), on the generator's device."""
    n, h, w = shape
    tiny = 1e-6
    u, v = (
        torch.rand(n, c, h, w, generator=random, device=random.device).clamp(tiny, 1 - tiny)
        for c in (k, 3)
    )
    return SamplingNoise(-torch.log(-torch.log(u)), torch.logit(v).clamp(-NOISE_BOUND, NOISE_BOUND))


def sample_mixture(mixture: Mixture, noise: SamplingNoise, temperature: float) -> Tensor:
    """Residual [N, 3, ...] from a mixture with the noise fixed; differentiable but for the choice.

    Temperature scales the noise of both the component's choice and the value.
    """
    # On CPUs argmax takes as long as a layer of the network, max does not.
    choice = (mixture.logits + temperature * noise.gumbel).max(1, keepdim=True).indices
    index = choice[:, None].expand(-1, 9, *choice.shape[1:])  # [N, 9, 1, ...]
    component = Mixture(mixture.logits, mixture.raw.gather(2, index))  # [N, 9, 1, ...]
    mean, log_scale, coefficient = (
        t.squeeze(2) for t in (component.means, component.log_scales, component.coefficients)
    )
    value = mean + temperature * log_scale.exp() * noise.logistic  # [N, 3, ...]
    red = value[:, 0]
    green = value[:, 1] + coefficient[:, 0] * red
    blue = value[:, 2] + coefficient[:, 1] * red + coefficient[:, 2] * green
    return torch.stack([red, green, blue], 1)
