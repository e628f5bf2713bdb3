"""A set model on the fixed grid: q(z | x), p(z), and what p(x | z) is made of.

The same function as `networks.sets.SetVLAE` with every weight, bias and activation rounded, so
that every machine computes the same bits, for any number of images at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..coding.exact import ACTIVATION_BOUND, ExactNetwork, Layer, relu, shuffle, unshuffle
from ..coding.gaussian import HYPER_LOG_MIN, LATENT_BOUND, SCALE_LOG_MAX
from ..coding.window import window_offsets
from ..networks.set_config import STAGE_STRIDE, SetConfig
from ..networks.set_units import LATENT_UNIT, LEVEL_UNIT, LOG_SCALE_START, MIDDLE
from .exact_layers import Weights, residual_layers
from .exact_priors import make_exact_prior

# Columns that pass the pixels' layers together: they stay in the cache.
COLUMNS = 512


class ExactSet:
    """Images are uint8 [N, C, H, W], 0 and 1 or levels 0..255; z is [N, D].

    Raises:
        GridError: weights too large for exact arithmetic.
        KeyError: weights are missing.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], config: SetConfig) -> None:
        self.config = config
        weights = Weights(tensors)
        self.pixels = ExactPixels(weights, config)
        if not config.latent_channels:
            self._place = weights.constant("place")
            return
        self._analysis = ExactNetwork(*_analysis(weights, config))
        self._synthesis = ExactNetwork(*_synthesis(weights, config))
        self.prior = make_exact_prior(weights, config)

    def encode(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log scale of q(z | x), each [N, D]."""
        if not self.config.latent_channels:
            nothing = np.zeros((len(x), 0))
            return nothing, nothing
        out = self._analysis(centre(x).transpose(1, 0, 2, 3))  # [2 C, N, h, w]
        first, second = out.transpose(1, 0, 2, 3).reshape(len(x), 2, -1).transpose(1, 0, 2)
        log_scale = (second + LOG_SCALE_START).clip(HYPER_LOG_MIN, SCALE_LOG_MAX)
        return (first * LATENT_UNIT).clip(-LATENT_BOUND, LATENT_BOUND), log_scale

    def features(self, z: np.ndarray) -> np.ndarray:
        """What the pixels' distributions see of z: [F, N, H, W]."""
        if not self.config.latent_channels:
            features, height, width = self._place.shape
            shape = (features, len(z), height, width)
            return np.broadcast_to(self._place[:, None], shape)
        latent = z.reshape(len(z), *self.config.latent_shape) / LATENT_UNIT
        return self._synthesis(latent.transpose(1, 0, 2, 3))


class ExactPixels:
    """The 1x1 layers of p(x | z). Runs in the calling thread."""

    def __init__(self, weights: Weights, config: SetConfig) -> None:
        local = config.receptive_field != "none"
        self.offsets = window_offsets(config.receptive_field) if local else []
        self.window = weights.convolution("pixelcnn.window") if local else None
        self.condition = weights.convolution("pixelcnn.condition")
        self.layers = [
            weights.convolution(f"pixelcnn.layers.{index}") for index in range(config.pixel_depth)
        ]
        self.head = weights.convolution("pixelcnn.head")

    def __call__(self, window: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Parameters [P, M] of M pixels' distributions (see `networks.set_pixels`).

        Args:
            window: [offsets * C, M], taps before channels; of no meaning without a window.
            features: [F, M].
        """
        out = np.empty((len(self.head.bias), features.shape[1]))
        for start in range(0, features.shape[1], COLUMNS):
            some = slice(start, start + COLUMNS)
            hidden = self.condition.columns(features[:, some])
            if self.window is not None:
                hidden += self.window.columns(window[:, some])
            inputs = np.empty_like(hidden)
            for layer in self.layers:
                hidden += layer.columns(np.clip(hidden, 0, ACTIVATION_BOUND, out=inputs))
            out[:, some] = self.head.columns(np.clip(hidden, 0, ACTIVATION_BOUND, out=inputs))
        return out


def centre(x: np.ndarray) -> np.ndarray:
    """Images or pixels [N, C, ...] uint8 as networks see them, float64: see `set_pixels.centre`."""
    if x.shape[1] == 1:
        return x - 0.5
    return (x - MIDDLE) / LEVEL_UNIT


def _analysis(weights: Weights, config: SetConfig) -> list[Layer]:
    conv, depth = weights.convolution, config.analysis_depth
    layers: list[Layer] = [
        unshuffle(2), conv("analysis.1"), *residual_layers(weights, "analysis.2", depth[0]),
        unshuffle(2), conv("analysis.3.1"), *residual_layers(weights, "analysis.4", depth[1]),
    ]  # fmt: skip
    rest = config.latent_stride // STAGE_STRIDE
    if rest == 1:
        return [*layers, conv("analysis.5")]
    return [*layers, unshuffle(rest), conv("analysis.6"), relu, conv("analysis.8")]


def _synthesis(weights: Weights, config: SetConfig) -> list[Layer]:
    conv, depth = weights.convolution, config.synthesis_depth
    rest = config.latent_stride // STAGE_STRIDE
    layers: list[Layer] = [conv("synthesis.0")]
    if rest > 1:
        layers += [relu, conv("synthesis.2"), shuffle(rest)]
    at = len(layers)  # the place in the trained network's sequence
    return [
        *layers, *residual_layers(weights, f"synthesis.{at}", depth[1]),
        conv(f"synthesis.{at + 1}.0"), shuffle(2),
        *residual_layers(weights, f"synthesis.{at + 2}", depth[0]),
        conv(f"synthesis.{at + 3}"), shuffle(2),
    ]  # fmt: skip
