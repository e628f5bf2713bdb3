"""Photo models for tests."""

from __future__ import annotations

import numpy as np
from torch import nn

from vlaec.networks import PhotoVLAE
from vlaec.photo.exact_prior import ExactPrior


def tensors(model: nn.Module) -> dict[str, np.ndarray]:
    """The weights of a network by name."""
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def exact_prior(model: PhotoVLAE) -> ExactPrior:
    """The prior of a model that was never saved."""
    return ExactPrior(tensors(model), model.config)
