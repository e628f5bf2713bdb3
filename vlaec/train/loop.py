"""The training loop: a time budget, a cosine schedule, EMA weights, checkpoints that resume."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..model.vlae import PhotoVLAE
from ..perceptual import LPIPS
from .data import PhotoSet, photo_paths
from .losses import Losses, Objective
from .recipe import Recipe

Report = Callable[[dict[str, float]], None]


class Trainer:
    """Trains one photo model; every process of a distributed run holds one.

    The schedule is a function of the time spent so far over the whole budget, so a run always
    ends in a finished model, whatever the machine, and may be cut into chunks that resume.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        run: Path,
        minutes: float,
        weights: Path | None,
        device: torch.device,
    ) -> None:
        self.recipe, self.run, self.device = recipe, run, device
        self.seconds = minutes * 60
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        torch.manual_seed(recipe.seed)
        self.model = PhotoVLAE(recipe.model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        lpips = LPIPS.load(weights).to(device) if weights else None
        objective: nn.Module = Objective(self.model, recipe, lpips)
        if self.world > 1:
            objective = nn.parallel.DistributedDataParallel(
                objective, broadcast_buffers=False, find_unused_parameters=True
            )
        self.objective = objective
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=recipe.learning_rate)
        self.step, self.elapsed = 0, 0.0
        if self.checkpoint.exists():
            self._load()
        # Each process draws from its own share of the photographs.
        share = photo_paths(folder, held_out=False)[self.rank :: self.world]
        self.photos = PhotoSet(share, device)
        self.random = np.random.default_rng((recipe.seed, self.rank, self.step))
        torch.manual_seed(hash((recipe.seed, self.rank, self.step)) % 2**63)

    @property
    def checkpoint(self) -> Path:
        """Where the resumable state lies."""
        return self.run / "checkpoint.pt"

    def train(self, chunk_minutes: float | None, report: Report) -> bool:
        """Train until the budget or this chunk is spent; True when the budget is."""
        started = time.monotonic()
        before = self.elapsed
        chunk = math.inf if chunk_minutes is None else chunk_minutes * 60
        saved = logged = started
        sums: Tensor | None = None
        count = 0
        while self.elapsed < self.seconds and self.elapsed - before < chunk:
            losses = self._one_step(self.elapsed / self.seconds)
            stacked = torch.stack([v.detach() for v in losses])
            sums = stacked if sums is None else sums + stacked
            count += 1
            self.step += 1
            self.elapsed = before + self._shared_clock(time.monotonic() - started)
            now = time.monotonic()
            if now - logged >= 15 and self.rank == 0:
                self._log(sums / count, count, now - logged, report)
                sums, count, logged = None, 0, now
            if now - saved >= 120 and self.rank == 0:
                self._save()
                saved = now
        if self.rank == 0:
            self._save()
        return self.elapsed >= self.seconds

    def _one_step(self, progress: float) -> Losses:
        recipe = self.recipe
        warm = min(1.0, (self.step + 1) / recipe.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        rate = recipe.final_rate + (recipe.learning_rate - recipe.final_rate) * cosine
        for group in self.optimiser.param_groups:
            group["lr"] = rate * warm
        x = self._batch()
        level = torch.rand(len(x), device=self.device)
        corner = None
        if progress >= recipe.sampler_from:
            room = (recipe.crop - recipe.texture_crop) // 16 + 1
            corner = (16 * int(self.random.integers(room)), 16 * int(self.random.integers(room)))
        with torch.autocast(self.device.type, torch.bfloat16):
            losses: Losses = self.objective(x, level, corner)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        # One bad batch must not spoil the weights; the check stays on the device.
        for p in self.model.parameters():
            if p.grad is not None:
                p.grad = torch.where(norm.isfinite(), p.grad, 0.0)
        self.optimiser.step()
        self._update_ema()
        return losses

    def _batch(self) -> Tensor:
        recipe = self.recipe
        scale = 1.0
        if self.random.random() < recipe.reduced:
            scale = self.random.uniform(*recipe.reduction)
        x = self.photos.crops(recipe.batch, recipe.crop, scale, self.random)
        return x.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        state = self.model.state_dict()
        names = list(self.ema)
        torch._foreach_lerp_([self.ema[n] for n in names], [state[n] for n in names], 1 - decay)

    def _shared_clock(self, seconds: float) -> float:
        """Process 0's clock, so that all processes follow one schedule and stop together."""
        if self.world == 1:
            return seconds
        clock = torch.tensor([seconds], dtype=torch.float64, device=self.device)
        dist.broadcast(clock, 0)
        return float(clock)

    def _log(self, mean: Tensor, count: int, seconds: float, report: Report) -> None:
        total, rate, mse, likelihood, perceptual = mean.tolist()
        megapixels = count * self.world * self.recipe.batch * self.recipe.crop**2 / 1e6
        row = {
            "step": self.step,
            "minutes": self.elapsed / 60,
            "loss": total,
            "bpp": rate,
            "psnr": 10 * math.log10(255**2 / max(mse, 1e-9)),
            "nll": likelihood,
            "lpips": perceptual,
            "rate": self.optimiser.param_groups[0]["lr"],
            "megapixels_per_second": megapixels / seconds,
        }
        with open(self.run / "log.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
        report(row)

    def _save(self) -> None:
        state = {
            "recipe": self.recipe.to_dict(),
            "model": self.model.state_dict(),
            "ema": self.ema,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def _load(self) -> None:
        state: dict[str, Any] = torch.load(
            self.checkpoint, map_location=self.device, weights_only=True
        )
        self.model.load_state_dict(state["model"])
        self.ema = state["ema"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.elapsed = state["step"], state["elapsed"]
