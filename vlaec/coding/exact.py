"""Networks on a fixed grid, where every machine computes the same probabilities.

float32 cannot do this: one convolution gives different bits for AVX-512, AVX2 and SSE. Here
weights are multiples of 2^-16, activations are rounded to multiples of 2^-12 and clamped to
+-1024 after every convolution, so each partial sum is a multiple of 2^-28 below 2^25 and float64
holds it exactly, in whatever order it is added (compare Balle et al. 2019, integer networks).
Convolutions are matrix products on gathered inputs: Winograd and FFT algorithms would round. What
stands between two convolutions (sums, clamps, ReLU, shuffles, powers of two) treats elements one by
one and so gives the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..threads import free, one_blas_thread, spread

WEIGHT_GRID = 2.0**16
ACTIVATION_GRID = 2.0**12
ACTIVATION_BOUND = 1024.0
_ROUNDER = 1.5 * 2.0**52 / ACTIVATION_GRID
# Positions per matrix product: they stay in the cache, and no result depends on their number.
CHUNK = 1024
# Positions that a thread of their own is worth.
WORTH_A_THREAD = 256

# Columns of flat positions; see `ExactConv.seen`.
Seen = Callable[[np.ndarray], np.ndarray]


class GridError(ValueError):
    """Weights too large for exact sums."""


class ExactConv:
    """A convolution of odd kernel with zero padding, float64 on the activation grid.

    Raises:
        GridError: a sum could exceed what float64 holds exactly.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """From weights [out, in, k, k], as they are used, and biases [out]."""
        self.kernel = weight.shape[2]
        # Taps before channels: then every tap of a window is one copy.
        taps = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
        self.weight, self.bias = self._prepare(taps, bias[:, None])  # [out, k * k * in], [out, 1]

    def _prepare(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight, bias = (round_weight(part.astype(np.float64)) for part in (weight, bias))
        largest = np.abs(weight).sum(1) * ACTIVATION_BOUND + np.abs(bias[:, 0])
        if not (largest < 2.0**25).all():
            raise GridError("the weights are too large for exact arithmetic")
        return weight, bias

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[in, N, H, W] on the grid (see `to_grid`) -> [out, N, H, W] on the same grid; any
        number of axes may follow the channels where the kernel is 1x1."""
        if self.kernel == 1:
            return self._pointwise(x)
        n, height, width = x.shape[1:]
        padded = self._pad(x)
        out = self._empty(len(self.bias), *x.shape[1:])
        images, rows = max(1, CHUNK // (height * width)), max(1, CHUNK // width)

        def part(start: tuple[int, int]) -> None:
            image, top = start
            several, bottom = slice(image, image + images), min(top + rows, height)
            # [k * k, in, images, rows, W], filled by copies of shifted parts
            window = np.empty((self.kernel**2, len(x), min(images, n - image), bottom - top, width))
            for tap, target in enumerate(window):
                down, right = divmod(tap, self.kernel)
                target[...] = padded[:, several, top + down : bottom + down, right : right + width]
            shape = window.shape[2:]
            columns = window.reshape(self.weight.shape[1], -1)
            out[:, several, top:bottom] = self._product(columns).reshape(-1, *shape)

        with one_blas_thread():
            starts = [(i, top) for i in range(0, n, images) for top in range(0, height, rows)]
            spread(part, starts)
        return out

    def seen(self, x: np.ndarray) -> Seen:
        """What gives, of [in, H, W] and flat positions [P], the columns [k * k * in, P] that
        `columns` takes."""
        if self.kernel == 1:
            own = x.reshape(len(x), -1)
            return lambda positions: own[:, positions]
        padded = self._pad(x[:, None])
        stride, width = padded.shape[3], x.shape[2]
        flat = padded.reshape(len(x), -1)
        steps = np.arange(self.kernel)
        taps = (steps[:, None] * stride + steps).ravel()

        def gathered(positions: np.ndarray) -> np.ndarray:
            # Flat index in the padded plane of the top-left tap of every position's window.
            corner = positions // width * stride + positions % width
            window = self._empty(len(taps), len(flat), len(corner))
            for shift, target in zip(taps, window, strict=True):
                np.take(flat, corner + shift, axis=1, out=target, mode="clip")
            return window.reshape(self.weight.shape[1], -1)

        return gathered

    def _empty(self, *shape: int) -> np.ndarray:
        return np.empty(shape)

    def columns(self, x: np.ndarray) -> np.ndarray:
        """[k * k * in, M] on the grid -> [out, M] by one product in the calling thread."""
        return self._product(x)

    def _pad(self, x: np.ndarray) -> np.ndarray:
        margin = self.kernel // 2
        c, n, height, width = x.shape
        padded = self._empty(c, n, height + 2 * margin, width + 2 * margin)
        padded[...] = 0
        padded[:, :, margin : margin + height, margin : margin + width] = x
        return padded

    def _pointwise(self, x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), -1)
        out = self._empty(len(self.bias), flat.shape[1])

        def part(start: int) -> None:
            out[:, start : start + CHUNK] = self._product(flat[:, start : start + CHUNK])

        with one_blas_thread():
            spread(part, range(0, flat.shape[1], CHUNK))
        return out.reshape(len(out), *x.shape[1:])

    def _product(self, columns: np.ndarray) -> np.ndarray:
        """weight @ columns + bias on the grid."""
        out = self.weight @ columns
        out += self.bias
        return to_grid(out, out)


class PlainConv(ExactConv):
    """A convolution in float32 without a grid, twice as fast: for what only an encoder decides."""

    def _prepare(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return weight.astype(np.float32), bias.astype(np.float32)

    def _empty(self, *shape: int) -> np.ndarray:
        return np.empty(shape, np.float32)

    def _product(self, columns: np.ndarray) -> np.ndarray:
        out = self.weight @ columns.astype(np.float32, copy=False)
        out += self.bias
        return out


Layer = Callable[[np.ndarray], np.ndarray]


class ExactNetwork:
    """Layers in sequence, [C, N, H, W] -> [C', N, H', W']."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The output for an input on the activation grid."""
        for layer in self.layers:
            x = layer(x)
        return x

    def at(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The output at flat `positions` [P] alone, [C, H, W] -> [C', P].

        Only for networks whose one convolution wider than 1x1 is the first.
        """
        first, *rest = self.layers
        assert isinstance(first, ExactConv)
        seen = first.seen(x)
        parts = max(1, -(-len(positions) // CHUNK), min(free(), len(positions) // WORTH_A_THREAD))

        def part(places: np.ndarray) -> np.ndarray:
            out = first.columns(seen(places))
            for layer in rest:
                out = layer(out)
            return out

        with one_blas_thread():
            return np.concatenate(spread(part, np.array_split(positions, parts)), 1)


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0), in place."""
    return np.maximum(x, 0, out=x)


def unshuffle(factor: int) -> Layer:
    """torch's pixel-unshuffle, [C, N, H, W] -> [C f f, N, H / f, W / f]."""

    def layer(x: np.ndarray) -> np.ndarray:
        c, n, height, width = x.shape
        split = x.reshape(c, n, height // factor, factor, width // factor, factor)
        return split.transpose(0, 3, 5, 1, 2, 4).reshape(
            c * factor**2, n, height // factor, width // factor
        )

    return layer


def shuffle(factor: int) -> Layer:
    """torch's pixel-shuffle, the inverse of `unshuffle`."""

    def layer(x: np.ndarray) -> np.ndarray:
        c, n, height, width = x.shape
        split = x.reshape(c // factor**2, factor, factor, n, height, width)
        return split.transpose(0, 3, 4, 1, 5, 2).reshape(
            c // factor**2, n, height * factor, width * factor
        )

    return layer


def to_grid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Round to the activation grid and clamp; into `out`, which may be x itself.

    x lies within +-2^39, as all exact sums do.
    """
    # Numbers around `_ROUNDER` are the grid's distance apart: the sum rounds, halves to even.
    out = np.add(x, _ROUNDER, out=out)
    np.subtract(out, _ROUNDER, out=out)
    return np.clip(out, -ACTIVATION_BOUND, ACTIVATION_BOUND, out=out)


def round_weight(weight: np.ndarray) -> np.ndarray:
    """Round to the weight grid."""
    rounded: np.ndarray = np.rint(weight * WEIGHT_GRID) / WEIGHT_GRID
    return rounded
