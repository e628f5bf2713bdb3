"""The machine a run has: its settings, and how much arithmetic the training asks of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .photo.recipe import Recipe


@dataclass(frozen=True)
class Machine:
    """What one process of a run works on."""

    device: torch.device
    compiled: bool = False  # by torch.compile: worth its minute of compilation on GPUs alone
    peak_tflops: float | None = None  # of the device at bfloat16, dense, by its data sheet
    counts_flops: bool = True  # for the log: takes a step of each kind when a run begins

    def autocast(self) -> torch.autocast:
        """The precision of a training step; what must be float32 opts out inside the model.

        Without torch's cache of cast weights: all threads share it, so that other runs would decide
        how this one rounds, and it keeps the adversary's weights of before its step.
        """
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)

    def tune(self) -> None:
        """Process-wide settings of CUDA: the fastest algorithms, and float32 where it is asked for.

        Every convolution of a run has one shape per stage, so measuring algorithms pays off. What
        is not bfloat16 needs its digits (MS-SSIM, variances, the prior): no TF32.
        """
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False


def flops_per_pixel(objective: nn.Module, recipe: Recipe, machine: Machine) -> tuple[float, float]:
    """Floating-point operations of a step, forward and backward, per pixel: stages A and B.

    Counted by running both on one batch; convolutions and matrix products only, a multiply-add
    being two operations. `objective` is an `Objective` that is not compiled.
    """
    x = torch.full((recipe.batch, 3, recipe.crop, recipe.crop), 0.5, device=machine.device)
    random = torch.Generator(machine.device)
    level = torch.full((recipe.batch,), 0.5, device=machine.device)
    counts = []
    for corner in (None, (0, 0)):
        with FlopCounterMode(display=False) as counter:
            with machine.autocast():
                losses = objective(x, level, corner, random)
            losses.total.backward()
        counts.append(counter.get_total_flops() / (recipe.batch * recipe.crop**2))
        objective.zero_grad(set_to_none=True)
    return counts[0], counts[1]
