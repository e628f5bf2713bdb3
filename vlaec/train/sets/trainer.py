"""The training loop of set models: the ELBO, soft free bits, the best weights by validation."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...networks.sets import SetVLAE
from .. import checkpoint, log
from ..machine import Machine
from ..run import Budget, Run
from .data import SetData
from .precondition import precondition, trained
from .recipe import SetRecipe

KL_WEIGHT_MIN = 1e-3
VALIDATION_BATCH = 250
# In a short run validations are rarer than asked for: between two of them so many times as long.
VALIDATION_PAUSE = 10
VALIDATION_SEED = 20161108


class SetTrainer(Run[SetRecipe]):
    """Trains one set model in one process."""

    def __init__(
        self, recipe: SetRecipe, data: SetData, run: Path, budget: Budget, machine: Machine
    ) -> None:
        """The images stay on the machine's device as they are, uint8.

        Raises:
            ValueError: images of another form than the model's, or a checkpoint of another recipe.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(recipe.seed)
            model = SetVLAE(recipe.model)
        precondition(model.pixelcnn)
        self.model = model.to(machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(recipe, run, budget, machine, self.model)
        self.dynamic = data.dynamic
        self.train_images = self._images(data.train)  # [N, C, H, W]
        self.validation_images = self._images(data.validation[: recipe.validation_images])
        self.best, self.best_elbo = self.ema, -math.inf
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(),
            lr=recipe.learning_rate,
            # A short memory: where gradients grow, as in a decoder that learns flat areas, a long
            # one lets single steps be many times too large.
            betas=(0.9, 0.99),
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        # The weight of the KL, on the device: nothing waits for it.
        self.weight = torch.ones((), dtype=torch.float64, device=self.device)
        self.validation_due = 1 / recipe.validations
        self.order, self.order_epoch = np.empty(0, np.int64), -1
        if self.checkpoint.exists():
            self._load()

    @property
    def kl_weight(self) -> float:
        """The weight of the KL in the next step."""
        return float(self.weight)

    def start_from(self, other: Path) -> None:
        """Take the best weights of another run of the same model; a run that goes on ignores it.

        Raises:
            FileNotFoundError: the other run has no checkpoint.
            ValueError: its model is another one.
        """
        if self.step:
            return
        state = checkpoint.read(other / "checkpoint.pt")
        if SetRecipe.from_dict(state["recipe"]).model != self.recipe.model:
            raise ValueError(f"the model of {other} is another one")
        self._begin_with(trained(state.get("best", state["ema"]), self.ema))

    def _new_meter(self) -> _Meter:
        self.meter = _Meter()
        return self.meter

    def _row(self) -> log.Row:
        return self.meter.row(self.recipe.batch) | {"kl_weight": self.kl_weight}

    def _counted_step(self) -> bool:
        self.meter.add(*self._one_step())
        return True

    def _look(self) -> log.Row:
        begun = self._progress()
        if begun < min(self.validation_due, 1):
            return {}
        started = time.monotonic()
        row = self.validate()
        share = self.budget.spent(0, time.monotonic() - started)
        pause = max(1 / self.recipe.validations, VALIDATION_PAUSE * share)
        self.validation_due = begun + share + pause
        return row

    def validate(self) -> log.Row:
        """ELBO of the averaged weights in nats per image; the best ones are kept."""
        current = [value.clone() for value in self.current]
        torch._foreach_copy_(self.current, self.averages)
        torch.manual_seed(VALIDATION_SEED)
        kls, likelihoods = [], []
        with torch.no_grad(), self._autocast():
            for part in self.validation_images.split(VALIDATION_BATCH):
                kl, likelihood = self.model.elbo(self._as_input(part))
                kls.append(kl)
                likelihoods.append(likelihood)
        torch._foreach_copy_(self.current, current)
        kl, likelihood = float(torch.cat(kls).mean()), float(torch.cat(likelihoods).mean())
        if likelihood - kl > self.best_elbo:
            self.best_elbo = likelihood - kl
            self.best = {k: v.clone() for k, v in self.ema.items()}
        return {"validation_elbo": likelihood - kl, "validation_kl": kl}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16)

    def _one_step(self) -> tuple[Tensor, Tensor]:
        """One update; mean KL and log-likelihood of the batch, in nats."""
        recipe = self.recipe
        self._set_rate()
        # Torch's generators start from 64 bits; these streams do not overlap by chance.
        random = np.random.default_rng((recipe.seed, 1, self.step))
        torch.manual_seed(int(random.integers(2**63)))
        x = self._batch()
        with self._autocast():
            kl, likelihood = (part.mean() for part in self.model.elbo(x))
        self.optimiser.zero_grad(set_to_none=True)
        (self.weight.to(kl) * kl - likelihood).backward()
        # One by one: the PixelCNN's gradients are so large that a norm of all would guard no other.
        norms = [
            nn.utils.clip_grad_norm_(part.parameters(), recipe.clip_norm)
            for part in self.model.children()
        ]
        # One bad batch must not spoil the weights: the fused step skips itself where this is 1.
        self.optimiser.found_inf = (~torch.stack(norms).isfinite()).any().float()  # type: ignore[attr-defined]
        self.optimiser.step()
        self._average()
        if recipe.kl_target:
            target = recipe.kl_target if self._progress() < recipe.kl_until else 0.0
            self.weight = soft_free_bits(self.weight, kl.detach(), target, recipe)
        return kl.detach(), likelihood.detach()

    def _batch(self) -> Tensor:
        """The step's images [batch, C, H, W] in [0, 1]: each image once per epoch."""
        size = min(self.recipe.batch, len(self.train_images))
        epoch, place = divmod(self.step, len(self.train_images) // size)
        if epoch != self.order_epoch:
            random = np.random.default_rng((self.recipe.seed, 0, epoch))
            self.order, self.order_epoch = random.permutation(len(self.train_images)), epoch
        chosen = torch.from_numpy(self.order[place * size : (place + 1) * size])
        if self.device.type == "cuda":
            chosen = chosen.pin_memory()
        x = self._as_input(self.train_images[chosen.to(self.device, non_blocking=True)])
        if self.recipe.flips:
            flipped = torch.rand(size, 1, 1, 1, device=self.device) < 0.5
            x = torch.where(flipped, x.flip(3), x)
        if self.recipe.shifts:
            x = shifted(x, self.recipe.shifts)
        return x.contiguous(memory_format=torch.channels_last)

    def _images(self, images: np.ndarray) -> Tensor:
        """[N, H, W] or [N, H, W, 3] as [N, C, H, W] on the device."""
        config = self.recipe.model
        tensor = torch.from_numpy(images)
        planes = tensor[:, None] if tensor.dim() == 3 else tensor.permute(0, 3, 1, 2)
        wanted = (config.channels, config.height, config.width)
        if tuple(planes.shape[1:]) != wanted:
            raise ValueError(f"images are {tuple(planes.shape[1:])}, those of the model {wanted}")
        return planes.to(self.device, memory_format=torch.channels_last)

    def _as_input(self, images: Tensor) -> Tensor:
        """uint8 images as the model takes them; grey ones are binarised anew."""
        if self.dynamic:
            return (torch.rand(images.shape, device=self.device) * 255 < images).float()
        return images.float() / (255 if self.recipe.model.kind == "colour" else 1)

    def _state(self) -> dict[str, Any]:
        return super()._state() | {
            "best": self.best,
            "best_elbo": self.best_elbo,
            "kl_weight": self.kl_weight,
            "validation_due": self.validation_due,
        }

    def _load(self) -> None:
        state = checkpoint.read(self.checkpoint)
        if SetRecipe.from_dict(state["recipe"]) != self.recipe:
            raise ValueError(f"{self.checkpoint} was made by another recipe")
        self.weight.fill_(state.get("kl_weight", 1.0))
        if self._take_up(state, trained(state["ema"], self.ema)):
            self.best_elbo, self.validation_due = state["best_elbo"], state["validation_due"]
            if math.isfinite(self.best_elbo):
                self.best = {k: v.to(self.device) for k, v in state["best"].items()}


def shifted(x: Tensor, reach: int) -> Tensor:
    """Images [N, C, H, W], each moved at random by up to `reach` pixels; edges are repeated."""
    n, _, height, width = x.shape
    padded = functional.pad(x, (reach,) * 4, mode="replicate").permute(0, 2, 3, 1)
    top, left = torch.randint(0, 2 * reach + 1, (2, n, 1), device=x.device)
    rows = top + torch.arange(height, device=x.device)  # [N, H]
    columns = left + torch.arange(width, device=x.device)  # [N, W]
    image = torch.arange(n, device=x.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def soft_free_bits(weight: Tensor, kl: Tensor, target: float, recipe: SetRecipe) -> Tensor:
    """The KL's weight for the next step, after a step with `kl` nats where `target` are wanted; all
    on the device."""
    more = (weight * (1 + recipe.kl_rate)).clamp(max=1.0)
    less = (weight / (1 + recipe.kl_rate)).clamp(min=KL_WEIGHT_MIN)
    kept = torch.where(kl < target, less, weight)
    return torch.where(kl > target * (1 + recipe.kl_tolerance), more, kept)


class _Meter:
    """Adds up KL and log-likelihood on their device; only `row` waits for them."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.kl: Tensor | float = 0.0
        self.likelihood: Tensor | float = 0.0
        self.count = 0

    def add(self, kl: Tensor, likelihood: Tensor) -> None:
        """One step's means."""
        self.kl, self.likelihood = self.kl + kl, self.likelihood + likelihood
        self.count += 1

    @property
    def seconds(self) -> float:
        """Since the meter was made."""
        return time.monotonic() - self.started

    def row(self, batch: int) -> log.Row:
        """Means over the steps, in nats per image, and the throughput."""
        kl, likelihood = float(self.kl) / self.count, float(self.likelihood) / self.count
        speed = self.count * batch / self.seconds
        return {"elbo": likelihood - kl, "kl": kl, "images_per_second": speed}
