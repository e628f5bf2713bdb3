"""How much a picture repeats every 2, 4 or 8 pixels beyond what its original does."""

from __future__ import annotations

import math

import numpy as np
import torch

from vlaec.metrics.lattice import PERIODS, log_repetition

Repetition = list[np.ndarray]  # of each period, [h, w]


def repetition(image: np.ndarray) -> Repetition:
    """`log_repetition` of the luma of [H, W, 3] uint8, for each of PERIODS."""
    x = torch.from_numpy(image.transpose(2, 0, 1) / np.float32(255))[None]
    return [log_repetition(x, period)[0, 0].numpy() for period in PERIODS]


def excess(original: Repetition, picture: Repetition) -> float:
    """How much more of it a picture has, in decibels; 0 is as much as the original."""
    logarithms = [(b - a).mean() for a, b in zip(original, picture, strict=True)]
    return float(np.mean(logarithms)) * 10 / math.log(10)
