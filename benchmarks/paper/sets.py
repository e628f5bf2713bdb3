"""Test sets and models by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlaec import zoo
from vlaec.networks.sets import SetVLAE
from vlaec.train.sets.data import SetData, binarise, load

# A dynamic set's test images are binarised once, as all its models must meet the same ones.
BINARISATION_SEED = 0


@dataclass(frozen=True)
class NamedModel:
    """A set model with what identifies its weights."""

    name: str
    sha256: str
    model: SetVLAE


def load_model(name: str) -> NamedModel:
    """A set model by its name in the zoo.

    Raises:
        ModelMissingError: there is none of this name.
        UsageError: it is a model for photographs.
    """
    card = zoo.find(name=name)
    return NamedModel(name, card.sha256, zoo.load_set(card))


def load_test(dataset: str, folder: Path) -> tuple[SetData, np.ndarray]:
    """A set, and its test images as models see them: 0 and 1, or colour 0..255."""
    data = load(dataset, folder)
    if not data.dynamic:
        return data, data.test
    return data, binarise(data.test, np.random.Generator(np.random.Philox(BINARISATION_SEED)))
