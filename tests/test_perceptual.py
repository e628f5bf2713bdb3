"""LPIPS, DISTS and the Frechet distance: values, gradients, and behaviour at the edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from PIL import Image  # noqa: E402

from vlaec.metrics.perceptual import (  # noqa: E402
    DISTS,
    LPIPS,
    PatchFeatures,
    frechet_distance,
    weights_dir,
)


def blurred(x: torch.Tensor) -> torch.Tensor:
    """A 5x5 box blur, rounded to 8 bits."""
    y = F.avg_pool2d(x, 5, 1, 2, count_include_pad=False)
    return (y * 255).round() / 255


def noise_pair(side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(np.random.default_rng(5).random((1, 3, side, side), np.float32))
    return x, blurred(x)


def plain_conv(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, pad: int) -> np.ndarray:
    """Convolution and ReLU of `[C, H, W]` by windows and a dot product, in float64."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (1, 2))[
        :, ::stride, ::stride
    ]
    return np.maximum(np.einsum("chwij,ocij->ohw", windows, w, optimize=True) + b[:, None, None], 0)


def plain_lpips_alex(a: np.ndarray, b: np.ndarray, weights: Path) -> float:
    """LPIPS as the paper words it, in numpy, for `[3, H, W]` in [0, 1]."""
    file = np.load(weights / "lpips_alex.npz")
    shift = np.array([-0.030, -0.088, -0.188])[:, None, None]
    scale = np.array([0.458, 0.448, 0.450])[:, None, None]
    maps = []
    for picture in (a, b):
        x = (picture.astype(np.float64) * 2 - 1 - shift) / scale
        features = []
        for i, (stride, pad) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]):
            if i in (1, 2):
                x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2]
                x = x.max((3, 4))
            weight = file[f"conv{i}_weight"].astype(np.float64)
            x = plain_conv(x, weight, file[f"conv{i}_bias"], stride, pad)
            features.append(x / (np.sqrt((x**2).sum(0)) + 1e-10))
        maps.append(features)
    return sum(
        float((((fa - fb) ** 2) * file[f"lin{i}_weight"][:, None, None]).sum(0).mean())
        for i, (fa, fb) in enumerate(zip(*maps, strict=True))
    )


def test_lpips_agrees_with_an_independent_implementation(perceptual_weights: Path) -> None:
    a, b = noise_pair()
    expected = plain_lpips_alex(a[0].numpy(), b[0].numpy(), perceptual_weights)
    assert LPIPS.load(perceptual_weights)(a, b).item() == pytest.approx(expected, abs=1e-4)


def test_official_values_on_a_blurred_photo(perceptual_weights: Path, kodak: list[Path]) -> None:
    """Values of the authors' own code (lpips 0.1.4, DISTS_pytorch 0.1) on the same pair."""
    with Image.open(kodak[0]) as image:
        pixels = np.array(image)[:192, :256]
    a = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    b = blurred(a)
    assert LPIPS.load(perceptual_weights, "alex")(a, b).item() == pytest.approx(0.38668, abs=1e-4)
    assert LPIPS.load(perceptual_weights, "vgg")(a, b).item() == pytest.approx(0.35153, abs=1e-4)
    assert DISTS.load(perceptual_weights)(a, b).item() == pytest.approx(0.24475, abs=1e-4)


@pytest.mark.parametrize("metric", ["alex", "vgg", "dists"])
def test_zero_for_equals_and_finite_gradients(metric: str, perceptual_weights: Path) -> None:
    folder = perceptual_weights
    net = DISTS.load(folder) if metric == "dists" else LPIPS.load(folder, metric)
    a, b = noise_pair()
    black = torch.zeros_like(a)
    assert net(a, a).item() == pytest.approx(0, abs=1e-5)
    batch = torch.cat([b, black]).requires_grad_()
    values = net.distance(net.features(torch.cat([a, a])), net.features(batch))
    assert values.shape == (2,)
    values.sum().backward()
    assert batch.grad is not None and bool(batch.grad.isfinite().all())
    assert not list(net.parameters()) and not net.state_dict()


def test_too_small_pictures_and_unknown_nets_are_named(perceptual_weights: Path) -> None:
    net = LPIPS.load(perceptual_weights)
    with pytest.raises(ValueError, match="30x40"):
        net.features(torch.zeros(1, 3, 40, 30))
    assert net(torch.zeros(1, 3, net.min_side, net.min_side), torch.zeros(1, 3, 31, 31)).item() == 0
    with pytest.raises(KeyError, match="squeeze"):
        LPIPS.load(perceptual_weights, "squeeze")


def test_patch_features(perceptual_weights: Path) -> None:
    net = PatchFeatures.load(perceptual_weights, patch=32)
    a, _ = noise_pair(80)
    assert net(a).shape == (4, 256)
    with pytest.raises(ValueError, match="no whole patch"):
        net(a[:, :, :20])


def test_frechet_distance_of_known_gaussians() -> None:
    """For commuting covariances: |m|^2 + sum (sqrt(a) - sqrt(b))^2."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((4000, 3))
    base = (base - base.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(base.T))).T
    a, b = base * [1, 2, 3] + [1, 0, 0], base * [2, 2, 1]
    assert frechet_distance(a, b) == pytest.approx(1 + 1 + 0 + 4, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="two patches"):
        frechet_distance(a[:1], b)


def test_weights_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lpips").mkdir()
    monkeypatch.delenv("VLAEC_WEIGHTS", raising=False)
    monkeypatch.delenv("VLAEC_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="VLAEC_WEIGHTS"):
        weights_dir()
    monkeypatch.setenv("VLAEC_DATA", str(tmp_path))
    assert weights_dir() == tmp_path / "lpips"
    monkeypatch.setenv("VLAEC_WEIGHTS", str(tmp_path))
    assert weights_dir() == tmp_path
    with pytest.raises(FileNotFoundError, match="absent"):
        weights_dir(tmp_path / "absent")
