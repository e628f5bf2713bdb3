"""The prior's networks on a fixed grid, where every machine computes the same probabilities.

float32 cannot do this: one convolution gives different bits for AVX-512, AVX2 and SSE. Here
weights are multiples of 2^-16, activations are rounded to multiples of 2^-12 and clamped to
+-1024 after every convolution, so each partial sum is a multiple of 2^-28 below 2^25 and float64
holds it exactly, in whatever order it is added (compare Balle et al. 2019, integer networks).
Convolutions are matrix products on gathered inputs: Winograd and FFT algorithms would round.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..networks.config import PhotoConfig
from ..networks.prior import (
    HYPER_INPUT_SCALE,
    HYPER_LOG_MIN,
    LATENT_INPUT_SCALE,
    SCALE_COUNT,
    SCALE_LOG_MIN,
    SCALE_STEPS,
    Group,
    Prior,
)

WEIGHT_GRID = 2.0**16
ACTIVATION_GRID = 2.0**12
ACTIVATION_BOUND = 1024.0
MEAN_GRID = 16.0
# Positions per matrix product: bounds memory, changes no result.
CHUNK = 1024

# exp(-2.25 + i / 8) in units of 2^-16, as constants: no two libraries need agree on exp.
# fmt: off
SCALES = np.array([
    6907, 7827, 8869, 10050, 11388, 12905, 14623, 16570, 18776, 21276, 24109, 27319, 30957,
    35079, 39750, 45042, 51039, 57835, 65536, 74262, 84150, 95354, 108051, 122437, 138740,
    157213, 178145, 201865, 228743, 259200, 293712, 332819, 377134, 427348, 484249, 548726,
    621788, 704578, 798392, 904697, 1025156, 1161653, 1316326, 1491592, 1690196, 1915243,
    2170254, 2459220, 2786662, 3157701, 3578144, 4054569, 4594428, 5206169, 5899363, 6684854,
    7574932, 8583522, 9726405, 11021461, 12488951, 14151835, 16036130, 18171316,
]) / 2.0**16
# fmt: on


class GridError(ValueError):
    """Weights too large for exact sums."""


class ExactNetwork:
    """An `nn.Sequential` of 1x1 and 3x3 convolutions, ReLU and (un)shuffles, on the grid.

    Raises:
        GridError: a sum could exceed what float64 holds exactly.
        TypeError: a layer of another kind.
    """

    def __init__(self, network: nn.Sequential) -> None:
        self.layers: list[_ExactConv | nn.Module] = []
        for layer in network:
            if isinstance(layer, nn.Conv2d):
                self.layers.append(_ExactConv(layer))
            elif isinstance(layer, nn.ReLU | nn.PixelShuffle | nn.PixelUnshuffle):
                self.layers.append(layer)
            else:
                raise TypeError(f"no exact form of {type(layer).__name__}")

    def __call__(self, x: Tensor) -> Tensor:
        """[C, H, W] float64 on the activation grid -> [C', H', W'] on the same grid."""
        for layer in self.layers:
            x = layer(x)
        return x

    def at(self, x: Tensor, positions: Tensor) -> Tensor:
        """The output at flat `positions` [P] alone, [C, H, W] -> [C', P].

        Only for networks whose one convolution wider than 1x1 is the first.
        """
        first, *rest = self.layers
        assert isinstance(first, _ExactConv)
        out = first.at(x, positions)[:, :, None]  # [C, P, 1]
        for layer in rest:
            out = layer(out)
        return out[:, :, 0]


class _ExactConv:
    """One convolution with zero padding as matrix products."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.kernel = conv.kernel_size[0]
        weight = conv.weight.detach().double().flatten(1)  # [out, in * k * k]
        self.weight = (weight * WEIGHT_GRID).round() / WEIGHT_GRID
        if conv.bias is None:
            raise TypeError("no exact form of a convolution without bias")
        bias = conv.bias.detach().double()
        self.bias = ((bias * WEIGHT_GRID).round() / WEIGHT_GRID)[:, None]
        largest = self.weight.abs().sum(1) * ACTIVATION_BOUND + self.bias[:, 0].abs()
        if not bool((largest < 2.0**25).all()):
            raise GridError("the weights of the prior are too large for exact arithmetic")

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:]
        positions = torch.arange(height * width)
        return self.at(x, positions).unflatten(1, (height, width))

    def at(self, x: Tensor, positions: Tensor) -> Tensor:
        """[in, H, W] -> [out, P] at flat positions."""
        margin = self.kernel // 2
        padded = functional.pad(x, (margin, margin, margin, margin))
        stride = padded.shape[2]
        # Flat index in the padded plane of the top-left tap of every position's window.
        corner = positions // x.shape[2] * stride + positions % x.shape[2]
        steps = torch.arange(self.kernel)
        taps = (steps[:, None] * stride + steps).flatten()[:, None]  # [k * k, 1]
        flat = padded.flatten(1).numpy()
        out = x.new_empty(len(self.weight), len(positions))
        # numpy gathers into memory that is there; torch asks for new memory every time, and getting
        # it takes longer than the product.
        columns = np.empty(self.weight.shape[1] * min(CHUNK, len(positions)))
        for part, target in zip(corner.split(CHUNK), out.split(CHUNK, 1), strict=True):
            index = (taps + part).numpy()  # [k * k, chunk]
            window = columns[: len(flat) * index.size].reshape(len(flat), *index.shape)
            np.take(flat, index, axis=1, out=window, mode="clip")
            inputs = torch.from_numpy(window).flatten(0, 1)  # [in * k * k, chunk]
            target.copy_(to_grid(self.weight @ inputs + self.bias))
        return out


def to_grid(x: Tensor) -> Tensor:
    """Round to the activation grid and clamp."""
    scaled = (x * ACTIVATION_GRID).round_()
    return scaled.mul_(1 / ACTIVATION_GRID).clamp_(-ACTIVATION_BOUND, ACTIVATION_BOUND)


class Gaussians:
    """Parameters of independent Gaussians, exact: means on a 1/16 grid, scales from the table."""

    def __init__(self, mean: Tensor, log_scale: Tensor, log_min: float = SCALE_LOG_MIN) -> None:
        """From network outputs of equal shape on the activation grid."""
        self.means = ((mean * MEAN_GRID).round() / MEAN_GRID).numpy()
        lowest = round((log_min - SCALE_LOG_MIN) * SCALE_STEPS)
        index = ((log_scale - SCALE_LOG_MIN) * SCALE_STEPS).round()
        self.indices = index.clamp(lowest, SCALE_COUNT - 1).to(torch.int64).numpy()

    def __getitem__(self, part: slice) -> Gaussians:
        """Some of them, by the first axis."""
        chosen = copy.copy(self)
        chosen.means, chosen.indices = self.means[part], self.indices[part]
        return chosen

    @property
    def scales(self) -> np.ndarray:
        """Standard deviations, of the shape of `means`."""
        scales: np.ndarray = SCALES[self.indices]
        return scales

    @property
    def log_scales(self) -> np.ndarray:
        """Logarithms of `scales`; only for what shapes the picture, not for coding."""
        values: np.ndarray = SCALE_LOG_MIN + self.indices / SCALE_STEPS
        return values


class ExactPrior:
    """p(w), q(w | z_early) and p(z | w) with bit-identical parameters everywhere."""

    def __init__(self, prior: Prior, config: PhotoConfig) -> None:
        self.groups = prior.groups
        self.early_channels = prior.early_channels
        self.levels = config.levels
        self.hyper_channels = config.hyper_channels
        self.latent_channels = config.latent_channels
        self._analysis = ExactNetwork(prior.hyper_analysis)
        self._synthesis = ExactNetwork(prior.hyper_synthesis)
        self._parameters = [_exact_sequential(m) for m in prior.parameters_of]
        self._hyper_mean = to_grid(prior.hyper_mean.detach().double())
        self._hyper_log_scale = to_grid(prior.hyper_log_scale.detach().double())

    def level_weights(self, quality_hundredths: int) -> np.ndarray:
        """Interpolation weights [levels] of a quality, on the activation grid.

        Integer arithmetic of the header's own field, so both sides agree.
        """
        position = quality_hundredths * (self.levels - 1)
        knot, rest = divmod(position, 10000)
        weights = np.zeros(self.levels)
        upper = (rest * 4096 + 5000) // 10000
        weights[knot] = (4096 - upper) / 4096
        if upper:
            weights[knot + 1] = upper / 4096
        return weights

    def hyper_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape [C, h, w] of w for z of `height` x `width`."""
        return self.hyper_channels, -(-height // 4), -(-width // 4)

    def hyper_prior(self, height: int, width: int) -> Gaussians:
        """p(w), flat over [C, h, w], for z of `height` x `width`."""
        _, h, w = self.hyper_shape(height, width)
        mean = self._hyper_mean.repeat_interleave(h * w)
        log_scale = self._hyper_log_scale.repeat_interleave(h * w)
        return Gaussians(mean, log_scale, HYPER_LOG_MIN)

    def posterior(self, z: np.ndarray) -> Gaussians:
        """q(w | z_early), flat over [C, h, w]; z is [C, h, w] int, of which only the early
        channels are read."""
        early = torch.from_numpy(z[: self.early_channels]).double() * LATENT_INPUT_SCALE
        height, width = z.shape[1:]
        padded = functional.pad(early, (0, -width % 4, 0, -height % 4))
        mean, log_scale = self._analysis(padded).chunk(2)
        return Gaussians(mean.flatten(), log_scale.flatten(), HYPER_LOG_MIN)

    def features(self, w: np.ndarray, weights: np.ndarray, height: int, width: int) -> Tensor:
        """What the early groups see of w (flat int [C * h * w]): [features, height, width]."""
        shape = self.hyper_shape(height, width)
        scaled = torch.from_numpy(w.reshape(shape)).double() * HYPER_INPUT_SCALE
        planes = torch.from_numpy(weights)[:, None, None].expand(-1, *shape[1:])
        out = self._synthesis(torch.cat([scaled, planes]))
        return out[:, :height, :width].relu()

    def group(
        self, group: Group, z: np.ndarray, features: Tensor | None, weights: np.ndarray
    ) -> tuple[np.ndarray, Gaussians]:
        """One step of the flow.

        Args:
            z: [C, h, w] int; only channels below `group.start` and, for parity 1, the even
                cells of the group's own channels are read.
            features: from `features`; None for groups that do not use w.
            weights: from `level_weights`.

        Returns:
            flat positions [P] of the group's cells, and Gaussians of shape [channels, P].
        """
        height, width = z.shape[1:]
        checker = np.add.outer(np.arange(height), np.arange(width)) % 2
        positions = np.flatnonzero(checker.ravel() == group.parity)
        side = 0 if features is None else len(features)
        first = side + self.levels
        # Filled in place: of a large picture every plane more is memory to be had first.
        seen = torch.empty(first + group.stop, height, width, dtype=torch.float64)
        if features is not None:
            seen[:side] = features
        seen[side:first] = torch.from_numpy(weights)[:, None, None]
        known = seen[first:].numpy()
        known[:] = z[: group.stop]
        known[group.start :] *= (checker == 0) & (group.parity == 1)
        known *= LATENT_INPUT_SCALE
        out = self._parameters[group.index].at(seen, torch.from_numpy(positions))
        mean, log_scale = out.chunk(2)
        return positions, Gaussians(mean, log_scale)


def _exact_sequential(module: nn.Module) -> ExactNetwork:
    assert isinstance(module, nn.Sequential)
    return ExactNetwork(module)
