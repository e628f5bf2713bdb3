"""Multi-scale structural similarity (Wang, Simoncelli & Bovik 2003), differentiable."""

from __future__ import annotations

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
    # Variances are small differences of large numbers: no bfloat16 here.
    with torch.autocast(a.device.type, enabled=False):
        return _ms_ssim(a.float(), b.float())


def _ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    taps = torch.arange(window_size(min(a.shape[2:])), device=a.device) * 1.0
    window = torch.softmax(-((taps - taps.mean()) ** 2) / (2 * SIGMA**2), 0)
    total = torch.ones_like(a[:, :, 0, 0])  # [N, C]
    for scale, exponent in enumerate(EXPONENTS):
        if scale:
            # An odd side is completed by zeros, as in the other implementations.
            padding = [side % 2 for side in a.shape[2:]]
            a, b = (F.avg_pool2d(x, 2, padding=padding) for x in (a, b))
        luminance, contrast = _ssim(a, b, window)
        kept = luminance * contrast if scale == len(EXPONENTS) - 1 else contrast
        # Where structures oppose each other the power is not defined, and at 0 it has no slope.
        total = total * kept.mean((2, 3)).clamp_min(1e-4) ** exponent
    return total.mean(1)


def _ssim(a: Tensor, b: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of the luminance term and the contrast-structure term, each [N, C, h, w]."""
    # All in one filter: on GPUs each of its passes costs as much as starting it.
    blurred = _blur(torch.cat([a, b, a * a, b * b, a * b]), window).chunk(5)
    mean_a, mean_b, square_a, square_b, product = blurred
    var_a, var_b = square_a - mean_a**2, square_b - mean_b**2
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance, (2 * covariance + C2) / (var_a + var_b + C2)


def _blur(x: Tensor, window: Tensor) -> Tensor:
    """Separable filter without padding."""
    channels, taps = x.shape[1], len(window)
    down = window.view(1, 1, taps, 1).expand(channels, 1, taps, 1)
    across = window.view(1, 1, 1, taps).expand(channels, 1, 1, taps)
    return F.conv2d(F.conv2d(x, down, groups=channels), across, groups=channels)
