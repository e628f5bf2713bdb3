"""Gaussians of the table: their scales, and what the coder charges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vlaec.coding.gaussian import (
    MAX_BITS,
    SCALES,
    Gaussians,
    cell_bits,
    normal_cdf,
)


def test_scale_table() -> None:
    np.testing.assert_allclose(np.log(SCALES), -2.25 + np.arange(64) / 8, atol=1e-4)
    g = Gaussians(np.zeros(3), np.array([-99.0, 0.0, 99.0]))
    assert g.indices.tolist() == [0, 18, 63]
    assert g.scales[1] == 1.0


def test_means_are_kept_on_their_grid() -> None:
    means = np.array([-16384.0, -1023.03, 0.03125, 0.09375, 16383.97])
    g = Gaussians(means, np.zeros(5))
    assert np.array_equal(g.means, np.rint(means * 16) / 16) and g.means.dtype == np.float64


def test_parts_and_wholes() -> None:
    g = Gaussians(np.arange(12.0).reshape(2, 6), np.arange(12.0).reshape(2, 6) / 8)
    both = Gaussians.join([g[:], g[:]])
    assert both.shape == (2, 12) and np.array_equal(both.means[:, :6], g.means)
    assert np.array_equal(g[1:].indices, g.indices[1:])


def test_normal_distribution_function() -> None:
    x = np.concatenate([np.linspace(-37, 9, 4001), [-60.0, 0.0, 60.0]])
    exact = [0.5 * math.erfc(-value / math.sqrt(2)) for value in x]
    np.testing.assert_allclose(normal_cdf(x), exact, rtol=1e-12, atol=0)


def test_bits_of_all_cells_are_those_of_one_symbol() -> None:
    symbols = np.arange(-300, 301)
    for scale in (0.2, 1.0, 30.0):
        bits = cell_bits(symbols, np.full(601, 0.3125), np.full(601, scale))
        kept = bits < MAX_BITS
        assert (2.0 ** -bits[kept]).sum() == pytest.approx(1, abs=1e-4)
        assert bits.max() <= MAX_BITS
