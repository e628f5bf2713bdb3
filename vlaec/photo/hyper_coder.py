"""w on the stack: the first symbols by bits-back, in full precision, the others in steps of STEP.

The posterior of w is at least two integers wide, and the network that reads w was trained with
samples of it. Bits-back gets the bits of that precision back. A symbol of w that no bits are left
to be drawn from would pay for it, some three bits; in steps about as wide as the posterior it need
not, and z pays hardly more. Which step costs least follows from Bayes' rule:

    -log p(z | w) = -log q(w | z) + log p(w) + what does not depend on w

Drawing pays a little more than steps do: .1 to .35 % of a file, more or less by chance (on 16
training photographs at eight qualities files were four words longer at worst).

Files of versions 1 and 2 have no steps. What they drew came from the coder's own Gaussians, of
which one symbol in 8 000 may be anything at all (`symbols.draw`): at quality 50 such a w made three
of Kodak's 24 files 13 to 27 % larger.
"""

from __future__ import annotations

import math

import numpy as np

from ..coding.ans import RESERVE_BITS, AnsCoder
from ..coding.gaussian import (
    ENTROPY_OF_UNIT,
    LATENT_BOUND,
    Gaussians,
    cell_bits,
    gaussian_bits,
)
from ..coding.symbols import StackReader, StackWriter, draw, push, put_back
from ..errors import BadFileError

# 3.8 of the narrowest posterior's standard deviations. On training photographs 6 and 10 made files
# .2 to 1.2 % larger. A power of two: dividing by it is exact.
STEP = 8


def in_steps(posterior: Gaussians, prior: Gaussians) -> np.ndarray:
    """The multiples of STEP [n] int32 that cost least, z included, of those near the posterior."""
    most = LATENT_BOUND // STEP
    nearest = np.clip(np.rint(posterior.means / STEP), 1 - most, most - 1)
    choices = nearest + np.array([[-1.0], [0.0], [1.0]])

    def distance(gaussians: Gaussians) -> np.ndarray:
        off: np.ndarray = (STEP * choices - gaussians.means) / gaussians.scales
        return off * off / (2 * math.log(2))  # bits

    means, scales = (np.broadcast_to(a / STEP, choices.shape) for a in (prior.means, prior.scales))
    bits = cell_bits(choices, means, scales) + distance(posterior) - distance(prior)
    best = np.take_along_axis(choices, bits.argmin(0)[None], 0)[0]
    return STEP * best.astype(np.int32)


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


def write(coder: StackWriter, w: np.ndarray, count: int, prior: Gaussians) -> None:
    """Write w [n], of which the first `count` were drawn."""
    coder.latents(prior[:count], w[:count])
    rest = prior[count:]
    coder.integers(rest.means / STEP, rest.scales / STEP, w[count:] // STEP)


def read(coder: StackReader, count: int, prior: Gaussians) -> np.ndarray:
    """Inverse of `write`: [n] int32."""
    drawn, rest = coder.latents(prior[:count], None), prior[count:]
    steps = coder.integers(rest.means / STEP, rest.scales / STEP)
    return np.concatenate([drawn, STEP * steps]).astype(np.int32)


def give_back(stack: AnsCoder, w: np.ndarray, posterior: Gaussians, within_reach: bool) -> None:
    """Push symbols that were drawn. `within_reach`: False for files of versions 1 and 2.

    Raises:
        BadFileError: no writer draws them.
    """
    if not within_reach:
        push(stack, w, posterior)
        return
    try:
        put_back(stack, posterior, w)
    except KeyError as error:
        raise BadFileError("damaged file: a symbol that no writer draws") from error


def least_bits(cell: Gaussians) -> float:
    """What the likeliest w costs per cell: no stack holds less."""
    means, scales = cell.means / STEP, cell.scales / STEP
    return float(cell_bits(np.rint(means), means, scales).sum())
