"""Perceptual distances: LPIPS, DISTS and a Frechet distance over patches.

All take pictures as float tensors `[N, 3, H, W]` in [0, 1], are differentiable, and hold their
weights in buffers, so an optimiser never finds a parameter to train. The networks are AlexNet and
VGG16 up to their fifth stage, read from `lpips_alex.npz`, `lpips_vgg.npz` and
`dists_alpha_beta.npz` (LPIPS v0.1 and the official DISTS weights).

Sources: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric"
(arXiv 1801.03924); Ding et al., "Image Quality Assessment: Unifying Structure and Texture
Similarity" (arXiv 2004.07728); Heusel et al., "GANs Trained by a Two Time-Scale Update Rule ..."
(arXiv 1706.08500) for the Frechet distance.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Conv(NamedTuple):
    stride: int
    padding: int


class _Architecture(NamedTuple):
    """Stages of convolutions; the feature map after each stage's last ReLU is what is compared."""

    stages: tuple[tuple[_Conv, ...], ...]
    pool_kernel: int  # max-pooling of stride 2 ...
    pooled_before: frozenset[int]  # ... in front of these stages
    min_side: int  # smaller pictures vanish in the pooling


_SAME = _Conv(1, 1)
ARCHITECTURES = {
    "alex": _Architecture(
        ((_Conv(4, 2),), (_Conv(1, 2),), (_SAME,), (_SAME,), (_SAME,)), 3, frozenset({1, 2}), 31
    ),
    "vgg": _Architecture(
        ((_SAME,) * 2, (_SAME,) * 2, (_SAME,) * 3, (_SAME,) * 3, (_SAME,) * 3),
        2,
        frozenset({1, 2, 3, 4}),
        16,
    ),
}

Arrays = dict[str, np.ndarray]


def weights_dir(path: str | Path | None = None) -> Path:
    """Folder of the perceptual weights: `path`, else $VLAEC_WEIGHTS, else $VLAEC_DATA/lpips.

    Raises FileNotFoundError if none of them is given or the folder does not exist.
    """
    if path is None:
        path = os.environ.get("VLAEC_WEIGHTS")
    if path is None and "VLAEC_DATA" in os.environ:
        path = Path(os.environ["VLAEC_DATA"]) / "lpips"
    if path is None:
        raise FileNotFoundError(
            "perceptual weights: give their folder, or set VLAEC_WEIGHTS or VLAEC_DATA"
        )
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"perceptual weights: no folder {folder}")
    return folder


def _read(folder: str | Path | None, name: str) -> Arrays:
    """The arrays of one weight file as float32. Raises FileNotFoundError if it is not there."""
    with np.load(weights_dir(folder) / name) as file:
        return {key: file[key].astype(np.float32) for key in file.files}


class _Backbone(nn.Module):
    """Frozen AlexNet or VGG16 that returns the five feature maps LPIPS and DISTS look at."""

    shift: Tensor
    scale: Tensor

    def __init__(
        self, arrays: Arrays, net: str, shift: Sequence[float], scale: Sequence[float]
    ) -> None:
        super().__init__()
        self.architecture = ARCHITECTURES[net]
        self._buffer("shift", torch.tensor(shift).view(1, 3, 1, 1))
        self._buffer("scale", torch.tensor(scale).view(1, 3, 1, 1))
        for index in range(sum(map(len, self.architecture.stages))):
            weight = torch.from_numpy(arrays[f"conv{index}_weight"])
            self._buffer(f"weight{index}", weight.to(memory_format=torch.channels_last))
            self._buffer(f"bias{index}", torch.from_numpy(arrays[f"conv{index}_bias"]))

    def _buffer(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def in_bfloat16(self) -> None:
        """Keep the weights of the convolutions in bfloat16, and so compute: for training."""
        for name, value in self.named_buffers():
            if name.startswith(("weight", "bias")):
                setattr(self, name, value.bfloat16())

    def forward(
        self, x: Tensor, pool: Callable[[Tensor], Tensor] | None = None, stages: int = 5
    ) -> list[Tensor]:
        """`[N, 3, H, W]` in [0, 1] to the feature maps of the first `stages` stages.

        `pool` replaces max-pooling. Raises ValueError for pictures the pooling would consume.
        """
        if min(x.shape[2:]) < self.architecture.min_side:
            raise ValueError(
                f"picture of {x.shape[3]}x{x.shape[2]} pixels: the network needs "
                f"{self.architecture.min_side} on each side"
            )
        x = ((x - self.shift) / self.scale).contiguous(memory_format=torch.channels_last)
        x = x.to(self.get_buffer("weight0").dtype)
        maps, index = [], 0
        for number, convs in enumerate(self.architecture.stages[:stages]):
            if number in self.architecture.pooled_before:
                x = pool(x) if pool else F.max_pool2d(x, self.architecture.pool_kernel, 2)
            for conv in convs:
                weight, bias = getattr(self, f"weight{index}"), getattr(self, f"bias{index}")
                x = F.relu(F.conv2d(x, weight, bias, conv.stride, conv.padding))
                index += 1
            maps.append(x)
        return maps


class LPIPS(nn.Module):
    """Learned perceptual distance, version 0.1; 0 for equal pictures, about 0.7 for a strong blur.

    `features` of a fixed reference can be computed once and reused in `distance`.
    """

    def __init__(self, arrays: Arrays, net: str) -> None:
        super().__init__()
        # LPIPS normalises x in [-1, 1] by shift (-.030, -.088, -.188), scale (.458, .448, .450):
        # here the same for x in [0, 1].
        self.net = _Backbone(arrays, net, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.min_side = self.net.architecture.min_side
        for layer in range(5):
            # The weights are non-negative, so their roots can be folded into the features.
            root = torch.from_numpy(np.sqrt(arrays[f"lin{layer}_weight"])).view(1, -1, 1, 1)
            self.register_buffer(f"root{layer}", root, persistent=False)

    @classmethod
    def load(cls, folder: str | Path | None = None, net: str = "alex") -> LPIPS:
        """The metric for `net` "alex" or "vgg" from `folder` (see `weights_dir`).

        Raises FileNotFoundError without weights and KeyError for another net.
        """
        if net not in ARCHITECTURES:
            raise KeyError(f"LPIPS has no net {net!r}; there are {', '.join(ARCHITECTURES)}")
        return cls(_read(folder, f"lpips_{net}.npz"), net)

    def in_bfloat16(self) -> LPIPS:
        """Itself, with convolutions in bfloat16: for training."""
        self.net.in_bfloat16()
        return self

    def features(self, x: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` in [0, 1] to five maps `[N, C, h, w]`, of unit length times root(lin)."""
        maps = []
        for layer, f in enumerate(self.net(x)):
            f = f.float()  # squares of bfloat16 lose what pictures differ by
            # The epsilon under the root keeps the gradient finite where every feature is zero.
            length = torch.rsqrt(f.square().sum(1, keepdim=True) + 1e-10)
            maps.append(f * length * getattr(self, f"root{layer}"))
        return maps

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        """Distances `[N]` between two lists of `features`."""
        layers = [(a - b).square().sum(1).mean((1, 2)) for a, b in zip(fa, fb, strict=True)]
        return torch.stack(layers).sum(0)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances `[N]` between pictures `[N, 3, H, W]` in [0, 1]."""
        return self.distance(self.features(a), self.features(b))


def _l2_pool(x: Tensor) -> Tensor:
    """Root of the Hann-weighted mean square over 3x3 at stride 2: DISTS' aliasing-free pooling."""
    window = x.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(window, window).expand(x.shape[1], 1, 3, 3)
    return (F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


class DISTS(nn.Module):
    """Structure and texture similarity as a distance in [0, 1]: tolerant of resampled texture.

    The pictures are compared at their own size; the authors' demonstration script first reduces
    the short side to 256 pixels, which codec papers do not.
    """

    alpha: Tensor
    beta: Tensor

    def __init__(self, vgg: Arrays, alpha_beta: Arrays) -> None:
        super().__init__()
        self.net = _Backbone(vgg, "vgg", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.min_side = self.net.architecture.min_side
        total = alpha_beta["alpha"].sum() + alpha_beta["beta"].sum()
        for name in ("alpha", "beta"):
            weight = torch.from_numpy(alpha_beta[name].reshape(-1) / total)
            self.register_buffer(name, weight, persistent=False)

    @classmethod
    def load(cls, folder: str | Path | None = None) -> DISTS:
        """The metric from `folder` (see `weights_dir`). Raises FileNotFoundError without it."""
        return cls(_read(folder, "lpips_vgg.npz"), _read(folder, "dists_alpha_beta.npz"))

    def features(self, x: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` in [0, 1] to six maps `[N, C, h, w]`, the first of them the picture."""
        return [x, *self.net(x, pool=_l2_pool)]

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        """Distances `[N]` between two lists of `features`."""
        c1 = c2 = 1e-6
        textures, structures = [], []
        for a, b in zip(fa, fb, strict=True):
            mean_a, mean_b = a.mean((2, 3)), b.mean((2, 3))
            da, db = a - mean_a[:, :, None, None], b - mean_b[:, :, None, None]
            variances = da.square().mean((2, 3)) + db.square().mean((2, 3))
            covariance = (da * db).mean((2, 3))
            textures.append((2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1))
            structures.append((2 * covariance + c2) / (variances + c2))
        return 1 - torch.cat(textures, 1) @ self.alpha - torch.cat(structures, 1) @ self.beta

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances `[N]` between pictures `[N, 3, H, W]` in [0, 1]."""
        return self.distance(self.features(a), self.features(b))


class PatchFeatures(nn.Module):
    """What `frechet_distance` compares: VGG16 relu3_3, averaged over non-overlapping patches.

    256 numbers per patch. Mean activations say how much of which texture a patch shows and not
    where, so resampled texture costs nothing and a blur does. At this depth the 24 Kodak photos
    give 2 304 patches of 64x64, enough for a covariance of 256 dimensions.
    """

    def __init__(self, vgg: Arrays, patch: int = 64) -> None:
        super().__init__()
        self.net = _Backbone(vgg, "vgg", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.patch = patch

    @classmethod
    def load(cls, folder: str | Path | None = None, patch: int = 64) -> PatchFeatures:
        """The features from `folder` (see `weights_dir`). Raises FileNotFoundError without it."""
        return cls(_read(folder, "lpips_vgg.npz"), patch)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, 3, H, W]` in [0, 1] to `[P, 256]`, P patches in all.

        Raises ValueError if the picture is smaller than a patch.
        """
        rows, columns = x.shape[2] // self.patch, x.shape[3] // self.patch
        if not rows * columns:
            raise ValueError(f"picture of {x.shape[3]}x{x.shape[2]} pixels: no whole patch")
        x = x[:, :, : rows * self.patch, : columns * self.patch]
        return patch_means(self.net(x, stages=3)[-1], self.patch)


def patch_means(relu3_3: Tensor, patch: int) -> Tensor:
    """Means `[P, C]` of a map `[N, C, h, w]` at stride 4 over whole patches of so many pixels."""
    return F.avg_pool2d(relu3_3, patch // 4).permute(0, 2, 3, 1).flatten(0, 2)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between Gaussians fitted to two samples `[P, D]` and `[Q, D]`.

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)) with A, B the covariances. Raises ValueError
    for fewer than two rows.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("a Frechet distance needs at least two patches on each side")
    a, b = a.astype(np.float64), b.astype(np.float64)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    # A^(1/2) B A^(1/2) is symmetric and has the eigenvalues of A B: no complex square root.
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root_a @ cov_b @ root_a), 0, None)).sum()
    difference = a.mean(0) - b.mean(0)
    return float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)
