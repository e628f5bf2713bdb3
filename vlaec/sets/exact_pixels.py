"""p(x | z) of small images as integer masses, the same on every machine.

exp and softmax differ between libraries, so both come from tables that `decimal` computes, with
arguments rounded to the tables' steps. All masses are integers below 2^53 in float64: their sums
are exact in any order. What is not exact (two products and a quotient) is one correctly rounded
operation each, which IEEE 754 fixes.
"""

from __future__ import annotations

from collections.abc import Generator
from decimal import Context, Decimal
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from ..networks.set_config import SetConfig
from ..networks.set_units import (
    COEFFICIENT_BOUND,
    LEVEL_LOG_MAX,
    LEVEL_LOG_MIN,
    LEVEL_LOG_START,
    LEVEL_UNIT,
    LOGIT_BOUND,
    MEAN_BOUND,
    MIDDLE,
)

# The logistic function, 1 / (1 + exp(-i / 512)) in units of 2^-28, for |i| / 512 <= 17: there it
# is closer to its limits than the coder's smallest probability, 2^-24.
LOGISTIC_STEPS = 512
LOGISTIC_RANGE = 17
# Place of the logistic of 0 in its table. It is even, so it changes no rounding of halves.
_CENTRE = float(LOGISTIC_RANGE * LOGISTIC_STEPS)
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
    return _look_up(np.add(scaled, _CENTRE, out=scaled))


def _look_up(places: np.ndarray) -> np.ndarray:
    """Entries of `logistic_table` at the whole numbers nearest to `places`, which it overwrites."""
    index = np.rint(places, out=places).astype(np.intp)
    values: np.ndarray = logistic_table().take(index, mode="clip")
    return values


# A generator that yields masses [M, S] of one symbol of M pixels, is sent those symbols [M], and
# after the last one returns the pixels' values [C, M] uint8.
Distributions: TypeAlias = Generator[np.ndarray, np.ndarray, np.ndarray]


def distributions(config: SetConfig, outputs: np.ndarray) -> Distributions:
    """Symbol after symbol of M pixels, from network outputs [P, M] on the activation grid.

    A binary pixel is one symbol; each level of a colour is two, the cell and the level in it.
    """
    if config.kind == "binary":
        return _binary(outputs[0])
    return _colour(outputs)


def symbols_of(config: SetConfig, values: np.ndarray) -> list[np.ndarray]:
    """The symbols [N, n] that `distributions` asks for, from pixels [N, C, n] uint8."""
    if config.kind == "binary":
        return [values[:, 0].astype(np.int32)]
    levels = values.astype(np.int32)
    return [half(levels[:, i], COARSE) for i in range(3) for half in (np.floor_divide, np.mod)]


def _binary(logits: np.ndarray) -> Distributions:
    """From logits [M]."""
    ones = logistic(np.clip(logits, -LOGIT_BOUND, LOGIT_BOUND) * LOGISTIC_STEPS)
    symbols = yield np.stack([ONE - ones, ones], -1)
    return symbols.astype(np.uint8)[None]


def _colour(outputs: np.ndarray) -> Distributions:
    """Red, then green given red, then blue given both; outputs as `set_pixels.split_mixture`
    takes them."""
    k = len(outputs) // 10
    means, log_scales, coefficients = outputs[k:].reshape(3, 3, k, -1)  # each [3, K, M]
    means = np.clip(means, -MEAN_BOUND, MEAN_BOUND) * LEVEL_UNIT + MIDDLE
    log_scales = np.clip(log_scales + LEVEL_LOG_START, LEVEL_LOG_MIN, LEVEL_LOG_MAX)
    steps = np.rint((log_scales - LEVEL_LOG_MIN) * LEVEL_STEPS).astype(np.intp)
    inverses = inverse_scale_table()[steps]
    coefficients = np.clip(coefficients, -COEFFICIENT_BOUND, COEFFICIENT_BOUND)
    weights = _weights(outputs[:k])
    levels = np.empty((3, outputs.shape[1]), np.uint8)
    centred: list[np.ndarray] = []  # the colours so far
    for channel, first in enumerate((0, 0, 1)):
        centres = means[channel]
        for i, value in enumerate(centred):
            centres += coefficients[first + i] * value
        logistics = _Logistics(centres, inverses[channel], weights)
        coarse = yield logistics.coarse_masses()
        fine = yield logistics.fine_masses(coarse)
        level = COARSE * coarse + fine
        levels[channel] = level
        if channel < 2:
            weights = logistics.weights_given(level)
            centred.append(level - MIDDLE)
    return levels


def _weights(logits: np.ndarray) -> np.ndarray:
    """exp(logits - their maximum) from the table: [K, ...] integers up to 2^20."""
    below = np.rint((logits.max(0) - logits) * WEIGHT_STEPS)
    weights: np.ndarray = weight_table().take(below.astype(np.intp), mode="clip")
    return weights


class _Logistics:
    """One colour of M pixels as a mixture of K logistics, all arguments [K, M].

    0 and 255 own the tails. One unit of mass for each level leaves none impossible.
    """

    def __init__(self, centres: np.ndarray, inverses: np.ndarray, weights: np.ndarray) -> None:
        # Products of 24 bits each: neither they nor their sums are rounded.
        self._inverses, self._weights = inverses, weights
        self._bases = _CENTRE - centres * inverses
        self._total = ONE * weights.sum(0)

    def coarse_masses(self) -> np.ndarray:
        """[M, 16]."""
        sums = np.empty((COARSE + 1, len(self._total)))
        sums[0], sums[-1] = 0, self._total
        sums[1:-1] = self._mixed(_COARSE_EDGES[:, None])
        return _cells(sums, COARSE)

    def fine_masses(self, coarse: np.ndarray) -> np.ndarray:
        """[M, 16], of the levels of cells [M]."""
        sums = self._mixed(COARSE * coarse + _FINE_EDGES[:, None])
        sums[0, coarse == 0] = 0
        last = coarse == COARSE - 1
        sums[-1, last] = self._total[last]
        return _cells(sums, 1)

    def weights_given(self, level: np.ndarray) -> np.ndarray:
        """The components' weights [K, M] once the level [M] is told."""
        lower, upper = (
            _look_up((level + side) * self._inverses + self._bases) for side in (-0.5, 0.5)
        )
        lower[:, level == 0] = 0
        upper[:, level == 255] = ONE
        # p(component, colours so far), up to a factor.
        joint = self._weights * (upper - lower + 1)
        weights: np.ndarray = np.rint(joint / joint.max(0) * WEIGHT_ONE)
        return weights

    def _mixed(self, edges: np.ndarray) -> np.ndarray:
        """Weighted masses [E, M] below edges [E, 1] or [E, M]."""
        sums = np.zeros((len(edges), len(self._total)))
        places = np.empty_like(sums)
        for inverse, base, weight in zip(self._inverses, self._bases, self._weights, strict=True):
            np.multiply(edges, inverse, out=places)
            np.add(places, base, out=places)
            part = _look_up(places)
            part *= weight
            sums += part
        return sums


def _cells(sums: np.ndarray, least: int) -> np.ndarray:
    """Masses [M, E - 1] between edges from those below them [E, M], each with `least` more."""
    masses = np.ascontiguousarray(np.diff(sums, axis=0).T)
    masses += least
    return masses
