"""Likelihoods of set models: ELBO, KL, and NLL by importance sampling.

    log p(x) = log E_q [p(x, z) / q(z | x)]  ~  logsumexp_k (log w_k) - log K,  z_k ~ q(z | x)

(Burda et al. 2015, equation 8; Chen et al. 2016 take K = 4 096 for binary images.) On average over
draws of z this is a lower bound of log p(x) that rises with K, and K = 1 gives the ELBO. Samples
are streamed, so memory does not depend on K, and the noise of an image depends on the seed and on
its place alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..networks.prior import gaussian_kl
from ..networks.sets import SetVLAE, log_density

# Samples that go through the networks together: enough to fill them, few enough for the cache.
CHUNK = 32

Progress = Callable[[int], None]


class Estimate(NamedTuple):
    """A mean over images and the standard error of that mean."""

    mean: float
    error: float


class Samples(NamedTuple):
    """What K samples of z say of one image, each [K], in nats."""

    log_weight: Tensor  # log p(x, z) - log q(z | x)
    log_likelihood: Tensor  # log p(x | z)
    kl: Tensor  # an unbiased estimate of KL(q(z | x) || p(z))


@dataclass(frozen=True)
class Likelihoods:
    """Per image, in nats: each [N] float64."""

    elbo: np.ndarray
    kl: np.ndarray
    nll: np.ndarray
    samples: int  # of z per image


def estimate(values: np.ndarray) -> Estimate:
    """Mean of per-image values [N] and its standard error, infinite for one image."""
    n = len(values)
    error = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return Estimate(float(values.mean()), error)


def bits_per_dim(nats: Estimate, subpixels: int) -> Estimate:
    """Nats per image of `subpixels` values in bits per value."""
    unit = subpixels * math.log(2)
    return Estimate(nats.mean / unit, nats.error / unit)


def as_input(images: np.ndarray) -> Tensor:
    """Images as set models take them, float32.

    Binary [N, H, W] of 0 and 1 -> [N, 1, H, W]; colour [N, H, W, 3] of 0..255 -> [N, 3, H, W] of
    k / 255.

    Raises:
        ValueError: another rank, or binary images with other values.
    """
    x = torch.from_numpy(images).float()
    if images.ndim == 4:
        return x.permute(0, 3, 1, 2).contiguous() / 255
    if images.ndim != 3 or images.max() > 1:
        raise ValueError("images must be [N, H, W] of 0 and 1 or [N, H, W, 3] of 0..255")
    return x[:, None]


@torch.inference_mode()
def likelihoods(
    model: SetVLAE,
    images: np.ndarray,
    samples: int,
    seed: int = 0,
    progress: Progress = lambda done: None,
) -> Likelihoods:
    """ELBO, KL and NLL of every image, by `samples` draws of z each.

    Args:
        images: as `as_input` takes them.
        progress: called with the number of images that are done.
    """
    elbo, kl, nll = np.empty((3, len(images)))
    for i, x in enumerate(as_input(images).split(1)):
        elbo[i], kl[i], nll[i] = _one(model, x, samples, np.random.Philox(key=[seed, i]))
        progress(i + 1)
    return Likelihoods(elbo, kl, nll, samples)


def _one(
    model: SetVLAE, x: Tensor, samples: int, stream: np.random.Philox
) -> tuple[float, float, float]:
    """ELBO, KL and NLL of one image [1, C, H, W]."""
    random = np.random.Generator(stream)
    mean, log_scale = model.encode(x)
    if not model.config.latent_channels:
        samples = 1  # there is nothing to draw: all samples are alike
    largest, total, log_likelihood, kl = -math.inf, 0.0, 0.0, 0.0
    for start in range(0, samples, CHUNK):
        count = min(CHUNK, samples - start)
        noise = random.standard_normal((count, *mean.shape[1:]), np.float32)
        drawn = draw(model, x, mean, log_scale, torch.from_numpy(noise))
        log_weights = drawn.log_weight.double()
        # The sum of exp(log_weight - largest) so far, so that nothing overflows.
        new = max(largest, float(log_weights.max()))
        total = total * math.exp(largest - new) + float((log_weights - new).exp().sum())
        largest = new
        log_likelihood += float(drawn.log_likelihood.double().sum())
        kl += float(drawn.kl.double().sum())
    nll = math.log(samples) - largest - math.log(total)
    return (log_likelihood - kl) / samples, kl / samples, nll


def draw(model: SetVLAE, x: Tensor, mean: Tensor, log_scale: Tensor, noise: Tensor) -> Samples:
    """K samples of z for one image, from standard normal noise [K, C, h, w].

    Args:
        x: [1, channels, H, W].
        mean, log_scale: of q(z | x), [1, C, h, w].
    """
    if not model.config.latent_channels:
        log_likelihood = model.log_likelihood(x, model.features(noise))
        return Samples(log_likelihood, log_likelihood, torch.zeros_like(log_likelihood))
    z = mean + log_scale.exp() * noise
    log_q = (log_density(noise) - log_scale).flatten(1).sum(1)
    if model.flow is not None:
        z, log_determinant = model.flow(z, mean.expand_as(z))
        log_q = log_q - log_determinant
    p_mean, p_log_scale = model.prior.conditionals(z)
    log_p = log_density((z - p_mean) * (-p_log_scale).exp()) - p_log_scale
    log_ratio = log_p.flatten(1).sum(1) - log_q
    if model.flow is None:  # less noisy than -log_ratio: exact in each element given those before
        kl = gaussian_kl(mean, log_scale, p_mean, p_log_scale).flatten(1).sum(1)
    else:
        kl = -log_ratio
    log_likelihood = model.log_likelihood(x, model.features(z))
    return Samples(log_likelihood + log_ratio, log_likelihood, kl)
