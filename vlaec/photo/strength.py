"""How much texture a file asks for: as much as leaves the picture no farther from the original.

Texture is trained on photographs. On drawings it can be worse than none: the grain that a model
gives to every clean area shows on a flat one and between letters. The encoder knows the original,
so it decodes a few windows with texture of several strengths and compares how much they vary around
each pixel with how much the original does (`variance`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..metrics.variance import variance_distance
from ..networks.config import STRIDE
from ..networks.photo import PhotoVLAE
from ..networks.pixelcnn import draw_noise
from .sampler import TextureSampler

STRENGTHS = (1.0, 0.75, 0.5, 0.25)
# Windows in all, spread over the picture, and latents on a side of each: an eighth of a megapixel
# bounds the time.
WINDOWS = 8
SIDE = 8
# Latents at a window's edge that see other neighbours than in the picture.
MARGIN = 1


@torch.inference_mode()
def choose_strength(model: PhotoVLAE, sampler: TextureSampler, x: Tensor, known: Tensor) -> float:
    """Strength of texture, 0..1: the most with which the picture's local variances are no farther
    from the original's than with none.

    Args:
        model: of the file.
        sampler: of its texture.
        x: the original [1, 3, 16 h, 16 w] in [0, 1].
        known: what synthesis starts from, [1, C, h, w], from `PhotoVLAE.known`.
    """
    height, width = known.shape[2:]
    if min(height, width) < 2 * MARGIN + 2:
        return 1.0  # too small to be compared
    corners = _corners(height, width)
    side = (min(SIDE, height), min(SIDE, width))
    original = _cut(x, corners, side, STRIDE)  # [N, 3, 16 s, 16 t]
    seen = _cut(known, corners, side, 1).contiguous(memory_format=torch.channels_last)
    mean = model.mean(model.synthesis.trunk(seen))
    detail, features = model.texture(model.texture_synthesis.trunk(seen))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        noise = draw_noise((len(mean), *mean.shape[2:]), sampler.mixtures, features)
    texture = detail + sampler.sample_batch(features, noise)

    edge = MARGIN * STRIDE
    inner = (..., slice(edge, -edge), slice(edge, -edge))

    def distance(strength: float) -> float:
        picture = ((mean + strength * texture) * 255).round().clamp(0, 255) / 255
        return float(variance_distance(picture[inner], original[inner]).mean())

    none = distance(0.0)
    return next((strength for strength in STRENGTHS if distance(strength) <= none), 0.0)


def _corners(height: int, width: int) -> list[tuple[int, int]]:
    """Top left latents of at most WINDOWS windows, that do not overlap, on a picture's latents."""
    rows, columns = max(1, height // SIDE), max(1, width // SIDE)
    places = [(SIDE * row, SIDE * column) for row in range(rows) for column in range(columns)]
    chosen = np.linspace(0, len(places) - 1, min(WINDOWS, len(places))).round().astype(int)
    return [places[index] for index in chosen]


def _cut(
    plane: Tensor, corners: list[tuple[int, int]], side: tuple[int, int], scale: int
) -> Tensor:
    """Windows [N, C, scale * side[0], scale * side[1]] of one plane [1, C, H, W]."""
    height, width = (scale * s for s in side)
    return torch.cat(
        [
            plane[:, :, scale * top : scale * top + height, scale * left : scale * left + width]
            for top, left in corners
        ]
    )
