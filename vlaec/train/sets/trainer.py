"""The training loop of set models: the ELBO, soft free bits, the best weights by validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...networks.seeded import Seeded
from ...networks.sets import SetVLAE
from .. import checkpoint, log
from ..graph import StepGraph
from ..machine import Machine
from ..run import Budget, Run
from ..soap import SOAP
from .augment import shifted, warped
from .data import SetData
from .dropout import add_dropout
from .grow import grown
from .precondition import plain, precondition, trained
from .recipe import SetRecipe

KL_WEIGHT_MIN = 1e-3
VALIDATION_BATCH = 250
# The host runs ahead of a GPU; so many steps it may, or its clock would say little.
STEPS_AHEAD = 32
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
        with Seeded(recipe.seed):
            model = SetVLAE(recipe.model)
        if recipe.optimiser == "adam":
            precondition(model.pixelcnn)
        self.model = model.to(machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(recipe, run, budget, machine, self.model)
        self.dynamic = data.dynamic
        self.train_images = self._images(data.train)  # [N, C, H, W]
        self.validation_images = self._images(data.validation[: recipe.validation_images])
        self.best, self.best_elbo = self.ema, -math.inf
        if recipe.dropout:
            add_dropout(self.model, recipe.dropout, self.random)
        self.likelihood = self.model.log_likelihood
        if machine.compiled:
            self.likelihood = torch.compile(self.likelihood)
        # What changes from step to step stays on the device: no step waits for the host or is
        # waited for, and on a GPU all of its work is one graph.
        scalars = torch.zeros(4, device=self.device).unbind()
        self.rate, self.decay, self.kl_target, self.shift_share = scalars
        self.kl_weight = torch.ones((), device=self.device)
        self.sums = torch.zeros(2, device=self.device)  # of KL and log-likelihood, for the log
        size = min(recipe.batch, len(self.train_images))
        self.indices = torch.zeros(size, dtype=torch.int64, device=self.device)
        self.order, self.order_epoch = self.indices, -1
        # A short memory: where gradients grow, as in a decoder that learns flat areas, a long one
        # lets single steps be many times too large.
        betas = (0.9, 0.99)
        self.update: Callable[[], None]
        if recipe.optimiser == "soap":
            self.optimiser = SOAP(self.model.parameters(), recipe.learning_rate, betas)
            self.update = self._update  # its steps are not all alike, so they are no graph
        else:
            self.optimiser = torch.optim.AdamW(
                self.model.parameters(),
                lr=self.rate,
                betas=betas,
                weight_decay=recipe.weight_decay,
                fused=True,
                capturable=self.device.type == "cuda",
            )
            self.update = StepGraph(self._update, self.device, self.random)
        self.validation_due = 1 / recipe.validations
        if self.checkpoint.exists():
            self._load()

    def start_from(self, other: Path) -> None:
        """Take the best weights of another run, a folder or a packed checkpoint, of the same model
        or of one whose PixelCNN is smaller (see `grown`); a run that goes on ignores it.

        Raises:
            FileNotFoundError: the other run has no checkpoint.
            ValueError: its model is another one.
        """
        if self.step:
            return
        state = checkpoint.read(other if other.is_file() else other / "checkpoint.pt")
        model = SetRecipe.from_dict(state["recipe"]).model
        weights = {k: v.float() for k, v in state.get("best", state["ema"]).items()}
        if model != self.recipe.model:
            weights = plain(weights)
            fresh = {k: v.cpu() for k, v in plain(self.model.state_dict()).items()}
            weights = grown(weights, model, self.recipe.model, fresh)
        self._begin_with(trained(weights, {k: v.cpu() for k, v in self.ema.items()}))

    def _new_meter(self) -> _Meter:
        self.meter = _Meter(self.sums)
        return self.meter

    def _row(self) -> log.Row:
        return self.meter.row(self.recipe.batch) | {"kl_weight": float(self.kl_weight)}

    def _counted_step(self) -> bool:
        self.one_step()
        self.meter.count += 1
        if self.device.type == "cuda" and self.step % STEPS_AHEAD == 0:
            torch.cuda.synchronize(self.device)
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
        self.random.manual_seed(VALIDATION_SEED)
        self.model.eval()
        kls, likelihoods = [], []
        with torch.no_grad(), self._autocast():
            for part in self.validation_images.split(VALIDATION_BATCH):
                kl, likelihood = self.model.elbo(self._as_input(part), self.random)
                kls.append(kl)
                likelihoods.append(likelihood)
        self.model.train()
        torch._foreach_copy_(self.current, current)
        kl, likelihood = float(torch.cat(kls).mean()), float(torch.cat(likelihoods).mean())
        if likelihood - kl > self.best_elbo:
            self.best_elbo = likelihood - kl
            self.best = {k: v.clone() for k, v in self.ema.items()}
        return {"validation_elbo": likelihood - kl, "validation_kl": kl}

    def _autocast(self) -> torch.autocast:
        enabled = self.recipe.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled, cache_enabled=False)

    def one_step(self) -> None:
        """One update, at the place of the schedule that `step` and `elapsed` say."""
        recipe = self.recipe
        rate = self._learning_rate()
        self.rate.fill_(rate)
        if recipe.optimiser == "soap":
            for group in self.optimiser.param_groups:
                group["lr"] = rate
        self.decay.fill_(min(recipe.ema, (1 + self.step) / (10 + self.step)))
        self.shift_share.fill_(1 + (recipe.shifts_end - 1) * self._progress())
        if recipe.kl_target:
            target = recipe.kl_target if self._progress() < recipe.kl_until else 0.0
            self.kl_target.fill_(target)
        # Torch's generators start from 64 bits; these streams do not overlap by chance.
        random = np.random.default_rng((recipe.seed, 1, self.step))
        self.random.manual_seed(int(random.integers(2**63)))
        self._choose()
        self.update()

    def _update(self) -> None:
        """The work of a step on the device, with what `one_step` has put there."""
        recipe = self.recipe
        x = self._batch()
        self.optimiser.zero_grad(set_to_none=True)
        with self._autocast():
            z, kls = self.model.sample(x, self.random)
            likelihood = self.likelihood(x, self.model.features(z)).mean()
        kl = kls.mean()
        (self.kl_weight * kl - likelihood).backward()
        # One by one: the PixelCNN's gradients are so large that a norm of all would guard no other.
        norms = [
            nn.utils.clip_grad_norm_(part.parameters(), recipe.clip_norm)
            for part in self.model.children()
        ]
        # One bad batch must not spoil the weights: the fused step skips itself where this is 1.
        self.optimiser.found_inf = (~torch.stack(norms).isfinite()).any().float()  # type: ignore[attr-defined]
        self.optimiser.step()
        averages = list(self.ema.values())
        changes = torch._foreach_sub(self.current, averages)
        torch._foreach_mul_(changes, 1 - self.decay)
        torch._foreach_add_(averages, changes)
        kl, likelihood = kl.detach(), likelihood.detach()
        if recipe.kl_target:
            self.kl_weight.copy_(soft_free_bits(self.kl_weight, kl, self.kl_target, recipe))
        self.sums.add_(torch.stack([kl, likelihood]))

    def _choose(self) -> None:
        """The step's images, as indices: each image once per epoch."""
        size = len(self.indices)
        epoch, place = divmod(self.step, len(self.train_images) // size)
        if epoch != self.order_epoch:
            random = np.random.default_rng((self.recipe.seed, 0, epoch))
            order = torch.from_numpy(random.permutation(len(self.train_images)))
            self.order, self.order_epoch = order.to(self.device), epoch
        self.indices.copy_(self.order[place * size : (place + 1) * size])

    def _batch(self) -> Tensor:
        """The chosen images [batch, C, H, W] in [0, 1], varied."""
        x = self._as_input(self.train_images[self.indices])
        if self.recipe.flips:
            flipped = self._uniform((len(x), 1, 1, 1)) < 0.5
            x = torch.where(flipped, x.flip(3), x)
        if self.recipe.shifts or self.recipe.warps:
            moved = self._uniform((len(x), 1, 1, 1)) < self.shift_share
            other = shifted(x, self.recipe.shifts, self.random)
            if self.recipe.warps:
                other = warped(other, self.recipe.warps, self.random)
            x = torch.where(moved, other, x)
        return x.contiguous(memory_format=torch.channels_last)

    def _uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self.random, device=self.device)

    def _images(self, images: np.ndarray) -> Tensor:
        """[N, H, W] or [N, H, W, 3] as [N, C, H, W] on the device."""
        config = self.recipe.model
        tensor = torch.from_numpy(images)
        planes = tensor[:, None] if tensor.dim() == 3 else tensor.permute(0, 3, 1, 2)
        wanted = (config.channels, config.height, config.width)
        if tuple(planes.shape[1:]) != wanted:
            raise ValueError(f"images are {tuple(planes.shape[1:])}, the model's {wanted}")
        return planes.to(self.device, memory_format=torch.channels_last)

    def _as_input(self, images: Tensor) -> Tensor:
        """uint8 images as the model takes them; grey ones are binarised again each time."""
        if self.dynamic:
            return (self._uniform(images.shape) * 255 < images).float()
        return images.float() / (255 if self.recipe.model.kind == "colour" else 1)

    def _state(self) -> dict[str, Any]:
        return super()._state() | {
            "best": self.best,
            "best_elbo": self.best_elbo,
            "kl_weight": float(self.kl_weight),
            "validation_due": self.validation_due,
        }

    def _load(self) -> None:
        state = checkpoint.read(self.checkpoint)
        if SetRecipe.from_dict(state["recipe"]) != self.recipe:
            raise ValueError(f"{self.checkpoint} was made by another recipe")
        self.kl_weight.fill_(state.get("kl_weight", 1.0))
        whole = self._take_up(state, trained(state["ema"], self.ema))
        if self.recipe.optimiser == "adam":
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate  # itself: what was loaded is a copy
        if whole:
            self.best_elbo, self.validation_due = state["best_elbo"], state["validation_due"]
            if math.isfinite(self.best_elbo):
                self.best = {k: v.to(self.device) for k, v in state["best"].items()}


def soft_free_bits(weight: Tensor, kl: Tensor, target: Tensor, recipe: SetRecipe) -> Tensor:
    """The KL's weight for the next step, after a step with `kl` nats where `target` are wanted."""
    more = (weight * (1 + recipe.kl_rate)).clamp_max(1.0)
    less = (weight / (1 + recipe.kl_rate)).clamp_min(KL_WEIGHT_MIN)
    kept = torch.where(kl < target, less, weight)
    return torch.where(kl > target * (1 + recipe.kl_tolerance), more, kept)


class _Meter:
    """Means of KL and log-likelihood, which are summed on the device; only `row` waits for it."""

    def __init__(self, sums: Tensor) -> None:
        """Zeroes the sums."""
        self.started = time.monotonic()
        self.sums = sums.zero_()
        self.count = 0

    @property
    def seconds(self) -> float:
        """Since the meter was made."""
        return time.monotonic() - self.started

    def row(self, batch: int) -> log.Row:
        """Means over the steps, in nats per image, and the throughput."""
        kl, likelihood = (value / self.count for value in self.sums.tolist())
        speed = self.count * batch / self.seconds
        return {"elbo": likelihood - kl, "kl": kl, "images_per_second": speed}
