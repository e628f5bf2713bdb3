"""Rate-distortion optimised quantisation: the encoder's choice of integers for z.

Rounding to the nearest integer ignores what the integers cost. Each element takes, of the two
integers around it, the one of lower bits + WEIGHT * (error)^2, with the bits of its conditional
given the others as they stand; a second pass accounts for what the first has changed. Nothing in
the file or the decoder depends on it (H.264 encoders and their successors do the same).
"""

from __future__ import annotations

import math

import numpy as np

from ..coding.gaussian import LATENT_BOUND, SCALE_LOG_MAX, SCALE_LOG_MIN, cell_mass
from ..networks.config import Group
from ..threads import one_blas_thread, spread
from .exact_prior import Prior

# Bits per squared unit of z. Chosen on photographs held out for validation: a lower weight saves
# bits that PSNR hardly misses but LPIPS does (with 24 files of equal LPIPS are 1 to 6 % larger);
# plain rounding costs 1 % of the rate at low quality.
WEIGHT = 120.0
PASSES = 2
# Below it the logarithm of a mass is the logarithm of the exponential alone.
LEAST_MASS = 1e-250


def quantise(y: np.ndarray, prior: Prior, weights: np.ndarray) -> np.ndarray:
    """Integers z [C, h, w] int32 for the analysis output y of the same shape.

    Args:
        prior: prior of the model; `PlainPrior` is precise enough and faster than `ExactPrior`.
        weights: from `Prior.level_weights`.
    """
    z = np.rint(y).astype(np.int16)  # large pictures have many
    for _ in range(PASSES):
        z = _chosen(y, z, prior, weights)
    return z.astype(np.int32)


def _chosen(y: np.ndarray, latents: np.ndarray, prior: Prior, weights: np.ndarray) -> np.ndarray:
    """Integers z [C, h, w] int16 of which each is the best one beside the other `latents`."""
    outputs = y.reshape(len(y), -1)
    features = prior.expected_features(latents, weights)
    z = np.empty_like(latents)
    flat = z.reshape(len(z), -1)

    def choose(group: Group) -> None:
        rows = slice(group.start, group.stop)
        side = features if group.uses_hyper else None
        for places, out in prior.outputs(group, latents, side, weights):
            mean, log_scale = np.split(out, 2)
            at = outputs[rows, places]
            # The lowest latent is left out: the coder could not tell a stack of them from an
            # empty one.
            low = np.clip(np.floor(at), 1 - LATENT_BOUND, LATENT_BOUND - 1)
            # Place of an element between the two integers around it, -1/2 to 1/2.
            at -= low
            at -= 0.5
            start = low.astype(np.int32)
            flat[rows, places] = start + _choose_upper(at, mean - start - 0.5, log_scale)

    with one_blas_thread():
        spread(choose, prior.groups)
    return z


def _choose_upper(offset: np.ndarray, mean: np.ndarray, log_scale: np.ndarray) -> np.ndarray:
    """Whether the upper integer is the better one, for elements that lie `offset` above the middle
    between the two, with a prior whose mean is `mean` above it."""
    upper = offset > 0
    # Where both lie on one side, rate and distortion agree.
    torn = np.nonzero((offset > 0) != (mean > 0))
    distance, scale = mean[torn], np.exp(np.clip(log_scale[torn], SCALE_LOG_MIN, SCALE_LOG_MAX))
    saved = _bits(np.abs(distance + 0.5), scale) - _bits(np.abs(distance - 0.5), scale)
    # (offset + 1/2)^2 - (offset - 1/2)^2 = 2 offset.
    upper[torn] = saved + WEIGHT * 2 * offset[torn] > 0
    return upper


def _bits(distance: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """-log2 of the mass of cells, also where float64 has no number for it."""
    mass = cell_mass(distance, scale)
    far = ((distance - 0.5) / scale) ** 2 / (2 * math.log(2))
    bits: np.ndarray = np.where(mass > LEAST_MASS, -np.log2(np.maximum(mass, LEAST_MASS)), far)
    return bits
