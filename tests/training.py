"""Photographs and a recipe for the tests of training: small enough for seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vlaec.train.machine import Machine
from vlaec.train.photo.recipe import RECIPES, Recipe
from vlaec.train.photo.trainer import Trainer
from vlaec.train.run import Budget

# Without LPIPS, whose weights are not everywhere, and with quick samples.
RECIPE = replace(RECIPES["tiny"].weighted(lpips=0.0), jacobi_steps=1)


def write_photos(folder: Path, count: int = 8, side: int = 130) -> Path:
    """Smooth pictures with some grain: structure for z and texture for the sampler."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:side, : side + 10]
    for i in range(count):
        a, b, c = rng.uniform(0.03, 0.2, 3)
        planes = [np.sin(a * x + k) * np.cos(b * y - k) + np.sin(c * (x + y)) for k in range(3)]
        grain = rng.normal(0, 6, (*y.shape, 3))
        pixels = np.clip(128 + 50 * np.stack(planes, 2) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def make_trainer(photos: Path, run: Path, steps: int, recipe: Recipe = RECIPE) -> Trainer:
    """A trainer on the CPU with a budget of steps."""
    run.mkdir(exist_ok=True)
    return Trainer(recipe, photos, run, Budget(steps=steps), None, Machine(torch.device("cpu")))


def silent(row: dict[str, float]) -> None:
    """A report for nobody."""
