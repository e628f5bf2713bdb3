"""Runs that see the same crops, qualities and noise at every step, and what they are worth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlaec.metrics.ssim import ms_ssim
from vlaec.networks.photo import PhotoVLAE
from vlaec.train.photo.held_out import LEVELS
from vlaec.train.photo.losses import Objective
from vlaec.train.photo.recipe import RECIPES
from vlaec.train.photo.terms import Judges
from vlaec.train.soap import SOAP

BATCH, CROP = 8, 128
RECIPE = replace(RECIPES["one"], batch=BATCH, crop=CROP, drawn=0.0, weights={"ms_ssim": 1000.0})
# Crops, and where lettering is on them, of a step.
Batch = Callable[[int, np.random.Generator], tuple[Tensor, Tensor | None]]


class Row:
    """One model in training, stage A."""

    def __init__(
        self, name: str, model: PhotoVLAE, rate: float, warm_up: int, **weights: float
    ) -> None:
        self.name, self.model, self.rate, self.warm_up = name, model, rate, warm_up
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        recipe = replace(RECIPE, model=model.config).weighted(**weights)
        self.objective = Objective(model, recipe, Judges())
        self.optimiser = SOAP(self.parameters, rate)
        self.averages = [p.detach().clone() for p in self.parameters]
        self.seconds, self.step = 0.0, 0

    def train(
        self, x: Tensor, lettering: Tensor | None, level: Tensor, noise: int, done: float
    ) -> None:
        """One step at a place of the schedule."""
        begun = time.process_time()
        warm = min(1.0, (self.step + 1) / self.warm_up)
        rate = warm * (1e-5 + (self.rate - 1e-5) * 0.5 * (1 + math.cos(math.pi * done)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        random = torch.Generator().manual_seed(noise)
        with torch.autocast("cpu", torch.bfloat16):
            losses = self.objective(x, level, None, random, lettering=lettering)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.found_inf = (~norm.isfinite()).float()
        self.optimiser.step()
        decay = min(0.98, (1 + self.step) / (10 + self.step))
        values = [p.detach() for p in self.parameters]
        torch._foreach_lerp_(self.averages, values, 1 - decay)
        self.step += 1
        self.seconds += time.process_time() - begun

    @torch.no_grad()
    def measure(self, crops: Tensor, lettering: Tensor | None = None) -> list[dict[str, float]]:
        """Of the averaged weights, by level: J = rate + lambda (MSE + 1000 (1 - MS-SSIM)) on crops
        [N, 3, S, S], its parts, and the mean error on lettering where that is given."""
        kept = [p.detach().clone() for p in self.parameters]
        torch._foreach_copy_(self.parameters, self.averages)
        rows = []
        for level in LEVELS:
            random, parts = torch.Generator().manual_seed(9), []
            for x in crops.split(7):
                noise = self.model.draw_noise(x, random)
                with torch.autocast("cpu", torch.bfloat16):
                    out = self.model(x, torch.full((len(x),), level), noise)
                mean = out.mean.clamp(0, 1)
                bits = out.prior.latent_bits + out.prior.hyper_bits
                error = ((mean - x) * 255).square().flatten(1).mean(1)
                parts.append((bits / x[0, 0].numel(), error, ms_ssim(mean, x), mean))
            bpp, mse, similarity = (
                torch.cat([p[i] for p in parts]).mean().item() for i in range(3)
            )
            weight = self.model.config.rate_weight(level)
            row = {"level": level, "J": bpp + weight * (mse + 1000 * (1 - similarity))}
            row |= {"bpp": bpp, "mse": mse, "ms_ssim": similarity}
            if lettering is not None:
                apart = (torch.cat([p[3] for p in parts]) - crops).abs() * 255
                row["letters"] = float((apart * lettering).sum() / (3 * lettering.sum()))
            rows.append(row)
        torch._foreach_copy_(self.parameters, kept)
        return rows


def train(
    rows: list[Row], steps: int, seed: int, batch: Batch, look: Callable[[int], None], every: int
) -> None:
    """All rows, step by step; `look` is called every so many steps and at the end."""
    for step in range(steps):
        if step % every == 0:
            look(step)
        random = np.random.default_rng((seed, step))
        x, lettering = batch(step, random)
        x = x.contiguous(memory_format=torch.channels_last)
        places = (random.permutation(BATCH) + random.random(BATCH)) / BATCH
        level = torch.from_numpy(places.astype(np.float32))
        noise = int(random.integers(2**62))
        for row in rows:
            row.train(x, lettering, level, noise, step / steps)
    look(steps)


def summary(row: Row, measured: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a row."""
    size = sum(p.numel() for p in row.parameters)
    return {"parameters": size, "cpu_seconds": row.seconds / max(1, row.step), **measured}


def folder(text: str) -> Path:
    """An argument that must be a folder."""
    path = Path(text)
    if not path.is_dir():
        raise ValueError(f"{path} is no folder")
    return path
