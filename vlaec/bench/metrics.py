"""Quality measured: metrics of a pair of pictures, of a set of pictures, and of a file.

Pictures are `[H, W, 3]` uint8. A metric that needs weights gets their folder (see
`metrics.perceptual.weights_dir`). Features of the original are kept while the same original is
compared again, which halves the cost of the deep ones. To add a metric, add an entry to `PAIRS`
or `SETS`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ..errors import UsageError
from .codecs import Codec

Compare = Callable[[np.ndarray, np.ndarray], "float | None"]
Features = Callable[[np.ndarray], np.ndarray]

GET_WEIGHTS = "bin/get-weights FOLDER, then --weights FOLDER"


@dataclass(frozen=True)
class Shown:
    """How any metric is named, drawn and compared."""

    title: str
    describe: str
    higher_is_better: bool = True
    digits: int = 3
    result_key: str = ""  # in CompressAI's result schema, where it differs from the name
    # "db": differences count by -10 log10(1 - value), as in the literature on MS-SSIM.
    scale: Literal["linear", "db"] = "linear"
    needs_torch: bool = True
    package: str = ""  # what to install where the import fails
    version: int = 1  # a higher one makes cached values of a lower one void

    def quality(self, values: np.ndarray) -> np.ndarray:
        """The values as a quantity that rises with quality, on the scale that averages compare."""
        quality = values if self.higher_is_better else -values
        return -10 * np.log10(np.maximum(1 - quality, 1e-9)) if self.scale == "db" else quality


@dataclass(frozen=True)
class PairMetric(Shown):
    """Original against reconstruction. `load` raises ImportError or FileNotFoundError."""

    load: Callable[[Path | None], Compare] = lambda weights: psnr


@dataclass(frozen=True)
class SetMetric(Shown):
    """All originals against all reconstructions of a row at a level.

    `load` gives a picture's features `[P, C]`, which are cached; `distance` compares the rows of
    two sets of them and raises ValueError for too few.
    """

    load: Callable[[Path | None], Features] = lambda weights: np.asarray
    distance: Callable[[np.ndarray, np.ndarray], float] = lambda a, b: 0.0


@dataclass(frozen=True)
class FileMetric(Shown):
    """A property of a codec's file; None where the codec has no such property."""

    measure: Callable[[Codec, bytes], float | None] = lambda codec, data: None


def _tensor(image: np.ndarray) -> Any:
    """`[H, W, 3]` uint8 to `[1, 3, H, W]` float in [0, 1]."""
    import torch

    return torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def psnr(original: np.ndarray, image: np.ndarray) -> float:
    """Peak signal to noise ratio in dB over all pixels and channels; infinite for equal ones."""
    error = float(np.mean((original.astype(np.float64) - image.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


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
    """A metric of `vlaec.metrics` that remembers the features of the last original."""

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


def _load_deep(name: str, *net: str) -> Callable[[Path | None], Compare]:
    def load(weights: Path | None) -> Compare:
        from ..metrics import perceptual

        return _Deep(getattr(perceptual, name).load(weights, *net))

    return load


class _Vgg:
    """The first four maps of VGG16, kept for the last two pictures: several metrics need them."""

    def __init__(self, weights: Path | None) -> None:
        from ..metrics.perceptual import LPIPS

        self.lpips = LPIPS.load(weights, "vgg")
        self.kept: list[tuple[np.ndarray, Any, list[Any]]] = []

    def __call__(self, image: np.ndarray) -> tuple[Any, list[Any]]:
        """`[H, W, 3]` uint8 to itself as a tensor and its maps."""
        import torch

        for picture, x, maps in self.kept:
            if picture is image:
                return x, maps
        x = _tensor(image)
        with torch.inference_mode():
            maps = self.lpips.net(x, stages=4)
        self.kept = [*self.kept[-1:], (image, x, maps)]
        return x, maps


_vgg = lru_cache(maxsize=1)(_Vgg)


def _load_wasserstein(sigma: float) -> Callable[[Path | None], Compare]:
    def load(weights: Path | None) -> Compare:
        import torch

        from ..metrics.wasserstein import WassersteinDistortion

        vgg = _vgg(weights)
        metric = WassersteinDistortion(vgg.lpips, sigma)
        last: list[tuple[np.ndarray, Any]] = []  # the original and its statistics

        def compare(original: np.ndarray, image: np.ndarray) -> float | None:
            if min(original.shape[:2]) < metric.min_side:
                return None
            with torch.inference_mode():
                if not last or last[0][0] is not original:
                    last[:] = [(original, metric.statistics(*vgg(original)))]
                return float(metric.distance(last[0][1], metric.statistics(*vgg(image))))

        return compare

    return load


PATCH = 64


def load_patch_features(weights: Path | None) -> Features:
    """`[H, W, 3]` uint8 to patch features `[P, 256]` float16; P is 0 for less than one patch."""
    from ..metrics.perceptual import patch_means

    vgg = _vgg(weights)

    def features(image: np.ndarray) -> np.ndarray:
        if min(image.shape[:2]) < PATCH:
            return np.zeros((0, 256), np.float16)
        _, maps = vgg(image)
        means: np.ndarray = patch_means(maps[2], PATCH).numpy().astype(np.float16)
        return means

    return features


def _frechet(a: np.ndarray, b: np.ndarray) -> float:
    from ..metrics.perceptual import frechet_distance

    return frechet_distance(a, b)


def _chance(codec: Codec, data: bytes) -> float | None:
    chance = getattr(codec, "chance", None)
    return chance(data) if chance else None


PAIRS: dict[str, PairMetric] = {
    "psnr": PairMetric(
        "PSNR (dB)",
        "Peak signal to noise ratio over RGB, of each picture, then averaged.",
        result_key="psnr-rgb",
        digits=2,
        needs_torch=False,
    ),
    "ms-ssim": PairMetric(
        "MS-SSIM",
        "Multi-scale structural similarity of RGB (pytorch-msssim).",
        load=_load_ms_ssim,
        result_key="ms-ssim-rgb",
        digits=4,
        scale="db",
        package="pytorch-msssim",
    ),
    "lpips": PairMetric(
        "LPIPS (AlexNet)",
        "Learned perceptual distance, version 0.1, AlexNet.",
        load=_load_deep("LPIPS", "alex"),
        higher_is_better=False,
    ),
    "lpips-vgg": PairMetric(
        "LPIPS (VGG)",
        "Learned perceptual distance, version 0.1, VGG16.",
        load=_load_deep("LPIPS", "vgg"),
        higher_is_better=False,
    ),
    "dists": PairMetric(
        "DISTS",
        "Structure and texture similarity on VGG16 features, at full size.",
        load=_load_deep("DISTS"),
        higher_is_better=False,
    ),
    "wd": PairMetric(
        "Wasserstein distortion",
        "Local means and deviations of VGG16 features and pixels in windows of sigma 8: resampled "
        "texture costs nothing, a blur does. Of all metrics here it agrees best with human choice.",
        load=_load_wasserstein(8.0),
        higher_is_better=False,
    ),
    "wd-4": PairMetric(
        "Wasserstein distortion, sigma 4",
        "The same in windows of sigma 4, nearer to a comparison place by place.",
        load=_load_wasserstein(4.0),
        higher_is_better=False,
    ),
    "ssimulacra2": PairMetric(
        "SSIMULACRA 2",
        "SSIMULACRA 2 by the Python port on PyPI (the same steps as libjxl's tool; its Gaussian "
        "is scipy's, so scores differ slightly). 100 is identical.",
        load=_load_ssimulacra2,
        digits=1,
        needs_torch=False,
        package="ssimulacra2",
    ),
}

SETS: dict[str, SetMetric] = {
    "fd": SetMetric(
        f"Frechet, {PATCH}px patches",
        "Realism: Frechet distance between originals and reconstructions over VGG16 relu3_3 "
        f"features (256), averaged over non-overlapping {PATCH}x{PATCH} patches of all pictures.",
        load=load_patch_features,
        distance=_frechet,
        higher_is_better=False,
        digits=1,
    ),
}

FILES: dict[str, FileMetric] = {
    "seeds": FileMetric(
        "Chance in texture",
        "Share of the texture's energy that another seed draws differently, 0 to 1 (vlaec only).",
        measure=_chance,
        higher_is_better=True,
        digits=3,
    ),
}

METRICS: dict[str, Shown] = {**PAIRS, **SETS, **FILES}


def stored(name: str) -> str:
    """The name under which a metric's values are cached: its version is in it from 2 on."""
    version = METRICS[name].version if name in METRICS else 1
    return name if version == 1 else f"{name}@{version}"


def load(name: str, weights: Path | None) -> object:
    """A metric, ready for use. Raises ImportError or FileNotFoundError with one line of advice."""
    metric = METRICS[name]
    try:
        if isinstance(metric, PairMetric | SetMetric):
            return metric.load(weights)
    except ModuleNotFoundError as error:
        package = metric.package if error.name != "torch" else ""
        raise ImportError(f"not installed; pip install {package or 'vlaec[torch]'}") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} ({GET_WEIGHTS})") from error
    return metric


def check_metrics(names: Iterable[str], weights: Path | None) -> dict[str, str]:
    """Which of the named metrics cannot be had, and why.

    Raises UsageError for an unknown name.
    """
    missing = {}
    for name in names:
        if name not in METRICS:
            raise UsageError(f"no metric {name!r}; there are {', '.join(METRICS)}")
        try:
            load(name, weights)
        except (ImportError, FileNotFoundError) as error:
            missing[name] = str(error)
    return missing
