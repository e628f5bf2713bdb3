"""Student's t of integers: its distribution, and latents on a stack."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlaec.coding.ans import new_stack
from vlaec.coding.cells import pop_latents, push_latents
from vlaec.coding.gaussian import LATENT_BOUND, SCALES, Gaussians
from vlaec.coding.student import (
    DEGREES,
    NEAR,
    OFFSETS,
    REACHES,
    TOTAL,
    WIDTHS,
    cdf,
    masses,
    student_bits,
)
from vlaec.errors import BadFileError

MASSES = "e4bdfc217115809d2c6a3186e98a2b47a240a28d800e3b9ba7b348f83482b190"


def student(t: np.ndarray) -> np.ndarray:
    """The distribution function by its integral, Gauss-Legendre over the angle arctan(t / sqrt n):
    the density there is proportional to cos^(n - 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    half = np.arctan(np.asarray(t, float) / np.sqrt(DEGREES))[..., None] / 2
    area = (half * weights * np.cos(half * (nodes + 1)) ** (DEGREES - 1)).sum(-1)
    factor = math.gamma((DEGREES + 1) / 2) / math.gamma(DEGREES / 2) / math.sqrt(math.pi)
    below: np.ndarray = 0.5 + factor * area
    return below


def test_distribution_function() -> None:
    t = np.concatenate([np.linspace(-40, 40, 4001), [-1e4, 1e4]])
    np.testing.assert_allclose(cdf(t), student(t), rtol=0, atol=1e-14)
    assert cdf(np.array([1.859548])) == pytest.approx(0.95, abs=1e-7)  # from printed tables


@pytest.mark.parametrize("index", [0, 1, 20, 63])
def test_masses_are_whole_and_those_of_the_distribution(index: int) -> None:
    table = masses(index)
    assert table.shape == (OFFSETS, 2 * REACHES[index] + 2)
    assert (table >= 1).all() and (table == np.rint(table)).all()
    for row, offset in enumerate(np.arange(-8, 8) / 16):
        edges = np.arange(-REACHES[index], REACHES[index] + 2) - 0.5 - offset
        exact = np.diff(student(edges / WIDTHS[index]))
        assert (np.abs(table[row, 1:] - TOTAL * exact) <= 1).all()
        assert abs(table[row, 0] - TOTAL * (1 - exact.sum())) <= 1


def test_all_masses_are_those_of_the_format() -> None:
    """Files use few of them. A decoder on another machine must have the same ones."""
    digest = hashlib.sha256()
    for index in range(len(SCALES)):
        digest.update(masses(index).astype("<i4").tobytes())
    assert digest.hexdigest() == MASSES


def gaussians_of(seed: int, count: int, spread: float) -> Gaussians:
    rng = np.random.default_rng(seed)
    return Gaussians(rng.normal(0, spread, count), rng.uniform(-3, 6, count))


counts = st.integers(0, 200)
spreads = st.sampled_from([0.5, 50.0, 3000.0])


@given(st.integers(0, 2**32), counts, spreads, st.lists(st.integers(0, 2**32 - 1), max_size=40))
@settings(max_examples=60, deadline=None)
def test_pop_undoes_push(seed: int, count: int, spread: float, below: list[int]) -> None:
    """Near a mean and beyond reach, with whatever is below on the stack."""
    gaussians = gaussians_of(seed, count, spread)
    near = np.clip(np.rint(gaussians.means), -LATENT_BOUND, LATENT_BOUND).astype(np.int32)
    far = np.random.default_rng(seed).integers(-LATENT_BOUND, LATENT_BOUND + 1, count)
    for latents in (near, far.astype(np.int32), np.full(count, LATENT_BOUND, np.int32)):
        words = np.array([*below, 1], np.uint32)
        stack = new_stack(words)
        push_latents(stack, latents, gaussians)
        assert np.array_equal(pop_latents(stack, gaussians), latents)
        assert np.array_equal(stack.get_compressed(), words)


@given(st.integers(0, 2**32), spreads)
@settings(max_examples=30, deadline=None)
def test_bits_are_those_of_the_stack(seed: int, spread: float) -> None:
    gaussians = gaussians_of(seed, 3000, spread)
    rng = np.random.default_rng(seed)
    latents = np.rint(gaussians.means + gaussians.scales * rng.normal(0, 1.2, 3000))
    latents = np.clip(latents, -LATENT_BOUND, LATENT_BOUND).astype(np.int32)
    stack = new_stack()
    push_latents(stack, latents, gaussians)
    bits = student_bits(latents, gaussians).sum()
    assert stack.num_valid_bits() == pytest.approx(bits, rel=2e-3, abs=40)


def test_bits_that_are_looked_up_are_those_of_the_masses() -> None:
    """On both sides of the table's edge and of a symbol's reach, for every scale."""
    for index in range(len(SCALES)):
        table = masses(index)[OFFSETS // 2]
        for distance in (0, 1, NEAR // 16 - 1, NEAR // 16, NEAR // 16 + 1, 900):
            g = Gaussians(np.zeros(1), np.log(SCALES[index : index + 1]))
            reach = int(REACHES[index])
            beyond = distance > reach
            mass = table[0 if beyond else 1 + reach + distance] / TOTAL
            expected = -math.log2(mass) + beyond * math.log2(2 * LATENT_BOUND + 1)
            (bits,) = student_bits(np.array([distance]), g)
            # A mass is whole: where it is small, its rounding shows.
            assert bits == pytest.approx(expected, abs=1 / (TOTAL * mass))


def test_a_latent_beyond_the_bound_is_refused() -> None:
    gaussians = Gaussians(np.full(1, 1500.0), np.zeros(1))
    stack = new_stack(np.array([2**31 - 1] * 3, np.uint32))
    with pytest.raises(BadFileError, match="beyond the bound"):
        pop_latents(stack, gaussians)
    with pytest.raises(BadFileError, match="before the last symbol"):
        pop_latents(new_stack(), gaussians)
