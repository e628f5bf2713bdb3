"""Metrics against independent implementations, and where they have no value."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from vlaec.bench.metrics import PAIRS, check_metrics, psnr
from vlaec.errors import UsageError


def pair(side: int = 192, noise: float = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:side, :side]
    waves = 128 + 60 * np.sin(x / 9) * np.cos(y / 13) + rng.normal(0, 15, (side, side))
    original = np.clip(np.stack([waves, waves * 0.8, 255 - waves], 2), 0, 255).astype(np.uint8)
    image = original + rng.normal(0, noise, original.shape)
    return original, np.clip(image, 0, 255).round().astype(np.uint8)


def plain_ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """MS-SSIM after Wang et al. 2003, in numpy: per channel, then averaged. `[H, W, 3]`."""
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def blur(x: np.ndarray) -> np.ndarray:
        x = np.lib.stride_tricks.sliding_window_view(x, 11, 0) @ window
        return np.lib.stride_tricks.sliding_window_view(x, 11, 1) @ window

    values = []
    for channel in range(3):
        x, y = a[..., channel].astype(np.float64), b[..., channel].astype(np.float64)
        value = 1.0
        for scale, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
            if scale:
                x, y = (
                    v[: len(v) // 2 * 2, : len(v) // 2 * 2]
                    .reshape(len(v) // 2, 2, len(v) // 2, 2)
                    .mean((1, 3))
                    for v in (x, y)
                )
            mx, my = blur(x), blur(y)
            sx, sy, sxy = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
            contrast = (2 * sxy + c2) / (sx + sy + c2)
            luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
            value *= float((contrast * luminance if scale == 4 else contrast).mean()) ** weight
        values.append(value)
    return float(np.mean(values))


def test_psnr() -> None:
    original = np.zeros((4, 5, 3), np.uint8)
    assert psnr(original, original) == math.inf
    assert psnr(original, original + 5) == pytest.approx(10 * math.log10(255**2 / 25))
    assert psnr(original, original + 255) == 0


def test_ms_ssim_agrees_with_an_independent_implementation() -> None:
    pytest.importorskip("pytorch_msssim")
    original, image = pair()
    value = PAIRS["ms-ssim"].load(None)(original, image)
    assert value == pytest.approx(plain_ms_ssim(original, image), abs=1e-3)
    assert value is not None and 0.5 < value < 0.99


def test_ssimulacra2_is_100_for_equals_and_falls_with_noise() -> None:
    pytest.importorskip("ssimulacra2")
    compare = PAIRS["ssimulacra2"].load(None)
    original, slightly = pair(256, 3)
    _, strongly = pair(256, 25)
    assert compare(original, original) == pytest.approx(100)
    a, b = compare(original, slightly), compare(original, strongly)
    assert a is not None and b is not None and 100 > a > b


def test_small_pictures_have_no_value_where_the_metric_has_none() -> None:
    tiny = np.zeros((12, 12, 3), np.uint8)
    for name in ("ms-ssim", "ssimulacra2"):
        try:
            assert PAIRS[name].load(None)(tiny, tiny) is None
        except ImportError:
            continue


def test_missing_weights_are_said_and_unknown_names_refused(tmp_path: Path) -> None:
    missing = check_metrics(["psnr", "lpips", "dists", "fd"], tmp_path)
    assert list(missing) == ["lpips", "dists", "fd"]
    assert "lpips_alex.npz" in missing["lpips"]
    with pytest.raises(UsageError, match="vmaf"):
        check_metrics(["vmaf"], None)
