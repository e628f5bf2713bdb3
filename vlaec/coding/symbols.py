"""Who decides on a symbol: a stack that it is popped from, an original, or chance.

A model walks its distributions in one order and asks a coder for every symbol. A `StackWriter` is
told the symbols and pushes them afterwards, last first; a `StackReader` pops them; a `Sampler`
draws them with Philox noise. So one walk serves encoding, decoding and sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import constriction
import numpy as np

from .ans import AnsCoder, require
from .cells import pop_latents, push_latents
from .gaussian import LATENT_BOUND, SCALES, Gaussians, cell_bits
from .student import student_bits

INTEGER_BOUND = 2047
# Symbols whose bits are counted at a time: bounds memory.
BITS_COUNTED = 2**20
# Standard deviations around the mean that a draw may take.
REACH = 6.5

_INTEGERS = constriction.stream.model.QuantizedGaussian(-INTEGER_BOUND, INTEGER_BOUND)
_LATENTS = constriction.stream.model.QuantizedGaussian(-LATENT_BOUND, LATENT_BOUND)
_CLASSES = constriction.stream.model.Categorical(perfect=False)


def push(stack: AnsCoder, symbols: np.ndarray, gaussians: Gaussians) -> None:
    """Push integers within +-LATENT_BOUND of the shape of `gaussians`."""
    means, scales = gaussians.means.ravel(), gaussians.scales.ravel()
    stack.encode_reverse(symbols.ravel().astype(np.int32), _LATENTS, means, scales)


def pop(stack: AnsCoder, gaussians: Gaussians) -> np.ndarray:
    """Inverse of `push`: integers int32 of the shape of `gaussians`."""
    symbols = stack.decode(_LATENTS, gaussians.means.ravel(), gaussians.scales.ravel())
    return np.asarray(symbols).reshape(gaussians.shape)


def draw(stack: AnsCoder, gaussians: Gaussians) -> np.ndarray:
    """Pop integers [...] int32 where they are to be drawn at random, from bits without meaning.

    constriction gives every symbol 2^-24 at least, so of thousands of draws from +-INTEGER_BOUND
    one would be anything at all. Here the symbols are distances of at most REACH standard
    deviations from the rounded mean, scale by scale.
    """
    means, scales = gaussians.means, gaussians.scales
    drawn = np.rint(means).astype(np.int32)
    for index, at in _by_scale(gaussians):
        mean = means[at] - drawn[at]
        drawn[at] += stack.decode(_around(index), mean, scales[at])
    return drawn


def put_back(stack: AnsCoder, gaussians: Gaussians, drawn: np.ndarray) -> None:
    """Inverse of `draw`.

    Raises:
        KeyError: numbers that `draw` does not give.
    """
    means, scales = gaussians.means, gaussians.scales
    base = np.rint(means).astype(np.int32)
    for index, at in reversed(_by_scale(gaussians)):
        mean = means[at] - base[at]
        stack.encode_reverse((drawn - base)[at].astype(np.int32), _around(index), mean, scales[at])


def _by_scale(gaussians: Gaussians) -> list[tuple[int, np.ndarray]]:
    return [(int(i), gaussians.indices == i) for i in np.unique(gaussians.indices)]


def _around(index: int) -> Any:
    reach = math.ceil(REACH * SCALES[index])
    return constriction.stream.model.QuantizedGaussian(-reach, reach)


class ClassCoder(Protocol):
    """Decides on symbols of categorical distributions."""

    def classes(self, masses: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
        """Symbols [...] int32 of distributions with integer `masses` [..., S], each above 0 and
        their sums below 2^53; they are `truth` when encoding."""
        ...


class SymbolCoder(ClassCoder, Protocol):
    """Decides on integers as well."""

    def integers(
        self, means: np.ndarray, scales: np.ndarray, truth: np.ndarray | None
    ) -> np.ndarray:
        """Integers [...] int32 within +-INTEGER_BOUND, Gaussian with float64 `means` and `scales`
        of the same shape; they are `truth` when encoding."""
        ...


class LatentCoder(Protocol):
    """Decides on latents."""

    def latents(self, gaussians: Gaussians, truth: np.ndarray | None) -> np.ndarray:
        """Integers [...] int32 within +-LATENT_BOUND of the shape of `gaussians`, whose means and
        scales they have; they are `truth` when encoding."""
        ...


class StackWriter:
    """Takes symbols in the order in which they will be popped; `flush` pushes them."""

    def __init__(self) -> None:
        self._pushes: list[Callable[[AnsCoder], None]] = []
        self._bits = 0.0
        # Integers, means and scales whose bits are counted together, when they are asked for.
        self._uncounted: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    @property
    def bits(self) -> float:
        """The model's -log2 p of all symbols so far."""
        if self._uncounted:
            together = (np.concatenate(parts) for parts in zip(*self._uncounted, strict=True))
            self._bits += float(cell_bits(*together).sum())
            self._uncounted.clear()
        return self._bits

    def classes(self, masses: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
        assert truth is not None
        symbols = truth.astype(np.int32)
        taken = np.take_along_axis(masses, symbols[..., None].astype(np.int64), -1)[..., 0]
        self._bits += float(np.log2(masses.sum(-1) / taken).sum())
        rows = masses.reshape(-1, masses.shape[-1])
        self._pushes.append(lambda stack: stack.encode_reverse(symbols.ravel(), _CLASSES, rows))
        return symbols

    def integers(
        self, means: np.ndarray, scales: np.ndarray, truth: np.ndarray | None
    ) -> np.ndarray:
        assert truth is not None
        symbols = truth.astype(np.int32)
        given = symbols.ravel(), means.ravel(), scales.ravel()
        self._uncounted.append(given)
        self._pushes.append(lambda stack: stack.encode_reverse(given[0], _INTEGERS, *given[1:]))
        return symbols

    def latents(self, gaussians: Gaussians, truth: np.ndarray | None) -> np.ndarray:
        assert truth is not None
        step = max(1, BITS_COUNTED * len(truth) // max(1, truth.size))
        for start in range(0, len(truth), step):
            part = slice(start, start + step)
            self._bits += float(student_bits(truth[part], gaussians[part]).sum())
        latents = truth.astype(np.int16)  # large pictures have many
        self._pushes.append(lambda stack: push_latents(stack, latents, gaussians))
        return truth

    def flush(self, stack: AnsCoder) -> None:
        """Push all symbols that have not been pushed yet."""
        for push in reversed(self._pushes):
            push(stack)
        self._pushes.clear()


class StackReader:
    """Pops symbols."""

    def __init__(self, stack: AnsCoder) -> None:
        self.stack = stack

    def classes(self, masses: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
        rows = np.ascontiguousarray(masses).reshape(-1, masses.shape[-1])
        return np.asarray(self.stack.decode(_CLASSES, rows)).reshape(masses.shape[:-1])

    def integers(
        self, means: np.ndarray, scales: np.ndarray, truth: np.ndarray | None = None
    ) -> np.ndarray:
        symbols = self.stack.decode(_INTEGERS, means.ravel(), scales.ravel())
        return np.asarray(symbols).reshape(means.shape)

    def latents(self, gaussians: Gaussians, truth: np.ndarray | None = None) -> np.ndarray:
        return pop_latents(self.stack, gaussians)


class FirstReader(StackReader):
    """Pops what versions 1 and 2 of the format hold: their latents are Gaussian."""

    def latents(self, gaussians: Gaussians, truth: np.ndarray | None = None) -> np.ndarray:
        if gaussians.indices.size:
            require(self.stack)
        return pop(self.stack, gaussians)


class Sampler:
    """Draws symbols. Every image has a stream of its own, so it does not matter which images are
    drawn together: Philox (Salmon et al. 2011) with the image's number as the counter's third
    word, whose raw output is fixed by its definition."""

    def __init__(self, key: int, first: int, images: int, draws: int) -> None:
        """For `images` images from number `first` on, of `draws` symbols each."""
        streams = [
            np.random.Philox(key=key, counter=image << 128).random_raw(-(-draws // 2))
            for image in range(first, first + images)
        ]
        self._noise = np.stack(streams).astype("<u8").view("<u4")
        self._used = 0

    def classes(self, masses: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
        """`masses` [N, n, S] for the next n symbols of every image."""
        stop = self._used + masses.shape[1]
        uniform = (self._noise[:, self._used : stop] + 0.5) / 2.0**32  # [N, n]
        self._used = stop
        upper = np.cumsum(masses, -1)
        symbols: np.ndarray = (upper <= uniform[..., None] * upper[..., -1:]).sum(-1)
        return symbols.astype(np.int32)
