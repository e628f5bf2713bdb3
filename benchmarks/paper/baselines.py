"""`baselines`: the paper's ablation, every row trained on the same budget.

A row whose training is interrupted resumes, a row that is finished is kept, so the command may be
repeated until the table is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlaec.networks.set_config import SetConfig
from vlaec.train.machine import Machine
from vlaec.train.run import Budget, Report
from vlaec.train.sets.data import SetData
from vlaec.train.sets.recipe import SetRecipe
from vlaec.train.sets.trainer import SetTrainer

from .density import measure


@dataclass(frozen=True)
class Row:
    """One model of the ablation: what differs from the recipe's own."""

    about: str
    change: Callable[[SetConfig], SetConfig]


ROWS = {
    "pixelcnn": Row("PixelCNN alone", lambda c: replace(c, latent_channels=0)),
    "factorised": Row(
        "VAE with AF prior, pixels independent given z",
        lambda c: replace(c, receptive_field="none"),
    ),
    "gaussian": Row("VLAE, Gaussian prior", lambda c: replace(c, prior="gaussian")),
    "iaf": Row(
        "VLAE, Gaussian prior and IAF posterior",
        lambda c: replace(c, prior="gaussian", posterior="iaf"),
    ),
    "af": Row("VLAE, AF prior", lambda c: c),
}


def train(
    name: str, recipe: SetRecipe, data: SetData, run: Path, budget: Budget, report: Report
) -> SetTrainer:
    """Train one row, or what is left of it."""
    run.mkdir(parents=True, exist_ok=True)
    own = replace(recipe, model=ROWS[name].change(recipe.model))
    trainer = SetTrainer(own, data, run, budget, Machine(torch.device("cpu")))
    trainer.train(None, report)
    return trainer


def evaluate(trainer: SetTrainer, images: np.ndarray, samples: int, count: int) -> dict[str, Any]:
    """Likelihoods of the best weights on some of the test images."""
    model = trainer.model
    model.load_state_dict(trainer.best)
    model.eval().requires_grad_(False)
    measured = measure(model, images, samples, count, 0, 0, lambda done: None)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": trainer.step,
        "training_minutes": round(trainer.elapsed / 60, 1),
        **measured["some"],
    }
