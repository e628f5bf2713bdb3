"""Weights and layers of set models on the fixed grid of `coding.exact`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..coding.exact import ACTIVATION_BOUND, ExactConv, Layer, relu, to_grid


class Weights:
    """Parts of a model by the names of its tensors.

    Raises:
        GridError: weights too large for exact arithmetic.
        KeyError: weights are missing.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self._tensors = tensors

    def convolution(self, name: str, mask: np.ndarray | None = None) -> ExactConv:
        """A convolution, its 1x1 weight multiplied by a mask [out, in] of 0 and 1."""
        weight, bias = (self._tensors[f"{name}.{part}"] for part in ("weight", "bias"))
        if mask is not None:
            weight = weight * mask[:, :, None, None]
        return ExactConv(weight, bias)

    def constant(self, name: str) -> np.ndarray:
        """What enters as activations do, on the activation grid."""
        return to_grid(self._tensors[name].astype(np.float64))


class Residual:
    """x + conv3x3(relu(conv3x3(x))): the sum is on the grid, but may exceed its bounds."""

    def __init__(self, weights: Weights, name: str) -> None:
        self.first, self.second = (
            weights.convolution(f"{name}.{part}") for part in ("first", "second")
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[C, N, H, W] -> [C, N, H, W]."""
        out = self.second(relu(self.first(bounded(x))))
        out += x
        return out


def residual_layers(weights: Weights, name: str, depth: int) -> list[Layer]:
    """`depth` residual blocks, and what bounds their sum."""
    return [*(Residual(weights, f"{name}.{index}") for index in range(depth)), bounded]


def bounded(x: np.ndarray) -> np.ndarray:
    """Clamped as whatever enters a convolution."""
    return np.clip(x, -ACTIVATION_BOUND, ACTIVATION_BOUND)
