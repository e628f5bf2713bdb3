"""w on the stack: the first symbols by bits-back, in full precision, the others in steps of STEP.

The posterior of w is at least two integers wide, and the network that reads w was trained with
samples of it. Bits-back gets the bits of that precision back. A symbol of w that no bits are left
to be drawn from would pay for it, some three bits; in steps about as wide as the posterior it need
not, and z pays hardly more. Which step costs least follows from Bayes' rule:

    -log p(z | w) = -log q(w | z) + log p(w) + what does not depend on w

The model's p(w) has all symbols of a channel alike and independent. They are neither, so w is coded
with more: each mean moves with the left and the upper neighbour, and each channel's variance is
what it has been in this picture, beside the model's. It saves 1.5 % of a file of quality 5, .4 % at
30 and .2 % at 45 (training photographs), as much as coefficients of its own for every channel.

Drawing pays a little more than steps do: .1 to .5 % of a file from quality 20 on, more or less by
chance (on 22 training photographs at five qualities a file was six words longer at worst).

Files of versions 1 and 2 have neither. What they drew came from the coder's own Gaussians, of
which one symbol in 8 000 may be anything at all (`symbols.draw`): at quality 50 such a w made three
of Kodak's 24 files 13 to 27 % larger.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..coding.ans import RESERVE_BITS, AnsCoder
from ..coding.gaussian import (
    ENTROPY_OF_UNIT,
    LATENT_BOUND,
    MEAN_GRID,
    Gaussians,
    cell_bits,
    gaussian_bits,
)
from ..coding.symbols import SymbolCoder, draw, push, put_back
from ..errors import BadFileError

# 3.8 of the narrowest posterior's standard deviations. On training photographs 6 and 10 made files
# .2 to 1.2 % larger. A power of two: dividing by it is exact.
STEP = 8
# Sixteenths of a neighbour's distance from the channel's mean: least squares on training
# photographs, at all qualities.
LEFT, UP = 5, 3
# The model's variance counts as half of what this many symbols would have shown.
MODEL_COUNT = 8
# w is hardly ever more certain, and a picture can hardly be smaller in bytes than this makes it.
LEAST_SCALE = STEP / 4

# Symbols [C, L] of w for places [C, L] in flat w, given the means and scales of the context there.
Choice = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def affordable(stack: AnsCoder, posterior: Gaussians) -> int:
    """How many symbols, the first ones of the posterior, the stack can seed."""
    available = float(stack.num_valid_bits() - RESERVE_BITS)
    expected = np.cumsum(np.log2(posterior.scales) + ENTROPY_OF_UNIT)
    count = int(np.searchsorted(expected, available, side="right"))
    while count > 0:
        first = posterior[:count]
        drawn = draw(stack.clone(), first)
        outside = np.flatnonzero(np.abs(drawn) > LATENT_BOUND)
        excess = float(gaussian_bits(drawn, first).sum()) - available
        if len(outside):
            count = int(outside[0])
        elif excess > 0:
            count -= math.ceil(excess / ENTROPY_OF_UNIT)
        else:
            return count
    return 0


def write(
    coder: SymbolCoder,
    drawn: np.ndarray,
    posterior: Gaussians,
    prior: Gaussians,
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Write w, of which the first symbols were drawn, and return it: [C * h * w] int32.

    Args:
        coder: a `StackWriter`, for instance.
        drawn: the symbols drawn, [n].
        posterior: q(w | z_early), flat over `shape`.
        prior: p(w) of one cell, flat over its channels.
        shape: of w, [C, h, w].
    """

    def choose(places: np.ndarray, means: np.ndarray, scales: np.ndarray) -> np.ndarray:
        whole = prior.take(np.broadcast_to(np.arange(len(places))[:, None], places.shape))
        chosen = in_steps(posterior.take(places), whole, means, scales)
        first = places < len(drawn)
        chosen[first] = drawn[places[first]]
        return chosen

    return _walk(coder, prior, shape, len(drawn), choose)


def read(
    coder: SymbolCoder, count: int, prior: Gaussians, shape: tuple[int, int, int]
) -> np.ndarray:
    """Inverse of `write`, where `count` symbols were drawn."""
    return _walk(coder, prior, shape, count, None)


def in_steps(
    posterior: Gaussians, prior: Gaussians, means: np.ndarray, scales: np.ndarray
) -> np.ndarray:
    """The multiples of STEP that cost least, z included, of those near the posterior.

    Args:
        posterior: q(w | z_early) of symbols of any shape.
        prior: what the model says of them.
        means, scales: what they are coded with.
    """
    most = LATENT_BOUND // STEP - 1
    # A cell's mass is about the density of a Gaussian that is wider by the cell's own variance.
    own = 1 / (scales**2 + STEP**2 / 12)
    after, before = 1 / posterior.scales**2, 1 / prior.scales**2
    of_z = np.where(after > before, after * posterior.means - before * prior.means, 0)
    precision = own + np.maximum(after - before, 0)
    nearest = np.rint((own * means + of_z) / precision / STEP)
    return STEP * np.clip(nearest, -most, most).astype(np.int32)


def _walk(
    coder: SymbolCoder,
    prior: Gaussians,
    shape: tuple[int, int, int],
    count: int,
    choose: Choice | None,
) -> np.ndarray:
    """Let `coder` decide on w, one diagonal after the other, and return it flat."""
    channels, height, width = shape
    means, variances = prior.means[:, None], prior.scales**2
    w = np.zeros(channels * height * width, np.int32)
    off = np.zeros((channels, height + 1, width + 1))  # w less its mean, after a row and a column
    squares, seen = np.zeros(channels), 0
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        places = (np.arange(channels)[:, None] * height + y) * width + x
        # Of multiples of 1/16 all sums are exact.
        moved = np.rint(LEFT * off[:, y + 1, x] + UP * off[:, y, x + 1]) / MEAN_GRID
        variance = (MODEL_COUNT / 2 * variances + squares) / (MODEL_COUNT + seen)
        scale = np.maximum(np.sqrt(variance), LEAST_SCALE)[:, None]
        expected, scales = means + moved, np.broadcast_to(scale, places.shape)
        steps = np.where(places < count, 1, STEP)
        truth = None if choose is None else choose(places, expected, scales) // steps
        found = steps * coder.integers(expected / steps, scales / steps, truth)
        w[places] = found
        off[:, y + 1, x + 1] = found - means
        squares += ((found - expected) ** 2).sum(1)
        seen += len(y)
    return w


def give_back(stack: AnsCoder, w: np.ndarray, posterior: Gaussians, first_versions: bool) -> None:
    """Push symbols that were drawn. `first_versions`: as in files of versions 1 and 2.

    Raises:
        BadFileError: no writer draws them.
    """
    if first_versions:
        push(stack, w, posterior)
        return
    try:
        put_back(stack, posterior, w)
    except KeyError as error:
        raise BadFileError("damaged file: a symbol that no writer draws") from error


def least_bits(shape: tuple[int, int, int]) -> float:
    """What w of a shape [C, h, w] takes at least: no stack holds less."""
    likeliest = cell_bits(np.zeros(1), np.zeros(1), np.full(1, LEAST_SCALE / STEP))
    return math.prod(shape) * float(likeliest[0])
