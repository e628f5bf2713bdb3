"""Photo models for tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file

from vlaec import zoo
from vlaec.networks import PRESETS
from vlaec.photo.exact_prior import ExactPrior
from vlaec.photo.graphs import Graphs

if TYPE_CHECKING:
    from torch import nn

    from vlaec.networks import PhotoVLAE

TINY = PRESETS["tiny"]
WEIGHTS = Path(__file__).resolve().parent / "golden" / "models" / "tiny.safetensors"


def tensors(model: nn.Module) -> dict[str, np.ndarray]:
    """The weights of a network by name."""
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def exact_prior(model: PhotoVLAE) -> ExactPrior:
    """The prior of a model that was never saved."""
    return ExactPrior(tensors(model), model.config)


def golden_tensors() -> dict[str, np.ndarray]:
    """The weights of the small trained model that the golden files are made with."""
    return load_file(WEIGHTS)


def golden_graphs() -> Graphs:
    """The graphs of that model."""
    return Graphs(zoo.open_weights(zoo._read_card(WEIGHTS.with_suffix(".json"))), TINY)


def golden_prior() -> ExactPrior:
    """The prior of that model."""
    return ExactPrior(golden_tensors(), TINY)
