"""How much a picture varies around each pixel: where it is clean, and where there is detail.

A lawn varies everywhere, a page of text between flat paper and sharp edges. Grain between letters
adds no more than was lost at them, so means over a neighbourhood that holds both do not see it;
those over the few pixels around each one do.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Pixels on one side of what is around a pixel. On held-out photographs and drawn pages 5 agreed
# with what DISTS says of texture more often than 3, 7, 9, and bands of frequencies over 20.
WINDOW = 5
# The variance of half a grey level: less is not seen, and the floor keeps clean areas clean.
FLOOR = (0.5 / 255) ** 2
# Luma and two colour differences (rows, as in JPEG), and how much each counts. Of luma alone, grain
# comes out green: that is how to get most of it for the least squared error.
OPPONENT = ((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))
SHARES = (0.5, 0.25, 0.25)


def opponent_planes(x: Tensor) -> Tensor:
    """Luma and two colour differences of [N, 3, H, W] as [3 N, 1, H, W], those of a picture side by
    side."""
    # Number by number: on GPUs a convolution may round to 10 bits, half a grey level, and constants
    # that are sent there on every call would make the host wait.
    red, green, blue = x.float().unbind(1)
    planes = [r * red + g * green + b * blue for r, g, b in OPPONENT]
    return torch.stack(planes, 1).flatten(0, 1)[:, None]


def by_shares(x: Tensor) -> Tensor:
    """The mean [N] of what is known of luma and colours, [N, 3], weighted by SHARES."""
    luma, blue, red = x.unbind(1)
    return SHARES[0] * luma + SHARES[1] * blue + SHARES[2] * red


def box(x: Tensor, side: int) -> Tensor:
    """Mean over all squares of `side` pixels of [..., H, W]: sums of shifted rows and columns."""
    height, width = x.shape[-2] - side + 1, x.shape[-1] - side + 1
    rows = x[..., :height, :]
    for i in range(1, side):
        rows = rows + x[..., i : i + height, :]
    total = rows[..., :width]
    for i in range(1, side):
        total = total + rows[..., i : i + width]
    return total / side**2


def log_variances(x: Tensor) -> Tensor:
    """Log variance of luma and colour in the WINDOW x WINDOW pixels around each.

    Args:
        x: [N, 3, H, W] in [0, 1], H and W at least WINDOW.

    Returns:
        [N, 3, H - WINDOW + 1, W - WINDOW + 1].
    """
    with torch.autocast(x.device.type, enabled=False):
        planes = opponent_planes(x - 0.5)  # near 0, where squares keep their digits
        mean, square = (box(p, WINDOW) for p in (planes, planes.square()))
        variance = (square - mean.square()).clamp(min=0)
        return (variance + FLOOR).log().unflatten(0, (-1, 3))[:, :, 0]


def variance_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of `log_variances` of two batches [N, 3, H, W], colours weighted by
    SHARES; [N], in nats."""
    return by_shares((log_variances(a) - log_variances(b)).abs().mean((2, 3)))
