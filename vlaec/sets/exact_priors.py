"""p(z) of set models on the fixed grid, step by step: what an encoder pushes and a decoder pops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..coding.exact import ExactConv, ExactNetwork, relu, to_grid
from ..coding.gaussian import SCALE_LOG_MAX, SCALE_LOG_MIN
from ..networks.config import Group
from ..networks.set_config import SetConfig
from ..networks.set_units import LATENT_UNIT, LOG_SCALE_START
from .exact_layers import Residual, Weights, bounded

# Mean and log scale of the elements of one step, [N, n] each, in cells of z's grid.
Parameters = tuple[np.ndarray, np.ndarray]
Step = Callable[[int], Parameters]


class ExactSetPrior(Protocol):
    """`steps[i]` holds the indices into C * h * w of what step i codes, in decoding order."""

    steps: list[np.ndarray]

    def walk(self, z: np.ndarray) -> Step:
        """Parameters of a step's elements, for steps in order.

        z [N, D] float64 is read when a step is asked for: its elements of earlier steps must be
        in place, all others may be anything.
        """
        ...


class ExactMade:
    """One element per step. A hidden unit is computed once, as soon as all that it sees is known:
    all steps together cost one pass."""

    def __init__(self, weights: Weights, config: SetConfig) -> None:
        c, h, w = config.latent_shape
        size, hidden = c * h * w, config.made_hidden
        self.steps = [np.array([index]) for index in range(size)]
        # As in `networks.made`: units are dealt out evenly over the degrees, rising.
        degrees = np.arange(hidden) * max(size - 1, 1) // hidden
        order, outputs = np.arange(size), np.tile(np.arange(size), 2)
        masks = [degrees[:, None] >= order]
        masks += [degrees[:, None] >= degrees] * (config.made_depth - 1)
        masks.append(outputs[:, None] > degrees)
        self.layers = [
            weights.convolution(f"prior.made.network.{2 * index}", mask)
            for index, mask in enumerate(masks)
        ]
        self.direct = weights.convolution("prior.made.direct", outputs[:, None] > order)
        # Numbers of units that see only elements before a step's.
        self.ready = np.searchsorted(degrees, np.arange(size))

    def walk(self, z: np.ndarray) -> Step:
        """See `ExactSetPrior`."""
        images, size = z.shape
        *hidden_layers, last = self.layers
        context = np.empty((size, images))
        hidden = [np.empty((len(layer.bias), images)) for layer in hidden_layers]

        def step(index: int) -> Parameters:
            rows = np.array([index, size + index])
            if index:
                context[index - 1] = z[:, index - 1] / LATENT_UNIT
                old, new = self.ready[index - 1], self.ready[index]
                inputs = context[:index]
                for layer, units in zip(hidden_layers, hidden, strict=True):
                    units[old:new] = relu(_product(layer, slice(old, new), inputs))
                    inputs = units[:new]
            else:
                inputs = context[:0]
            both = _product(last, rows, inputs) + _product(self.direct, rows, context[:index])
            return as_gaussian(both[:1].T, both[1:].T)

        return step


def _product(layer: ExactConv, rows: slice | np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Some outputs of a 1x1 layer, from its first inputs alone: [rows, N]."""
    return to_grid(layer.weight[rows, : len(inputs)] @ inputs + layer.bias[rows])


class ExactGroups:
    """Channel slices x checkerboard parity; one network per group."""

    def __init__(self, weights: Weights, config: SetConfig) -> None:
        self.shape = c, h, w = config.latent_shape
        size = c // config.slices
        self.groups = [
            Group(2 * s + parity, s * size, (s + 1) * size, parity, uses_hyper=False)
            for s in range(config.slices)
            for parity in (0, 1)
        ]
        self.even = np.add.outer(np.arange(h), np.arange(w)) % 2 == 0
        self.networks = []
        for group in self.groups:
            name = f"prior.networks.{group.index}"
            first, last = (weights.convolution(f"{name}.{part}") for part in (0, 3))
            middle = Residual(weights, f"{name}.1")
            self.networks.append(ExactNetwork(first, middle, bounded, relu, last))
        cells = np.arange(c * h * w).reshape(c, h, w)
        self.steps = [cells[g.start : g.stop, self._own(g)].ravel() for g in self.groups]

    def walk(self, z: np.ndarray) -> Step:
        """See `ExactSetPrior`."""
        images = len(z)

        def step(index: int) -> Parameters:
            group = self.groups[index]
            planes = z.reshape(images, *self.shape)[:, : group.stop].transpose(1, 0, 2, 3)
            context = planes / LATENT_UNIT
            context[group.start :] *= self.even if group.parity else 0
            out = self.networks[index](context)[..., self._own(group)]  # [2 size, N, cells]
            first, second = out.transpose(1, 0, 2).reshape(images, 2, -1).transpose(1, 0, 2)
            return as_gaussian(first, second)

        return step

    def _own(self, group: Group) -> np.ndarray:
        return ~self.even if group.parity else self.even


class ExactGaussian:
    """Independent elements, all in one step."""

    def __init__(self, weights: Weights, config: SetConfig) -> None:
        self.mean, self.log_scale = (
            weights.constant(f"prior.{name}").reshape(1, -1) for name in ("mean", "log_scale")
        )
        self.steps = [np.arange(self.mean.size)]

    def walk(self, z: np.ndarray) -> Step:
        """See `ExactSetPrior`."""
        one = as_gaussian(self.mean, self.log_scale)
        return lambda index: (one[0].repeat(len(z), 0), one[1].repeat(len(z), 0))


def as_gaussian(first: np.ndarray, second: np.ndarray) -> Parameters:
    """Mean and log scale in cells of z's grid from what a network says of them."""
    return first * LATENT_UNIT, (second + LOG_SCALE_START).clip(SCALE_LOG_MIN, SCALE_LOG_MAX)


def make_exact_prior(weights: Weights, config: SetConfig) -> ExactSetPrior:
    """The prior that a configuration names."""
    kinds: dict[str, Callable[[Weights, SetConfig], ExactSetPrior]] = {
        "made": ExactMade,
        "groups": ExactGroups,
        "gaussian": ExactGaussian,
    }
    return kinds[config.prior](weights, config)
