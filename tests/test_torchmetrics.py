"""LPIPS and DISTS against torchmetrics, which has layers and linear weights of its own.

Its backbones come from torchvision, which loads weights from a server; the same stacks of plain
torch layers stand in for them here, with the convolutions of the weight files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("torchmetrics")

from torchmetrics.functional.image import dists, lpips

from vlaec.metrics.perceptual import DISTS, LPIPS

# torchvision's features: channels, kernel, stride, padding of convolutions; None is max-pooling.
ALEX = [(64, 11, 4, 2), None, (192, 5, 1, 2), None]
ALEX += [(384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1), None]
VGG = [(64, 3, 1, 1)] * 2 + [None] + [(128, 3, 1, 1)] * 2 + [None]
VGG += [(256, 3, 1, 1)] * 3 + [None] + [(512, 3, 1, 1)] * 3 + [None] + [(512, 3, 1, 1)] * 3 + [None]


def features(path: Path, layers: list[tuple[int, int, int, int] | None], pool: int) -> nn.Module:
    """A backbone with the weights of a file."""
    stack: list[nn.Module] = []
    before, index = 3, 0
    with np.load(path) as file:
        for layer in layers:
            if layer is None:
                stack.append(nn.MaxPool2d(pool, 2))
                continue
            channels, kernel, stride, padding = layer
            conv = nn.Conv2d(before, channels, kernel, stride, padding)
            weight = file[f"conv{index}_weight"].astype(np.float32)
            conv.load_state_dict(
                {
                    "weight": torch.from_numpy(weight),
                    "bias": torch.from_numpy(file[f"conv{index}_bias"]),
                }
            )
            stack += [conv, nn.ReLU()]
            before, index = channels, index + 1
    return nn.Sequential(*stack)


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    a = nn.functional.interpolate(coarse, (96, 128), mode="bicubic").clamp(0, 1)
    return a, (a + 0.1 * torch.randn(a.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize(("net", "layers", "pool"), [("alex", ALEX, 3), ("vgg", VGG, 2)])
def test_lpips(
    net: str,
    layers: list[tuple[int, int, int, int] | None],
    pool: int,
    perceptual_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = features(perceptual_weights / f"lpips_{net}.npz", layers, pool)
    monkeypatch.setattr(lpips, "_get_tv_model_features", lambda name, pretrained: stack)
    a, b = pair()
    expected = lpips._LPIPS(net=net)(a, b, normalize=True).item()
    assert expected > 0.05
    assert LPIPS.load(perceptual_weights, net)(a, b).item() == pytest.approx(expected, rel=1e-4)


def test_dists(perceptual_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Backbone:
        def __init__(self, weights: object) -> None:
            self.features = features(perceptual_weights / "lpips_vgg.npz", VGG, 2)

    class Weights:
        DEFAULT = None

    for name, value in (("vgg16", Backbone), ("VGG16_Weights", Weights)):
        monkeypatch.setattr(dists, name, value, raising=False)
    monkeypatch.setattr(dists, "_TORCHVISION_AVAILABLE", True)
    a, b = pair()
    expected = dists.deep_image_structure_and_texture_similarity(a, b).item()
    assert expected > 0.05
    assert DISTS.load(perceptual_weights)(a, b).item() == pytest.approx(expected, rel=1e-3)
