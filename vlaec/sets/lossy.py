"""How coarsely a lossy archive keeps z: one step for each channel, chosen from its images.

Without bits-back z is not drawn from its posterior but rounded, and a step of sqrt(12) standard
deviations of the posterior makes an error of the posterior's own size, the one that decoders have
learned to live with: decoded colour images are as near to the originals as with finer steps. For
binary ones a third of that is worth one and a half bits per element more: digits of MNIST keep
their identity. A channel that says next to nothing of the images is left out; the decoder takes its
prior's mean.
"""

from __future__ import annotations

import math

import numpy as np

from ..coding.gaussian import LATENT_BOUND, SCALE_LOG_MIN, SCALE_STEPS, SCALES, Gaussians
from ..errors import BadFileError
from .coder import SetCoder
from .container import NOT_SENT

# Steps are 4 SCALES[i]: from half a cell of z's grid to all of its range.
STEPS = 4 * SCALES
# Share of a channel's posterior scale, by kind of images.
STEP_OF_SCALE = {"binary": 1.25, "colour": math.sqrt(12)}
# Nats per image below which a channel is not worth sending.
LEAST_KL = 0.05


def choose_steps(coder: SetCoder, posteriors: list[Gaussians]) -> bytes:
    """Indices into STEPS, or NOT_SENT, for each channel of z, from q(z | x) [N, D] of images."""
    channels = coder.config.latent_channels
    information, log_scale = np.zeros(channels), np.zeros(channels)
    for q in posteriors:
        p = coder.prior(np.rint(q.means))
        ratio = np.exp(2 * (q.log_scales - p.log_scales))
        shift = (q.means - p.means) * np.exp(-p.log_scales)
        kl = 0.5 * (ratio + shift**2 - 1) + p.log_scales - q.log_scales
        information += kl.sum(0).reshape(channels, -1).sum(1)
        log_scale += q.log_scales.sum(0).reshape(channels, -1).mean(1)
    images = sum(len(q.means) for q in posteriors)
    target = log_scale / images + math.log(STEP_OF_SCALE[coder.config.kind] / 4)
    index = np.rint((target - SCALE_LOG_MIN) * SCALE_STEPS).clip(0, len(STEPS) - 1)
    return np.where(information / images < LEAST_KL, NOT_SENT, index).astype(np.uint8).tobytes()


def quanta(steps: bytes, coder: SetCoder) -> np.ndarray:
    """Steps of the elements of z [D], 0 for elements that are not sent.

    Raises BadFileError when there is not one index for each channel.
    """
    index = np.frombuffer(steps, np.uint8)
    sent = index != NOT_SENT
    if len(index) != coder.config.latent_channels or (index[sent] >= len(STEPS)).any():
        raise BadFileError("damaged file: the steps do not fit the model's latent")
    of_channels = np.where(sent, STEPS[np.where(sent, index, 0)], 0.0)
    return of_channels.repeat(coder.dimensions // max(len(index), 1))


def round_to(posterior: Gaussians, quanta: np.ndarray) -> np.ndarray:
    """The posterior's means in steps of `quanta` [D]: [N, D] int32, 0 where nothing is sent."""
    multiples = posterior.means / np.where(quanta > 0, quanta, math.inf)
    return np.rint(multiples).clip(-LATENT_BOUND, LATENT_BOUND).astype(np.int32)
