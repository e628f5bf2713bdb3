"""Training of photo models: batches, losses, stages, several processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ...networks.blocks import ResidualBlock
from ...networks.config import PhotoConfig
from ...networks.photo import PhotoVLAE
from ...networks.seeded import Seeded
from .. import checkpoint, log
from ..machine import Machine, flops_per_pixel
from ..run import Budget, Run
from ..soap import SOAP
from .data import PhotoSet, photo_paths, upload
from .losses import Losses, Objective
from .pages import draw_pages, lay_over
from .pool import PagePool
from .recipe import Recipe
from .start import start_from_components, start_texture
from .terms import Judges
from .typefaces import FOLDER, typefaces

# Processes agree on the clock every so many steps: each time they wait for each other.
CLOCK_STEPS = 8
# Pixels of the crops whose principal components a run starts from.
START_PIXELS = 10_000_000


class Trainer(Run[Recipe]):
    """Trains one photo model; every process of a distributed run holds one."""

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
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        self._writes = self.rank == 0
        with Seeded(recipe.seed):
            model = build(recipe.model)
            judges = Judges.load(recipe.losses, weights)
        self.model = model.to(machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(recipe, run, budget, machine, self.model)
        self.batch = recipe.batch  # crops of a step, fewer where memory does not suffice
        self.texture_begun = False
        # Both can skip a step (see _one_step) on the device.
        if recipe.optimiser == "soap":
            self.optimiser = SOAP(self.model.parameters(), recipe.learning_rate)
        else:
            self.optimiser = torch.optim.Adam(
                self.model.parameters(), recipe.learning_rate, fused=True
            )
        self.faces = typefaces(folder / FOLDER)
        self.pages: PagePool | None = None
        if recipe.drawn and recipe.page_pool:
            seed = (recipe.seed, self.rank)
            self.pages = PagePool(recipe.page_pool, recipe.crop, seed, self.device, self.faces)
        self.objective = objective(self.model, recipe, judges.to(self.device))
        self.flops = (
            flops_per_pixel(self.objective, recipe, machine) if machine.counts_flops else None
        )
        if machine.compiled:
            # In two parts: what varies, the place that stage B looks at, is cut out in between.
            self.model.compile()
            self.objective.texture.compile()
        # Each process draws from its own share of the photographs.
        share = photo_paths(folder, held_out=False)[self.rank :: self.world]
        if not share:
            raise ValueError(f"fewer photographs in {folder} than processes")
        self.photos = PhotoSet(share, self.device)
        if self.checkpoint.exists():
            self._load()
        elif recipe.start == "klt":
            self._start_from_components()

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with given weights: the `state_dict` of such a model, or of a shallower one.

        Raises:
            ValueError: they belong to another model.
        """
        complete = deepened(self.model, weights)
        if {k: v.shape for k, v in complete.items()} != {k: v.shape for k, v in self.ema.items()}:
            raise ValueError("the weights to start from belong to another model")
        self._begin_with(complete)

    def _start_from_components(self) -> None:
        recipe = self.recipe
        random = np.random.default_rng((recipe.seed, self.rank, 2**32))
        crops = self.photos.crops(START_PIXELS // recipe.crop**2 + 1, recipe.crop, 1.0, random)
        start_from_components(self.model, crops, self.random.manual_seed(recipe.seed))
        if self.world > 1:
            for value in self.current:
                dist.broadcast(value, 0)
        torch._foreach_copy_(self.averages, self.current)

    def _new_meter(self) -> log.Meter:
        self.meter = log.Meter()
        return self.meter

    def _row(self) -> log.Row:
        peak = self.machine.peak_tflops
        return self.meter.row(peak and peak * self.world)

    def _counted_step(self) -> bool:
        progress = self._progress()
        texture = progress >= self.recipe.sampler_from
        too_large = False
        try:
            losses = self._one_step(texture, progress < self.recipe.structure_until)
        except torch.cuda.OutOfMemoryError:
            if self.batch == 1 or self.world > 1:
                raise
            too_large = True  # the exception still holds the step's tensors here
        if too_large:
            self.batch //= 2
            self.optimiser.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            return False
        pixels = self.world * self.batch * self.recipe.crop**2
        self.meter.add(losses, pixels, pixels * self.flops[texture] if self.flops else 0.0)
        return True

    def _one_step(self, texture: bool, structure: bool = True) -> Losses:
        """One update. On a GPU nothing here waits for it, but the first with new parameters."""
        recipe = self.recipe
        if texture and not self.texture_begun:
            self._begin_texture()
        self._set_rate()
        random = np.random.default_rng((recipe.seed, self.rank, self.step))
        self.random.manual_seed(int(random.integers(2**63)))
        x, lettering = self._batch(random)
        corner = None
        if texture:
            room = (recipe.crop - recipe.texture_crop) // 16 + 1
            corner = (16 * int(random.integers(room)), 16 * int(random.integers(room)))
        level = upload(self._levels(random), self.device)
        with self.machine.autocast():
            losses: Losses = self.objective(x, level, corner, self.random, structure, lettering)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        if self.world > 1:
            self._average_gradients()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        # One bad batch must not spoil the weights: as for torch.amp.GradScaler, the step changes
        # nothing where this is 1.
        self.optimiser.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        self.optimiser.step()
        self._average()
        return losses

    def _begin_texture(self) -> None:
        self.texture_begun = True
        if self.recipe.texture_start == "mean":
            start_texture(self.model)
            torch._foreach_copy_(self.averages, self.current)

    def _levels(self, random: np.random.Generator) -> np.ndarray:
        """Qualities of a batch's crops: one in each of as many equal parts of the range."""
        lowest, highest = self.recipe.qualities
        places = (random.permutation(self.batch) + random.random(self.batch)) / self.batch
        return (lowest + (highest - lowest) * places).astype(np.float32)

    def _average_gradients(self) -> None:
        """The mean of all processes' gradients, in one message.

        DistributedDataParallel would look for unused parameters in every step, since stage A has
        some, and make the host wait for the device where it finds them.
        """
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        parts = (flat / self.world).split([g.numel() for g in gradients])
        means = [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)]
        torch._foreach_copy_(gradients, means)

    def _learning_rate(self) -> float:
        progress, end = self._progress(), self.recipe.structure_until
        # Stage C has a schedule of its own.
        return self._rate(
            progress / end if progress < end else (progress - end) / (1 - end) if end < 1 else 1
        )

    def _batch(self, random: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        """Crops [N, 3, S, S], and where lettering was drawn on them, [N, 1, S, S]."""
        recipe = self.recipe
        scale = 1.0
        if random.random() < recipe.reduced:
            # Few different sizes, for which a GPU's memory is at hand after some steps.
            grid = max(recipe.crop // 16, 1)
            side = grid * round(recipe.crop / random.uniform(*recipe.reduction) / grid)
            scale = recipe.crop / side
        x, lettering = self.photos.crops(self.batch, recipe.crop, scale, random), None
        drawn = round(recipe.drawn * self.batch)
        if drawn:
            if self.pages is not None:
                pages = self.pages.crops(drawn, random)
            else:
                pages = upload(draw_pages(drawn, recipe.crop, random, self.faces), self.device)
            lettering = x.new_zeros(len(x), 1, *x.shape[2:])
            x[:drawn], lettering[:drawn] = lay_over(pages, x[:drawn])
            # Some losses look at the first crops only.
            order = upload(random.permutation(self.batch), self.device)
            x, lettering = x[order], lettering[order]
        return x.contiguous(memory_format=torch.channels_last), lettering

    def _set_clock(self, elapsed: float) -> None:
        """Take process 0's clock, so that all follow one schedule and stop together."""
        if self.world == 1:
            self.elapsed = elapsed
        elif self.step % CLOCK_STEPS == 0:
            clock = torch.tensor([elapsed], dtype=torch.float64, device=self.device)
            dist.broadcast(clock, 0)
            self.elapsed = float(clock)

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"texture_begun": self.texture_begun}

    def _load(self) -> None:
        state = checkpoint.read(self.checkpoint)
        if Recipe.from_dict(state["recipe"]) != self.recipe:
            raise ValueError(f"{self.checkpoint} was made by another recipe")
        self._take_up(state, state["ema"])
        self.texture_begun = state.get("texture_begun", self._progress() > self.recipe.sampler_from)


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
