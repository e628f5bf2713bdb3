"""The photo model's prior on the fixed grid: what every coded symbol's probability comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ..coding.exact import (
    ExactConv,
    ExactNetwork,
    Layer,
    PlainConv,
    relu,
    round_weight,
    shuffle,
    to_grid,
    unshuffle,
)
from ..coding.gaussian import HYPER_LOG_MIN, Gaussians
from ..networks.config import (
    HYPER_INPUT_SCALE,
    LATENT_INPUT_SCALE,
    Group,
    PhotoConfig,
    coding_groups,
)

# Cells of w, and positions of z, that are looked at together: bounds memory, changes no result.
HYPER_CELLS = 2**10
POSITIONS = 2**13
# Cells of w on one side that the value of another, or of a feature, depends on.
MARGIN = 2
# Cells of z on one side of one of w.
HYPER_STRIDE = 4

Tensors = Mapping[str, np.ndarray]


class Prior:
    """p(w), q(w | z_early) and p(z | w). `convolution`: of which all networks are made.

    Raises:
        GridError: weights too large for exact arithmetic.
        KeyError: weights are missing.
    """

    convolution: type[ExactConv]

    def __init__(self, tensors: Tensors, config: PhotoConfig) -> None:
        """From a model's weights by name."""
        self.groups = coding_groups(config)
        self.early_channels = config.early_channels
        self.levels = config.levels
        self.hyper_channels = config.hyper_channels
        self.latent_channels = config.latent_channels

        def conv(network: str, index: int) -> Layer:
            weight, bias = (tensors[f"{network}.{index}.{part}"] for part in ("weight", "bias"))
            return self.convolution(weight, bias)

        first, second = (f"prior.hyper_{part}" for part in ("analysis", "synthesis"))
        self._analysis = ExactNetwork(
            conv(first, 0), relu, unshuffle(2), conv(first, 3), relu,
            conv(first, 5), relu, unshuffle(2), conv(first, 8),
        )  # fmt: skip
        self._synthesis = ExactNetwork(
            conv(second, 0), relu, conv(second, 2), shuffle(2), relu,
            conv(second, 5), relu, conv(second, 7), shuffle(2), relu,
        )  # fmt: skip
        self._parameters = []
        for group in self.groups:
            name = f"prior.parameters_of.{group.index}"
            weight, bias = (tensors[f"{name}.0.{part}"] for part in ("weight", "bias"))
            # Where a group sees nothing of its own channels, their weights are left out.
            unseen = 0 if group.parity else group.stop - group.start
            known = self.convolution(weight[:, : weight.shape[1] - unseen], bias)
            network = ExactNetwork(known, relu, conv(name, 2), relu, conv(name, 4))
            self._parameters.append(network)
        self._hyper_mean = to_grid(tensors["prior.hyper_mean"].astype(np.float64))
        self._hyper_log_scale = to_grid(tensors["prior.hyper_log_scale"].astype(np.float64))
        # A linear path from the level to the log scales, [levels, C].
        self._level_scale: np.ndarray | None = None
        if config.level_path:
            self._level_scale = round_weight(tensors["prior.level_scale"].astype(np.float64))

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
        return self.hyper_channels, -(-height // HYPER_STRIDE), -(-width // HYPER_STRIDE)

    def hyper_cell(self) -> Gaussians:
        """p(w) of one cell, flat over its channels."""
        return Gaussians(self._hyper_mean, self._hyper_log_scale, HYPER_LOG_MIN)

    def hyper_prior(self, height: int, width: int) -> Gaussians:
        """p(w), flat over [C, h, w], for z of `height` x `width`: how versions 1 and 2 code w."""
        _, h, w = self.hyper_shape(height, width)
        mean, log_scale = (np.repeat(a, h * w) for a in (self._hyper_mean, self._hyper_log_scale))
        return Gaussians(mean, log_scale, HYPER_LOG_MIN)

    def posterior(self, z: np.ndarray) -> Gaussians:
        """q(w | z_early), flat over [C, h, w]; z is [C, h, w] int, of which only the early
        channels are read."""
        mean, log_scale = np.split(self.posterior_outputs(z), 2)
        return Gaussians(mean.ravel(), log_scale.ravel(), HYPER_LOG_MIN)

    def posterior_outputs(self, z: np.ndarray) -> np.ndarray:
        """Means and log scales of q(w | z_early) as the network gives them, [2 C, h, w]."""
        early = z[: self.early_channels]
        height, width = z.shape[1:]
        channels, h, w = self.hyper_shape(height, width)
        out = np.empty((2 * channels, h, w))

        def part(top: int, bottom: int) -> np.ndarray:
            rows = early[:, HYPER_STRIDE * top : HYPER_STRIDE * bottom]
            size = (HYPER_STRIDE * (bottom - top), HYPER_STRIDE * w)
            padded = np.zeros((len(early), 1, *size))
            padded[:, 0, : rows.shape[1], :width] = rows
            padded *= LATENT_INPUT_SCALE
            return self._analysis(padded)[:, 0]

        for top, bottom, rows in _in_rows(part, h, w):
            out[:, top:bottom] = rows
        return out

    def features(self, w: np.ndarray, weights: np.ndarray, height: int, width: int) -> np.ndarray:
        """What the early groups see of w (on the activation grid, flat [C * h * w]):
        [features, height, width] float32, which holds them exactly."""
        shape = self.hyper_shape(height, width)
        planes = w.reshape(shape)
        out: np.ndarray | None = None

        def part(top: int, bottom: int) -> np.ndarray:
            rows = planes[:, top:bottom]
            inputs = np.empty((len(rows) + self.levels, 1, *rows.shape[1:]))
            np.multiply(rows, HYPER_INPUT_SCALE, out=inputs[: len(rows), 0])
            inputs[len(rows) :] = weights[:, None, None, None]
            return self._synthesis(inputs)[:, 0].astype(np.float32)

        for top, _, rows in _in_rows(part, *shape[1:], scale=HYPER_STRIDE):
            if out is None:
                out = np.empty((len(rows), height, width), np.float32)
            inside = out[:, HYPER_STRIDE * top :][:, : rows.shape[1]]
            inside[...] = rows[:, : inside.shape[1], :width]
        assert out is not None
        return out

    def expected_features(self, z: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """`features` of the mean of q(w | z_early), for what is not coded; z is [C, h, w] int."""
        hyper = self.posterior_outputs(z)[: self.hyper_channels]
        return self.features(hyper, weights, *z.shape[1:])

    def expected(
        self, z: np.ndarray, window: tuple[slice, slice], weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and columns of z [C, h, w] int, and about what coding says of them: means and log
        scales, [C, rows, columns] float32."""
        # Around it the neighbours that a convolution sees, from an even row and column on: parity
        # is counted from there. A feature depends on MARGIN cells of w, and they on one more of z.
        sides = list(zip(window, z.shape[1:], strict=True))
        near = [_grown(part, 2, size, 2) for part, size in sides]
        far = [
            _grown(part, HYPER_STRIDE * (MARGIN + 1), size, HYPER_STRIDE) for part, size in sides
        ]
        features = self.expected_features(z[:, far[0], far[1]], weights)
        rows, columns = map(_within, near, far)
        seen, features = z[:, near[0], near[1]], features[:, rows, columns]
        means, log_scales = np.empty((2, *seen.shape), np.float32)
        for group in self.groups:
            side = features if group.uses_hyper else None
            places, gaussians = self.group(group, seen, side, weights)
            for whole, values in ((means, gaussians.means), (log_scales, gaussians.log_scales)):
                plane = whole[group.start : group.stop].reshape(len(values), -1)
                plane[:, places] = values
        rows, columns = map(_within, window, near)
        return z[:, window[0], window[1]], means[:, rows, columns], log_scales[:, rows, columns]

    def group(
        self, group: Group, z: np.ndarray, features: np.ndarray | None, weights: np.ndarray
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
        positions, gaussians = [], []
        for places, out in self.outputs(group, z, features, weights):
            positions.append(places)
            gaussians.append(Gaussians(out[: len(out) // 2], out[len(out) // 2 :]))
        return np.concatenate(positions), Gaussians.join(gaussians)

    def outputs(
        self, group: Group, z: np.ndarray, features: np.ndarray | None, weights: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `group`, some rows at a time: flat positions [P], and means and log scales
        [2 channels, P] as the networks give them."""
        height, width = z.shape[1:]
        side = 0 if features is None else len(features)
        first = side + self.levels
        rows = max(4, POSITIONS // width)
        path: np.ndarray | float = 0.0
        if self._level_scale is not None:
            path = to_grid(weights @ self._level_scale[:, group.start : group.stop])[:, None]
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            above, below = max(0, top - 1), min(height, bottom + 1)
            checker = np.add.outer(np.arange(above, below), np.arange(width)) % 2
            channels = group.stop if group.parity else group.start
            inputs = np.empty((first + channels, below - above, width))
            if features is not None:
                inputs[:side] = features[:, above:below]
            inputs[side:first] = weights[:, None, None]
            latents_in = inputs[first:]
            latents_in[:] = z[:channels, above:below]
            latents_in[group.start :] *= checker == 0
            latents_in *= LATENT_INPUT_SCALE
            of_parity = checker[top - above : bottom - above].ravel() == group.parity
            places = np.flatnonzero(of_parity)
            out = self._parameters[group.index].at(inputs, places + (top - above) * width)
            out[len(out) // 2 :] += path
            yield places + top * width, out


class ExactPrior(Prior):
    """With bit-identical parameters everywhere."""

    convolution = ExactConv


class PlainPrior(Prior):
    """Nearly the same in half the time, for what only an encoder decides."""

    convolution = PlainConv


def _grown(part: slice, reach: int, size: int, step: int = 1) -> slice:
    """A part of an axis and what is around it, from a multiple of `step` on."""
    start = max(0, part.start // step * step - reach)
    return slice(start, min(size, -(-part.stop // step) * step + reach))


def _within(part: slice, whole: slice) -> slice:
    """The place of a part of an axis in a larger one."""
    return slice(part.start - whole.start, part.stop - whole.start)


def _in_rows(
    function: Callable[[int, int], np.ndarray], height: int, width: int, scale: int = 1
) -> Iterator[tuple[int, int, np.ndarray]]:
    """The values [C, scale * height, ...] of a function of rows top..bottom of w, some rows at a
    time: top and bottom of the rows of w, and what belongs to them."""
    step = max(MARGIN, HYPER_CELLS // width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        above = max(0, top - MARGIN)
        rows = function(above, min(height, bottom + MARGIN))
        yield top, bottom, rows[:, scale * (top - above) : scale * (bottom - above)]
