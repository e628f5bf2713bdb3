"""`flows`: what a stack of flow steps would gain as a prior over one deep affine step.

The paper stacks steps that shift alone (Chen et al. 2016, section 4); a coder can walk one step, a
stack it could only code by local bits-back (Ho et al. 2019). So priors of both kinds are fitted to
z ~ q(z | x) of a finished model, for as long each, and compared by the KL that they leave.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlaec.bench.likelihood import Estimate, as_input, estimate
from vlaec.networks.made import MADE
from vlaec.networks.set_units import LATENT_UNIT
from vlaec.networks.sets import SetVLAE

# Hidden units and layers of each step's network, the number of steps, and whether they scale.
ROWS = {
    "one affine step (as shipped)": (512, 2, 1, True),
    "two affine steps": (360, 2, 2, True),
    "four steps of shifts (as the paper)": (256, 2, 4, False),
    "four steps of shifts, 512 wide": (512, 2, 4, False),
    "independent Gaussians": (0, 0, 0, False),
}
BATCH = 256
LEARNING_RATE = 2e-3
ENCODED = 500  # images at a time
LOG_SCALE_BOUND = 5.0


class FlowStack(nn.Module):
    """Density of z [N, D]: steps u = (z - shift(z_<)) / scale(z_<), reversed in between, and
    independent Gaussians at the end."""

    def __init__(self, size: int, hidden: int, depth: int, steps: int, scales: bool) -> None:
        super().__init__()
        self.steps = nn.ModuleList(MADE(size, hidden, depth) for _ in range(steps))
        self.scales = scales
        self.mean = nn.Parameter(torch.zeros(size))
        self.log_scale = nn.Parameter(torch.zeros(size))

    def log_density(self, z: Tensor) -> Tensor:
        """log p(z) in nats, [N]; z in units of the grid."""
        u = z[:, :, None, None] / LATENT_UNIT
        total = z.new_full((len(z),), -z.shape[1] * math.log(LATENT_UNIT))
        for step in self.steps:
            shift, log_scale = step(u)
            u = u - shift
            if self.scales:
                log_scale = log_scale.clamp(-LOG_SCALE_BOUND, LOG_SCALE_BOUND)
                u = u * (-log_scale).exp()
                total = total - log_scale.flatten(1).sum(1)
            u = u.flip(1)
        standard = (u.flatten(1) - self.mean) * (-self.log_scale).exp()
        return total + _normal(standard) - self.log_scale.sum()


def compare(
    model: SetVLAE, train: np.ndarray, test: np.ndarray, minutes: float
) -> dict[str, dict[str, Any]]:
    """Every row after so many minutes: KL in nats per test image, parameters and steps.

    Args:
        train, test: images as `as_input` takes them.
    """
    known, unknown = (Posteriors(model, images) for images in (train, test))
    rows = {}
    for name, form in ROWS.items():
        torch.manual_seed(0)
        prior = FlowStack(known.mean.shape[1], *form)
        steps = _fit(prior, known, minutes)
        kl = _kl(prior, unknown)
        rows[name] = {
            "kl": {"mean": kl.mean, "error": kl.error},
            "parameters": sum(p.numel() for p in prior.parameters()),
            "steps": steps,
        }
    return rows


class Posteriors:
    """q(z | x) of all images: means and log scales [N, D]."""

    @torch.inference_mode()
    def __init__(self, model: SetVLAE, images: np.ndarray) -> None:
        parts = [model.encode(x) for x in as_input(images).split(ENCODED)]
        mean, log_scale = (torch.cat(values).flatten(1) for values in zip(*parts, strict=True))
        self.mean, self.log_scale = mean.clone(), log_scale.clone()

    def draw(self, chosen: Tensor | slice, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """z [n, D] of some images, and log q(z | x) [n]."""
        mean, log_scale = self.mean[chosen], self.log_scale[chosen]
        noise = torch.randn(mean.shape, generator=random)
        return mean + log_scale.exp() * noise, _normal(noise) - log_scale.sum(1)


def _fit(prior: FlowStack, known: Posteriors, minutes: float) -> int:
    """Maximise the mean log density for so long; returns the steps."""
    random = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(prior.parameters(), LEARNING_RATE)
    begun, steps = time.monotonic(), 0
    for chosen in _batches(len(known.mean), random):
        done = (time.monotonic() - begun) / (60 * minutes)
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * done))
        loss = -prior.log_density(known.draw(chosen, random)[0]).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(prior.parameters(), 10.0)
        optimiser.step()
        steps += 1
    return steps


def _batches(images: int, random: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(images, generator=random).split(BATCH)


@torch.no_grad()
def _kl(prior: FlowStack, unknown: Posteriors, draws: int = 4) -> Estimate:
    """E_q[log q - log p] over images, by some draws of each."""
    random = torch.Generator().manual_seed(1)
    total: Tensor | float = 0.0
    for _ in range(draws):
        z, log_q = unknown.draw(slice(None), random)
        total = total + (log_q - prior.log_density(z)) / draws
    assert isinstance(total, Tensor)
    return estimate(total.double().numpy())


def _normal(standard: Tensor) -> Tensor:
    """log N(0, 1), summed over [N, D]."""
    return (-0.5 * standard.square() - 0.5 * math.log(2 * math.pi)).sum(1)
