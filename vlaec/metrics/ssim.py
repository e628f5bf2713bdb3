"""Multi-scale structural similarity (Wang, Simoncelli & Bovik 2003), differentiable."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Exponent of each scale, the finest first; the last also compares luminance.
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2
# Side of the smallest pictures: 3 pixels at the coarsest scale.
SMALLEST = 3 << (len(EXPONENTS) - 1)


def window_size(side: int) -> int:
    """The largest odd window up to 11 that fits the coarsest scale of pictures of `side` pixels.

    Raises:
        ValueError: not even 3 pixels fit.
    """
    if side < SMALLEST:
        raise ValueError(f"MS-SSIM needs pictures of {SMALLEST} pixels and more, not {side}")
    coarsest = side >> (len(EXPONENTS) - 1)
    return min(WINDOW, coarsest - 1 + coarsest % 2)


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM [N], at most 1, of pictures [N, C, H, W] in [0, 1]; averaged over channels.

    The definition's window of 11 pixels needs 176; smaller pictures (training crops) get a smaller
    one.

    Raises:
        ValueError: pictures below SMALLEST.
    """
    return MultiScaleSSIM(b)(a)


class MultiScaleSSIM:
    """MS-SSIM to one `original` [N, C, H, W] in [0, 1], whose statistics are computed once.

    No gradient goes to the original. `finest`: the first scale that is looked at; without the
    finest of all, which counts least, most of the work is spared.

    Raises:
        ValueError: pictures below SMALLEST.
    """

    def __init__(self, original: Tensor, finest: int = 0) -> None:
        size = window_size(min(original.shape[2:]))
        taps = torch.arange(size, device=original.device) * 1.0
        self.window = torch.softmax(-((taps - taps.mean()) ** 2) / (2 * SIGMA**2), 0)
        self.finest = finest
        self.scales = []
        b = original.detach().float()
        for scale in range(len(EXPONENTS)):
            b = _halved(b) if scale else b
            mean, square = _blur(torch.cat([b, b * b]), self.window).chunk(2)
            self.scales.append((b, mean, square - mean**2))

    def __call__(self, a: Tensor) -> Tensor:
        """MS-SSIM [N] of other pictures [N, C, H, W]."""
        a = a.float()
        total = torch.ones_like(a[:, :, 0, 0])  # [N, C]
        for scale, exponent in enumerate(EXPONENTS):
            a = _halved(a) if scale else a
            if scale < self.finest:
                continue
            luminance, contrast = self._ssim(a, *self.scales[scale])
            kept = luminance * contrast if scale == len(EXPONENTS) - 1 else contrast
            # Where structures oppose each other the power is not defined, and at 0 it has no slope.
            total = total * kept.mean((2, 3)).clamp_min(1e-4) ** exponent
        return total.mean(1)

    def _ssim(self, a: Tensor, b: Tensor, mean_b: Tensor, var_b: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of the luminance term and the contrast-structure term, each [N, C, h, w]."""
        # All in one filter: on GPUs each of its passes costs as much as starting it.
        mean_a, square, product = _blur(torch.cat([a, a * a, a * b]), self.window).chunk(3)
        var_a, covariance = square - mean_a**2, product - mean_a * mean_b
        luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
        return luminance, (2 * covariance + C2) / (var_a + var_b + C2)


def _halved(x: Tensor) -> Tensor:
    """Means of 2x2; an odd side is completed by zeros, as in the other implementations."""
    return F.avg_pool2d(x, 2, padding=[side % 2 for side in x.shape[2:]])


def _blur(x: Tensor, window: Tensor) -> Tensor:
    blurred: Tensor = _Blur.apply(x, window)
    return blurred


class _Blur(torch.autograd.Function):
    """Separable filter without padding, [N, C, H, W], by a symmetric window.

    The gradient is written down because it arrives in a memory layout in which autograd's own takes
    CPUs several times as long.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Tensor) -> Tensor:
        ctx.save_for_backward(window)
        return _filtered(x, window)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (window,) = ctx.saved_tensors
        return _filtered(F.pad(gradient, [len(window) - 1] * 4), window), None


def _filtered(x: Tensor, window: Tensor) -> Tensor:
    channels, taps = x.shape[1], len(window)
    down = window.view(1, 1, taps, 1).expand(channels, 1, taps, 1)
    across = window.view(1, 1, 1, taps).expand(channels, 1, 1, taps)
    x = x.contiguous(memory_format=torch.channels_last)
    # Variances are small differences of large numbers: no bfloat16 here.
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(F.conv2d(x, down, groups=channels), across, groups=channels)
