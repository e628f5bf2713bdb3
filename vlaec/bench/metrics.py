"""Picture quality: every metric as a function of two 8-bit pictures `[H, W, 3]` uint8.

A metric that needs weights gets their folder (see `metrics.perceptual.weights_dir`). Features of
the original are kept while the same original is compared again, which halves the cost of the
deep ones.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UsageError

Compare = Callable[[np.ndarray, np.ndarray], "float | None"]


@dataclass(frozen=True)
class Metric:
    """What a metric is and how to get it. `load` raises ImportError or FileNotFoundError."""

    title: str
    describe: str
    load: Callable[[Path | None], Compare]
    higher_is_better: bool = True
    result_key: str = ""  # in CompressAI's result schema, where it differs from the name
    digits: int = 3


def _tensor(image: np.ndarray) -> Any:
    """`[H, W, 3]` uint8 to `[1, 3, H, W]` float in [0, 1]."""
    import torch

    return torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def psnr(original: np.ndarray, image: np.ndarray) -> float:
    """Peak signal to noise ratio in dB over all pixels and channels; infinite for equal ones."""
    error = float(np.mean((original.astype(np.float64) - image.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def _load_psnr(weights: Path | None) -> Compare:
    return psnr


def _load_ms_ssim(weights: Path | None) -> Compare:
    import torch
    from pytorch_msssim import ms_ssim

    def compare(original: np.ndarray, image: np.ndarray) -> float | None:
        if min(original.shape[:2]) <= 160:  # five scales of an 11-pixel window
            return None
        with torch.inference_mode():
            return float(ms_ssim(_tensor(original), _tensor(image), data_range=1.0))

    return compare


def _load_ssimulacra2(weights: Path | None) -> Compare:
    from ssimulacra2 import compute_ssimulacra2

    def as_file(image: np.ndarray) -> io.BytesIO:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "BMP")
        buffer.seek(0)
        return buffer

    def compare(original: np.ndarray, image: np.ndarray) -> float | None:
        if min(original.shape[:2]) < 8 * 2**5:  # smaller pictures lack scales of the six
            return None
        return float(compute_ssimulacra2(as_file(original), as_file(image)))

    return compare


class _Deep:
    """A metric of `vlaec.metrics.perceptual` that remembers the features of the last original."""

    def __init__(self, net: Any) -> None:
        self.net = net
        self.original: np.ndarray | None = None
        self.features: Any = None

    def __call__(self, original: np.ndarray, image: np.ndarray) -> float | None:
        import torch

        if min(original.shape[:2]) < self.net.min_side:
            return None
        with torch.inference_mode():
            if self.original is not original:
                self.original, self.features = original, self.net.features(_tensor(original))
            return float(self.net.distance(self.features, self.net.features(_tensor(image))))


def _load_lpips(net: str) -> Callable[[Path | None], Compare]:
    def load(weights: Path | None) -> Compare:
        from ..metrics.perceptual import LPIPS

        return _Deep(LPIPS.load(weights, net))

    return load


def _load_dists(weights: Path | None) -> Compare:
    from ..metrics.perceptual import DISTS

    return _Deep(DISTS.load(weights))


PATCH = 64
FRECHET = "fd"


def load_patch_features(weights: Path | None) -> Callable[[np.ndarray], np.ndarray]:
    """`[H, W, 3]` uint8 to patch features `[P, 256]` float16; P is 0 for less than one patch."""
    import torch

    from ..metrics.perceptual import PatchFeatures

    net = PatchFeatures.load(weights, PATCH)

    def features(image: np.ndarray) -> np.ndarray:
        if min(image.shape[:2]) < PATCH:
            return np.zeros((0, 256), np.float16)
        with torch.inference_mode():
            return net(_tensor(image)).numpy().astype(np.float16)

    return features


def _load_frechet(weights: Path | None) -> Compare:
    raise TypeError("a Frechet distance compares sets of pictures, not pairs")


METRICS: dict[str, Metric] = {
    "psnr": Metric(
        "PSNR (dB)",
        "Peak signal to noise ratio over RGB, of each picture, then averaged.",
        _load_psnr,
        result_key="psnr-rgb",
        digits=2,
    ),
    "ms-ssim": Metric(
        "MS-SSIM",
        "Multi-scale structural similarity of RGB (pytorch-msssim).",
        _load_ms_ssim,
        result_key="ms-ssim-rgb",
        digits=4,
    ),
    "lpips": Metric(
        "LPIPS (AlexNet)",
        "Learned perceptual distance, version 0.1, AlexNet.",
        _load_lpips("alex"),
        higher_is_better=False,
    ),
    "lpips-vgg": Metric(
        "LPIPS (VGG)",
        "Learned perceptual distance, version 0.1, VGG16.",
        _load_lpips("vgg"),
        higher_is_better=False,
    ),
    "dists": Metric(
        "DISTS",
        "Structure and texture similarity on VGG16 features, at full size.",
        _load_dists,
        higher_is_better=False,
    ),
    "ssimulacra2": Metric(
        "SSIMULACRA 2",
        "SSIMULACRA 2 by the Python port on PyPI (the same steps as libjxl's tool; its Gaussian "
        "is scipy's, so scores differ slightly). 100 is identical.",
        _load_ssimulacra2,
        digits=1,
    ),
    FRECHET: Metric(
        f"Frechet, {PATCH}px patches",
        "Realism: Frechet distance between originals and reconstructions over VGG16 relu3_3 "
        f"features (256), averaged over non-overlapping {PATCH}x{PATCH} patches of all pictures.",
        _load_frechet,
        higher_is_better=False,
        digits=1,
    ),
}


def check_metrics(names: list[str], weights: Path | None) -> dict[str, str]:
    """Which of the named metrics cannot be had, and why.

    Raises UsageError for an unknown name.
    """
    missing = {}
    for name in names:
        if name not in METRICS:
            raise UsageError(f"no metric {name!r}; there are {', '.join(METRICS)}")
        try:
            load_patch_features(weights) if name == FRECHET else METRICS[name].load(weights)
        except (ImportError, FileNotFoundError) as error:
            missing[name] = str(error)
    return missing
