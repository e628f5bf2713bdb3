"""The encoder's search for a better z: gradient descent on the rate and distortion of the picture.

The analysis network answers at once for all pictures; its answer is near the best latent for the
picture at hand, and not there. Stochastic Gumbel annealing (Yang, Bamler & Mandt 2020, "Improving
Inference for Neural Image Compression", section 3.2) moves it by gradient descent on
rate + lambda * distortion while it is rounded softly and at random, ever harder. Nothing in the
file or the decoder depends on it.

The distortion is MSE and 1 - MS-SSIM together. A search for MSE alone takes contrast from where
there is little of it and gains nothing in MS-SSIM; with both, the gain in PSNR is nearly the same.
What the texture needs to know of the picture is in neither, but the analysis network was trained
for it too: the search pays for every step away from its answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..metrics.ssim import SMALLEST, ms_ssim
from ..networks.config import STRIDE
from ..networks.photo import PhotoVLAE
from .quantise import quantise

# Chosen on photographs held out for validation: fewer than about 50 steps do harm, and so does a
# rounding that starts colder.
LEARNING_RATE = 0.05
WARMEST, COLDEST = 0.5, 0.15
# 1 - MS-SSIM in units of MSE: rates at equal PSNR and MS-SSIM fall by 9 and 12 % with 1000 (at
# quality 20), by 7 and 17 % with 2000; with 3000 LPIPS suffers.
DISSIMILARITY = 2000.0
# Bits per squared unit of distance from the analysis output: against 0, rates at equal LPIPS are
# 3 % lower and those at equal PSNR and MS-SSIM 1 to 3 % lower; with 10 the search finds less.
PULL = 3.0
# Latents on one side of the square that is searched at a time: bounds memory to about 2 GB.
TILE = 64
# Latents around it that are seen and stay as they are.
MARGIN = 4


def refine(
    model: PhotoVLAE,
    x: Tensor,
    y: Tensor,
    levels: Tensor,
    level: float,
    steps: int,
    progress: Callable[[float], None],
) -> Tensor:
    """Integers z [1, C, h, w]: those of `quantise`, or better ones.

    Args:
        model: whose parameters ask for no gradient.
        x: [1, 3, 16 h, 16 w] in [0, 1].
        y: [1, C, h, w], the analysis output.
        levels: [1, levels] from `level_weights`.
        level: quality in [0, 1].
        steps: of gradient descent, for every tile.
        progress: told the share of the steps that are done.
    """
    z = quantise(y, model.prior, levels).clone()
    height, width = y.shape[2:]
    tiles = [(top, left) for top in range(0, height, TILE) for left in range(0, width, TILE)]
    for index, (top, left) in enumerate(tiles):
        (rows, own_rows), (columns, own_columns) = _tile(top, height), _tile(left, width)
        part = (slice(None), slice(None), rows, columns)
        free = torch.zeros(z[part].shape, dtype=torch.bool)
        free[:, :, own_rows, own_columns] = True
        picture = x[:, :, _pixels(rows), _pixels(columns)]
        search = _Search(model, picture, levels, level, z[part].clone(), free)

        def share(done: float, index: int = index) -> None:
            progress((index + done) / len(tiles))

        z[part] = search.run(y[part], steps, share)
    return z


def _tile(start: int, size: int) -> tuple[slice, slice]:
    """The part of an axis that a tile sees, and where in it the tile itself lies."""
    stop = min(start + TILE, size)
    first = max(0, start - MARGIN)
    return slice(first, min(size, stop + MARGIN)), slice(start - first, stop - first)


def _pixels(latents: slice) -> slice:
    return slice(latents.start * STRIDE, latents.stop * STRIDE)


class _Search:
    """The search within one tile, where `free` says; elsewhere latents stay as in `start`."""

    def __init__(
        self,
        model: PhotoVLAE,
        x: Tensor,
        levels: Tensor,
        level: float,
        start: Tensor,
        free: Tensor,
    ) -> None:
        self.model, self.x, self.levels = model, x, levels
        self.start, self.free = start, free
        self.pixels = x.shape[2] * x.shape[3]
        self.weight = model.config.rate_weight(level)
        # Smaller pictures have too few scales.
        self.dissimilarity = DISSIMILARITY if min(x.shape[2:]) >= SMALLEST else 0.0

    def run(self, y: Tensor, steps: int, progress: Callable[[float], None]) -> Tensor:
        """Integers [1, C, h, w] that cost no more than `start`."""
        parameter = y.clone().requires_grad_()
        optimiser = torch.optim.Adam([parameter], LEARNING_RATE)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for step in range(steps):
                done = step / steps
                progress(done)
                for group in optimiser.param_groups:
                    group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * done))
                soft = soft_round(parameter, WARMEST * (COLDEST / WARMEST) ** done)
                z = torch.where(self.free, soft, self.start)
                with torch.autocast("cpu", torch.bfloat16, enabled=_has_bfloat16()):
                    cost = self.cost(z)
                cost = cost + PULL * (parameter - y).square().sum() / self.pixels
                (parameter.grad,) = torch.autograd.grad(cost, parameter)
                optimiser.step()
            found = quantise(parameter.detach(), self.model.prior, self.levels)
            found = torch.where(self.free, found, self.start)
            with torch.no_grad():
                costs = []
                for z in (self.start, found):
                    torch.manual_seed(0)
                    costs.append(self.cost(z))
        return found if costs[1] < costs[0] else self.start

    def cost(self, z: Tensor) -> Tensor:
        """Bits per pixel + lambda * distortion of latents [1, C, h, w]; a number."""
        prior = self.model.prior(z, z, self.levels)
        known = self.model.known(z, prior.mean, prior.log_scale, self.levels)
        mean = self.model.mean(self.model.synthesis.trunk(known))
        distortion = ((mean - self.x) * 255).square().mean()
        if self.dissimilarity:
            distortion = distortion + self.dissimilarity * (1 - ms_ssim(mean, self.x).mean())
        bits = (prior.latent_bits + prior.hyper_bits).sum()
        return bits / self.pixels + self.weight * distortion


def soft_round(y: Tensor, temperature: float) -> Tensor:
    """y moved towards one of the two integers around it, at random, the nearer the likelier.

    A sample of the Gumbel-softmax distribution over both with logits -atanh(distance) /
    temperature (Yang et al. 2020, equation 9); differentiable. Any shape.
    """
    below = y.detach().floor()
    up = (y - below).clamp(1e-4, 1 - 1e-4)
    preference = (torch.atanh(up) - torch.atanh(1 - up)) / temperature
    # The difference of two Gumbel variables is logistic.
    noise = torch.logit(torch.rand_like(up).clamp(1e-6, 1 - 1e-6))
    return below + torch.sigmoid((preference + noise) / temperature)


def _has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself: then it is twice as fast as float32."""
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
