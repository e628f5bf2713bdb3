"""The sampler of textures: a law of key and place, whatever the threads and the bands."""

from __future__ import annotations

import numpy as np
import pytest
from photo_models import TINY, golden_graphs

from vlaec.coding.window import window_offsets
from vlaec.photo.sampler import BAND, TextureSampler, band_noise

FEATURES = TINY.features


def golden_sampler() -> TextureSampler:
    return TextureSampler(golden_graphs().draw, TINY, 1.0)


def random_features(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


def sampled(features: np.ndarray, key: int, first_band: int = 0) -> np.ndarray:
    sampler = golden_sampler()
    _, height, width = features.shape
    bands = range(first_band, first_band - (-height // BAND))
    return sampler.sample(features, sampler.noise(key, bands, min(BAND, height), width))


def test_bands_may_be_sampled_apart() -> None:
    features = random_features(FEATURES, 2 * BAND + 5, 6)
    together = sampled(features, key=5)
    for band in range(3):
        rows = slice(band * BAND, (band + 1) * BAND)
        alone = sampled(features[:, rows], key=5, first_band=band)
        np.testing.assert_allclose(alone, together[:, rows], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("count", ["1", "2", "3"])
def test_threads_do_not_matter(count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features = random_features(FEATURES, 2 * BAND + 5, 6)
    expected = sampled(features, key=5)
    monkeypatch.setenv("VLAEC_THREADS", count)
    np.testing.assert_allclose(sampled(features, key=5), expected, atol=1e-6, rtol=1e-4)


def test_the_seed_decides() -> None:
    features = random_features(FEATURES, 8, 8)
    first, again, other = (sampled(features, key=k) for k in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_noise_is_fixed_by_its_definition() -> None:
    gumbel, logistic = band_noise(key=2**40 + 17, band=3, width=5, mixtures=5)
    raw = np.random.Philox(key=2**40 + 17, counter=3 << 128).random_raw(2)
    first = int(raw[0]) & 0xFFFF
    assert gumbel[0, 0, 0].item() == pytest.approx(
        -np.log(-np.log((first + 0.5) / 65536)), abs=1e-5
    )
    assert gumbel.shape == (BAND, 5, 5) and logistic.shape == (BAND, 5, 3)
    assert np.abs(logistic).max() <= 5
    assert abs(logistic.mean()) < 0.1 and abs(gumbel.mean() - 0.577) < 0.1


@pytest.mark.parametrize(
    ("receptive_field", "count"), [("4x2", 4 + 2), ("5x3", 10 + 2), ("7x4", 21 + 3)]
)
def test_windows_of_the_paper(receptive_field: str, count: int) -> None:
    offsets = window_offsets(receptive_field)
    assert len(offsets) == count
    assert all(row < 0 or (row == 0 and column < 0) for row, column in offsets)
