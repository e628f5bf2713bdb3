"""The training loop: a budget, a cosine schedule, EMA weights, checkpoints that resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ...networks.blocks import ResidualBlock
from ...networks.config import PhotoConfig
from ...networks.photo import PhotoVLAE
from .. import checkpoint, log
from ..machine import Machine, flops_per_pixel
from ..soap import SOAP
from .data import PhotoSet, photo_paths, upload
from .losses import Losses, Objective
from .pages import draw_pages
from .recipe import Budget, Recipe
from .terms import Judges

Report = Callable[[log.Row], None]

LOG_SECONDS = 15
SAVE_SECONDS = 120
# Processes agree on the clock every so many steps: each time they wait for each other.
CLOCK_STEPS = 8


class Trainer:
    """Trains one photo model; every process of a distributed run holds one.

    The schedule is a function of the budget spent so far, so a run always ends in a finished model
    and may be cut into chunks that resume. Every step has random numbers of its own, so where the
    budget is a number of steps a run in chunks gives the very same weights on the same machine.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        run: Path,
        budget: Budget,
        weights: Path | None,
        machine: Machine,
        build: Callable[[PhotoConfig], PhotoVLAE] = PhotoVLAE,
        objective: Callable[..., Objective] = Objective,
    ) -> None:
        self.recipe, self.run, self.budget, self.machine = recipe, run, budget, machine
        self.device = machine.device
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        torch.manual_seed(recipe.seed)
        self.model = build(recipe.model).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # The tensors of state_dict() are the model's own: the moving average reads them directly.
        state = self.model.state_dict()
        self.current = list(state.values())
        self.ema = {k: v.clone() for k, v in state.items()}
        # Both can skip a step (see _one_step), the fused Adam on the device.
        self.optimiser: torch.optim.Optimizer
        if recipe.optimiser == "soap":
            self.optimiser = SOAP(self.model.parameters(), recipe.learning_rate)
        else:
            self.optimiser = torch.optim.Adam(
                self.model.parameters(), recipe.learning_rate, fused=True
            )
        self.step, self.elapsed = 0, 0.0
        self.warm_from = 0  # the step from which the optimiser has gathered its moments
        if self.checkpoint.exists():
            self._load()
        judges = Judges.load(recipe.losses, weights).to(self.device)
        self.objective = objective(self.model, recipe, judges)
        self.flops = flops_per_pixel(self.objective, recipe, machine)
        if machine.compiled:
            # In two parts: what varies, the place that stage B looks at, is cut out in between.
            self.model.compile()
            self.objective.texture.compile()
        # Each process draws from its own share of the photographs.
        share = photo_paths(folder, held_out=False)[self.rank :: self.world]
        if not share:
            raise ValueError(f"fewer photographs in {folder} than processes")
        self.photos = PhotoSet(share, self.device)

    @property
    def checkpoint(self) -> Path:
        """Where the resumable state lies."""
        return self.run / "checkpoint.pt"

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with given weights: the `state_dict` of such a model, or of a shallower one.

        Raises:
            ValueError: they are those of another model.
        """
        complete = deepened(self.model, weights)
        if {k: v.shape for k, v in complete.items()} != {k: v.shape for k, v in self.ema.items()}:
            raise ValueError("the weights to start from are those of another model")
        self.model.load_state_dict(complete)
        for name, average in self.ema.items():
            average.copy_(complete[name])

    def train(self, chunk_minutes: float | None, report: Report) -> bool:
        """Train until the budget or this chunk is spent; True when the budget is."""
        self.model.train()
        started = saved = time.monotonic()
        before = self.elapsed
        chunk = math.inf if chunk_minutes is None else chunk_minutes * 60
        pixels = self.world * self.recipe.batch * self.recipe.crop**2
        peak = self.machine.peak_tflops
        meter = log.Meter()
        while self._progress() < 1 and self.elapsed - before < chunk:
            progress = self._progress()
            texture = progress >= self.recipe.sampler_from
            losses = self._one_step(texture, progress < self.recipe.structure_until)
            meter.add(losses, pixels, pixels * self.flops[texture])
            self.step += 1
            self._set_clock(before + time.monotonic() - started)
            if self.rank == 0 and meter.seconds >= LOG_SECONDS:
                self._report(meter.row(peak and peak * self.world), report)
                meter = log.Meter()
            if self.rank == 0 and time.monotonic() - saved >= SAVE_SECONDS:
                self._save()
                saved = time.monotonic()
        if self.rank == 0:
            if meter.count:
                self._report(meter.row(peak and peak * self.world), report)
            self._save()
        return self._progress() >= 1

    def _progress(self) -> float:
        return self.budget.spent(self.step, self.elapsed)

    def _one_step(self, texture: bool, structure: bool = True) -> Losses:
        """One update. On a GPU nothing here waits for it."""
        recipe = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        random = np.random.default_rng((recipe.seed, self.rank, self.step))
        torch.manual_seed(int(random.integers(2**63)))
        x = self._batch(random)
        lowest, highest = recipe.qualities
        level = lowest + (highest - lowest) * torch.rand(len(x), device=self.device)
        corner = None
        if texture:
            room = (recipe.crop - recipe.texture_crop) // 16 + 1
            corner = (16 * int(random.integers(room)), 16 * int(random.integers(room)))
        with self.machine.autocast():
            losses: Losses = self.objective(x, level, corner, structure)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        if self.world > 1:
            self._average_gradients()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        # One bad batch must not spoil the weights: as for torch.amp.GradScaler, the fused step
        # skips itself where this is 1.
        self.optimiser.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        self.optimiser.step()
        decay = min(recipe.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema.values()), self.current, 1 - decay)
        return losses

    def _average_gradients(self) -> None:
        """The mean of all processes' gradients, in one message.

        DistributedDataParallel would look for unused parameters in every step, since stage A has
        some, and make the host wait for the device where it finds them.
        """
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        parts = (flat / self.world).split([g.numel() for g in gradients])
        own = [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)]
        torch._foreach_copy_(gradients, own)

    def _learning_rate(self) -> float:
        recipe = self.recipe
        warm = min(1.0, (self.step - self.warm_from + 1) / recipe.warmup_steps)
        progress, end = self._progress(), recipe.structure_until
        # Stage C has a schedule of its own.
        done = progress / end if progress < end else (progress - end) / (1 - end) if end < 1 else 1
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return warm * (recipe.final_rate + (recipe.learning_rate - recipe.final_rate) * cosine)

    def _batch(self, random: np.random.Generator) -> Tensor:
        recipe = self.recipe
        scale = 1.0
        if random.random() < recipe.reduced:
            scale = random.uniform(*recipe.reduction)
        drawn = round(recipe.drawn * recipe.batch)
        x = self.photos.crops(recipe.batch - drawn, recipe.crop, scale, random)
        if drawn:
            pages = upload(draw_pages(drawn, recipe.crop, random), self.device)
            x = torch.cat([x, pages.permute(0, 3, 1, 2).float() / 255])
            # Some losses look at the first crops only.
            x = x[upload(random.permutation(recipe.batch), self.device)]
        return x.contiguous(memory_format=torch.channels_last)

    def _set_clock(self, elapsed: float) -> None:
        """Take process 0's clock, so that all follow one schedule and stop together."""
        if self.world == 1:
            self.elapsed = elapsed
        elif self.step % CLOCK_STEPS == 0:
            clock = torch.tensor([elapsed], dtype=torch.float64, device=self.device)
            dist.broadcast(clock, 0)
            self.elapsed = float(clock)

    def _report(self, row: log.Row, report: Report) -> None:
        rate = float(self.optimiser.param_groups[0]["lr"])
        row = {"step": self.step, "minutes": self.elapsed / 60, "rate": rate} | row
        log.append(self.run / "log.jsonl", row)
        report(row)

    def _save(self) -> None:
        state = {
            "recipe": self.recipe.to_dict(),
            "model": self.model.state_dict(),
            "ema": self.ema,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "warm_from": self.warm_from,
        }
        checkpoint.write(self.checkpoint, state)

    def _load(self) -> None:
        """Take up a checkpoint, whole or packed (see `vlaec.train.export.pack`)."""
        state = checkpoint.read(self.checkpoint)
        if Recipe.from_dict(state["recipe"]) != self.recipe:
            raise ValueError(f"{self.checkpoint} was made by another recipe")
        self.step, self.elapsed = state["step"], state["elapsed"]
        for name, average in self.ema.items():
            average.copy_(state["ema"][name])
        if "optimiser" not in state:
            self.model.load_state_dict(self.ema)
            self.warm_from = self.step
            return
        self.model.load_state_dict(state["model"])
        self.warm_from = state.get("warm_from", 0)
        # The moments are the checkpoint's, the settings this program's.
        own = self.optimiser.state_dict()
        self.optimiser.load_state_dict(state["optimiser"] | {"param_groups": own["param_groups"]})


def deepened(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a shallower model, completed for `model`, which then computes the same: the
    residual blocks that they lack start as the identity."""
    complete = dict(weights)
    for name, block in model.named_modules():
        if isinstance(block, ResidualBlock) and f"{name}.first.weight" not in weights:
            for key, start in block.state_dict().items():
                identity = torch.zeros_like(start) if key.startswith("second.") else start
                complete[f"{name}.{key}"] = identity
    return complete
