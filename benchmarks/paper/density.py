"""`likelihood`: ELBO, KL and NLL of a model on a test set.

4 096 samples of z for each of 10 000 images are hours on a CPU. So few samples are taken for all
images and many for some; the difference between both, which hardly varies, corrects the mean over
all images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.common import evenly
from vlaec.bench.likelihood import (
    Estimate,
    Likelihoods,
    Progress,
    bits_per_dim,
    estimate,
    likelihoods,
)
from vlaec.networks.sets import SetVLAE

Summary = dict[str, Any]


def measure(
    model: SetVLAE,
    images: np.ndarray,
    samples: int,
    count: int,
    few_samples: int,
    seed: int,
    progress: Progress,
) -> Summary:
    """The test set's likelihoods as plain values.

    Args:
        images: binary [N, H, W] of 0 and 1, or colour [N, H, W, 3].
        samples: for `count` of the images.
        few_samples: for all of them; 0 leaves this out.

    Returns:
        `some` and, where both were measured, `all` and `corrected`: the NLL of all images at
        `samples` samples, with the standard error of the correction.
    """
    subpixels = model.config.subpixels
    chosen = evenly(len(images), count)
    some = likelihoods(model, images[chosen], samples, seed, progress)
    summary: Summary = {"of": len(images), "seed": seed, "some": summarise(some, subpixels)}
    if few_samples and len(chosen) < len(images):
        # Another seed: both parts must not share their noise.
        everything = likelihoods(model, images, few_samples, seed + 1, progress)
        correction = estimate(some.nll - everything.nll[chosen])
        mean = float(everything.nll.mean()) + correction.mean
        summary["all"] = summarise(everything, subpixels)
        summary["corrected"] = _in_both_units(Estimate(mean, correction.error), subpixels)
    return summary


def summarise(result: Likelihoods, subpixels: int) -> Summary:
    """Means and standard errors, in nats per image and in bits per dimension."""
    values = {"nll": result.nll, "elbo": result.elbo, "kl": result.kl}
    return {
        "images": len(result.nll),
        "samples": result.samples,
        **{name: _in_both_units(estimate(v), subpixels) for name, v in values.items()},
    }


def _in_both_units(nats: Estimate, subpixels: int) -> Summary:
    return {"nats": list(nats), "bits_per_dim": list(bits_per_dim(nats, subpixels))}
