"""`colour`: what a lossy archive keeps of colour images: shapes, colours, texture.

Shape and colour are what 4x4 blocks are on average (z of the shipped models has a cell for each);
texture is what an image has beyond that. Two rows of another kind give the numbers a scale: blocks
without any texture, and another image of the set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import nn

from .identity import agreement

BLOCK = 4
# BT.601: shares of R, G, B in luma, and what scales B - Y and R - Y to the range of levels.
LUMA = np.array([0.299, 0.587, 0.114])
CHROMA_SCALES = (1.772, 1.402)

Measures = dict[str, float | None]


def block_means(images: np.ndarray) -> np.ndarray:
    """Means of 4x4 blocks: [..., H, W, 3] -> [..., H / 4, W / 4, 3] float64."""
    *outer, height, width, channels = images.shape
    blocks = images.reshape(*outer, height // BLOCK, BLOCK, width // BLOCK, BLOCK, channels)
    means: np.ndarray = blocks.mean((-4, -2))
    return means


def spread(means: np.ndarray) -> np.ndarray:
    """Every block's mean on all its pixels: [..., h, w, 3] -> [..., 4 h, 4 w, 3]."""
    return means.repeat(BLOCK, -3).repeat(BLOCK, -2)


def without_texture(images: np.ndarray) -> np.ndarray:
    """Images [..., H, W, 3] uint8, each block of one colour: its mean, rounded to levels."""
    return np.rint(spread(block_means(images))).astype(np.uint8)


def ycbcr(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luma [...] and Cb, Cr [..., 2], around 0, of [..., 3]; BT.601, full range."""
    luma = rgb @ LUMA
    blue, red = ((rgb[..., i] - luma) / s for i, s in zip((2, 0), CHROMA_SCALES, strict=True))
    return luma, np.stack([blue, red], -1)


def psnr(squared_error: float) -> float | None:
    """Decibels of a mean squared error of levels 0..255; None where there is no error."""
    return 10 * math.log10(255**2 / squared_error) if squared_error else None


def fidelity(originals: np.ndarray, decodes: np.ndarray) -> Measures:
    """How near decodes are to originals, over all images together.

    Args:
        originals: uint8 [N, H, W, 3].
        decodes: uint8 [S, N, H, W, 3].

    Returns:
        `psnr` and `psnr_of_means` in dB (None: no error); `luma_error` and `colour_error`, root
        mean squares in levels, of block means in Y, and in Cb and Cr; `texture_energy`, the mean
        square of texture as a share of the originals', and `texture_correlation` with theirs
        (None: there is no texture).
    """
    means, decoded_means = block_means(originals), block_means(decodes)
    (luma, chroma), (decoded_luma, decoded_chroma) = ycbcr(means), ycbcr(decoded_means)
    texture, decoded_texture = originals - spread(means), decodes - spread(decoded_means)
    energy, decoded_energy = _mean_square(texture), _mean_square(decoded_texture)
    common = math.sqrt(energy * decoded_energy)
    return {
        "psnr_of_means": psnr(_mean_square(decoded_means - means)),
        "psnr": psnr(_mean_square(decodes - originals.astype(np.float64))),
        "luma_error": math.sqrt(_mean_square(decoded_luma - luma)),
        "colour_error": math.sqrt(_mean_square(decoded_chroma - chroma)),
        "texture_energy": decoded_energy / energy if energy else None,
        "texture_correlation": float((texture * decoded_texture).mean()) / common
        if common
        else None,
    }


def evaluate(
    network: nn.Module, originals: np.ndarray, decodes: Sequence[np.ndarray], labels: np.ndarray
) -> Measures:
    """`fidelity`, and the classifier's `agreement` as a mean over the decodes.

    Args:
        originals: uint8 [N, H, W, 3].
        decodes: the same images, decoded once or more.
        labels: [N], the truth.
    """
    shares = [agreement(network, originals, images, labels) for images in decodes]
    mean_shares = {name: float(np.mean([s[name] for s in shares])) for name in shares[0]}
    return {**fidelity(originals, np.stack(decodes)), **mean_shares}


def _mean_square(values: np.ndarray) -> float:
    return float(np.square(values).mean())
