"""What a run on a GPU checks before it spends its minutes: printed, and never the run's end."""

from __future__ import annotations

import copy
import math
import time
import traceback
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...metrics.ssim import ms_ssim
from ...networks.blocks import level_weights
from ...networks.photo import PhotoVLAE
from ...networks.prior import gaussian_bits
from .trainer import Trainer

WARM_STEPS = 11  # a refresh of SOAP's bases is among them
TIMED_STEPS = 10
# A smaller batch takes more steps: it is taken where it loses no more of the pixels than this.
KEPT = 0.8
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 0.02, 0.98


class Checks:
    """Checks of one trainer, which afterwards is as it was."""

    def __init__(self, trainer: Trainer, say: Callable[[str], None]) -> None:
        self.trainer, self.say = trainer, say
        self.cuda = trainer.device.type == "cuda"
        recipe = trainer.recipe
        self.texture = trainer.budget.spent(0, 0) >= recipe.sampler_from

    def run(self, choose: bool) -> None:
        """All checks; with `choose` the batch is then the one that trains fastest."""
        trainer = self.trainer
        begun, batch = trainer.texture_begun, trainer.batch
        kept = [value.clone() for value in trainer.current]
        optimiser = copy.deepcopy(trainer.optimiser.state_dict())
        self._try("loss and gradient as on the CPU", self._like_the_cpu)
        speeds = {}
        sizes = [batch // 2, batch] if choose and self.cuda else [batch]
        for size in sizes:
            trainer.batch = size
            self._try(f"steps of {size} crops", lambda: speeds.update(self._speed()))
        if self.cuda:
            self._try("no waits in a step", self._without_waits)
        trainer.batch = batch
        if len(speeds) == 2 and speeds[sizes[0]] >= KEPT * speeds[batch]:
            trainer.batch = sizes[0]
        trainer.step, trainer.texture_begun = 0, begun
        torch._foreach_copy_(trainer.current, kept)
        torch._foreach_copy_(trainer.averages, kept)
        trainer.optimiser.zero_grad(set_to_none=True)
        trainer.optimiser.state.clear()
        trainer.optimiser.load_state_dict(optimiser)

    def _try(self, name: str, check: Callable[[], None]) -> None:
        begun = time.monotonic()
        try:
            check()
        except Exception:
            self.say(f"check FAILED: {name}")
            traceback.print_exc()
        self.say(f"check '{name}' took {time.monotonic() - begun:.1f} s")

    def _step(self) -> None:
        trainer = self.trainer
        trainer._one_step(self.texture, structure=True)
        trainer.step += 1

    def _wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def _speed(self) -> dict[int, float]:
        """Megapixels per second, by the number of crops."""
        trainer = self.trainer
        for _ in range(WARM_STEPS if self.cuda else 2):
            self._step()
        self._wait()
        begun = time.monotonic()
        steps = TIMED_STEPS if self.cuda else 2
        for _ in range(steps):
            self._step()
        queued = time.monotonic() - begun
        self._wait()
        seconds = (time.monotonic() - begun) / steps
        speed = trainer.batch * trainer.recipe.crop**2 / seconds / 1e6
        memory = torch.cuda.max_memory_allocated() / 2**30 if self.cuda else 0
        self.say(
            f"batch {trainer.batch}: {1000 * seconds:.1f} ms a step (host "
            f"{1000 * queued / steps:.1f} ms), {speed:.1f} MP/s, {memory:.1f} GiB"
        )
        return {trainer.batch: speed}

    def _without_waits(self) -> None:
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(WARM_STEPS):
                self._step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        self.say("no step waits for the GPU")

    def _like_the_cpu(self) -> None:
        """The loss without chance, and its gradient, here and on the CPU."""
        trainer = self.trainer
        random = np.random.default_rng(1)
        crops = trainer.photos.crops(4, min(128, trainer.recipe.crop), 1.0, random)
        other = copy.deepcopy(trainer.model).cpu()
        loss, gradient = _loss_and_gradient(trainer.model, crops)
        expected, reference = _loss_and_gradient(other, crops.cpu())
        apart = abs(loss / expected - 1)
        cosine = float(F.cosine_similarity(gradient.double(), reference.double(), dim=0))
        good = apart < LOSS_TOLERANCE and cosine > GRADIENT_TOLERANCE
        self.say(
            f"{'same' if good else 'OTHER'} loss as on the CPU: {loss:.5f} and {expected:.5f}, "
            f"cosine of the gradients {cosine:.5f}"
        )
        trainer.optimiser.zero_grad(set_to_none=True)


def _loss_and_gradient(model: PhotoVLAE, x: Tensor) -> tuple[float, Tensor]:
    """Rate + lambda * distortion of crops [N, 3, S, S], rounding in place of noise."""
    level = torch.linspace(0.2, 0.8, len(x), device=x.device)
    levels = level_weights(level, model.config.levels)
    with torch.autocast(x.device.type, torch.bfloat16):
        y = model.encode(x.contiguous(memory_format=torch.channels_last), levels)
        z = y + (y.round() - y).detach()
        with torch.autocast(x.device.type, enabled=False):
            prior = model.prior
            q_mean, _ = prior.posterior(z[:, : prior.early_channels])
            features = prior.features(q_mean, levels, *z.shape[2:])
            mean, log_scale = prior.conditionals(z, features, levels)
            bits = gaussian_bits(z, mean, log_scale.exp()).flatten(1).sum(1)
        picture = model.mean(model.synthesis.trunk(model.code(z, mean, log_scale, levels)))
        mse = ((picture - x) * 255).square().flatten(1).mean(1)
        span = math.log(model.config.lambda_max / model.config.lambda_min)
        weight = model.config.lambda_min * torch.exp(level * span)
        distortion = mse + 1000 * (1 - ms_ssim(picture, x))
        total = (bits / (x.shape[2] * x.shape[3]) + weight * distortion).mean()
    model.zero_grad(set_to_none=True)
    total.backward()
    gradients = [p.grad.flatten().float().cpu() for p in model.parameters() if p.grad is not None]
    return float(total.detach()), torch.cat(gradients)
