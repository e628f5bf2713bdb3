"""p(x | z) of small images as integer masses, the same on every machine.

exp and softmax differ between libraries, so both come from tables that `decimal` computes, with
arguments rounded to the tables' steps. All masses are integers below 2^53 in float64: their sums
are exact in any order. What is not exact (two products and a quotient) is one correctly rounded
operation each, which IEEE 754 fixes.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..coding.symbols import ClassCoder
from ..networks.set_config import SetConfig
from ..networks.set_pixels import LEVEL_LOG_MAX, LEVEL_LOG_MIN, LOGIT_BOUND, MIDDLE, split_mixture

# The logistic function, 1 / (1 + exp(-i / 512)) in units of 2^-28, for |i| / 512 <= 17: there it
# is closer to its limits than the coder's smallest probability, 2^-24.
LOGISTIC_STEPS = 512
LOGISTIC_RANGE = 17
ONE = 2.0**28
# Scales of the logistics: exp(LEVEL_LOG_MIN + i / 16).
LEVEL_STEPS = 16
# Weights of the mixture's components: exp(-i / 64) in units of 2^-20.
WEIGHT_STEPS = 64
WEIGHT_ONE = 2.0**20
# Components that the sums have room for: 2^53 / (ONE * WEIGHT_ONE).
MAX_MIXTURES = 32
# A level is coded as one of 16 cells of 16 levels, then as one of the 16.
COARSE = 16

_COARSE_EDGES = COARSE * np.arange(1, COARSE) - 0.5  # [15]
_FINE_EDGES = np.arange(COARSE + 1) - 0.5  # [17]


@lru_cache(maxsize=1)
def logistic_table() -> np.ndarray:
    """[2 * LOGISTIC_RANGE * LOGISTIC_STEPS + 1] float64, in units of 2^-28."""
    context = Context(prec=60)
    ratio = context.exp(context.divide(Decimal(-1), Decimal(LOGISTIC_STEPS)))
    power, upper = Decimal(1), []
    for _ in range(LOGISTIC_RANGE * LOGISTIC_STEPS + 1):
        upper.append(_round(context.divide(Decimal(ONE), 1 + power)))
        power = context.multiply(power, ratio)
    return np.array([ONE - value for value in upper[:0:-1]] + upper)


@lru_cache(maxsize=1)
def inverse_scale_table() -> np.ndarray:
    """LOGISTIC_STEPS * exp(-LEVEL_LOG_MIN - i / LEVEL_STEPS), in units of 2^-12."""
    count = round((LEVEL_LOG_MAX - LEVEL_LOG_MIN) * LEVEL_STEPS) + 1
    exponents = (Decimal(-LEVEL_LOG_MIN) - Decimal(i) / LEVEL_STEPS for i in range(count))
    unit = LOGISTIC_STEPS * 2**12
    return np.array([_round(unit * x.exp(Context(prec=60))) for x in exponents]) / 2**12


@lru_cache(maxsize=1)
def weight_table() -> np.ndarray:
    """exp(-i / WEIGHT_STEPS) in units of 2^-20, down to the first that is 1."""
    count = round(WEIGHT_STEPS * 13.875) + 1
    context = Context(prec=60)
    exponents = (Decimal(-i) / WEIGHT_STEPS for i in range(count))
    return np.array([_round(int(WEIGHT_ONE) * x.exp(context)) for x in exponents])


def _round(x: Decimal) -> float:
    return float(x.to_integral_value())


def logistic(scaled: np.ndarray) -> np.ndarray:
    """The logistic function, in units of 2^-28, of arguments in units of 1 / LOGISTIC_STEPS.

    Overwrites `scaled`.
    """
    bound = LOGISTIC_RANGE * LOGISTIC_STEPS
    np.clip(np.rint(scaled, out=scaled), -bound, bound, out=scaled)
    values: np.ndarray = logistic_table().take(scaled.astype(np.int32) + bound)
    return values


def code_pixels(
    config: SetConfig, outputs: Tensor, coder: ClassCoder, known: np.ndarray | None
) -> np.ndarray:
    """Values of pixels whose network outputs are [1, P, N, n] float64, on the activation grid.

    `known` and the result are [N, C, n] uint8: 0 and 1, or levels 0..255.
    """
    if config.kind == "binary":
        return _code_binary(outputs[0, 0].numpy(), coder, known)
    return _code_colour(outputs, coder, known)


def _code_binary(logits: np.ndarray, coder: ClassCoder, known: np.ndarray | None) -> np.ndarray:
    """From logits [N, n]."""
    ones = logistic(np.clip(logits, -LOGIT_BOUND, LOGIT_BOUND) * LOGISTIC_STEPS)
    masses = np.stack([ONE - ones, ones], 2)  # [N, n, 2]
    symbols = coder.classes(masses, None if known is None else known[:, 0])
    return symbols.astype(np.uint8)[:, None]


def _code_colour(outputs: Tensor, coder: ClassCoder, known: np.ndarray | None) -> np.ndarray:
    """Red, then green given red, then blue given both: [N, 3, n]."""
    mixture = split_mixture(outputs)
    steps = ((mixture.log_scales[0] - LEVEL_LOG_MIN) * LEVEL_STEPS).round().to(torch.int64)
    inverses = inverse_scale_table()[steps.numpy()]  # [3, K, N, n]
    means, coefficients = mixture.means[0].numpy(), mixture.coefficients[0].numpy()
    weights = _weights(mixture.logits[0].numpy())  # [K, N, n]
    n, size = weights.shape[1:]
    levels = np.empty((n, 3, size), np.uint8)
    centred: list[np.ndarray] = []  # the colours so far
    for channel, first in enumerate((0, 0, 1)):
        shift = sum(coefficients[first + i] * value for i, value in enumerate(centred))
        given = None if known is None else known[:, channel]
        centres = means[channel] + shift
        value, weights = _code_level(centres, inverses[channel], weights, coder, given)
        levels[:, channel] = value
        centred.append(value - MIDDLE)
    return levels


def _weights(logits: np.ndarray) -> np.ndarray:
    """exp(logits - their maximum) from the table: [K, ...] integers up to 2^20."""
    table = weight_table()
    below = np.rint((logits.max(0) - logits) * WEIGHT_STEPS)
    weights: np.ndarray = table.take(np.minimum(below, len(table) - 1).astype(np.int32))
    return weights


def _code_level(
    centres: np.ndarray,
    inverses: np.ndarray,
    weights: np.ndarray,
    coder: ClassCoder,
    known: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """One colour of pixels from its K logistics, all [K, N, n].

    Returns:
        the levels [N, n] int32, and the components' weights once those are known.
    """

    def below(edges: np.ndarray) -> np.ndarray:
        """The components' masses below `edges` [..., E]: [K, N, n, E]."""
        return logistic((edges - centres[..., None]) * inverses[..., None])

    def mixed(parts: np.ndarray) -> np.ndarray:
        """Weighted masses [N, n, E - 1] of the cells between E edges."""
        sums = parts[0] * weights[0][..., None]
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            sums += part * weight[..., None]
        return np.diff(sums)

    # 0 and 255 own the tails. One unit for each level leaves none impossible.
    inner = below(_COARSE_EDGES)
    ends = (np.zeros_like(inner[..., :1]), np.full_like(inner[..., :1], ONE))
    coarse_masses = mixed(np.concatenate([ends[0], inner, ends[1]], -1)) + COARSE
    coarse = coder.classes(coarse_masses, None if known is None else known // COARSE)

    parts = below(COARSE * coarse[..., None] + _FINE_EDGES)  # [K, N, n, 17]
    parts[..., 0][:, coarse == 0] = 0.0
    parts[..., COARSE][:, coarse == COARSE - 1] = ONE
    fine = coder.classes(mixed(parts) + 1, None if known is None else known % COARSE)

    cell = np.take_along_axis(np.diff(parts), fine[None, ..., None].astype(np.int64), -1)[..., 0]
    joint = weights * (cell + 1)  # [K, N, n]: p(component, colours so far), up to a factor
    return COARSE * coarse + fine, np.rint(joint / joint.max(0) * WEIGHT_ONE)
