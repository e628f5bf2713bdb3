"""The encoder's search for a better z: gradient descent on the rate and distortion of the picture.

The analysis network answers at once for all pictures; its answer is near the best latent for the
picture at hand, and not there. There are two searches. Nothing in the file or the decoder depends
on them.

Stochastic Gumbel annealing (Yang, Bamler & Mandt 2020, "Improving Inference for Neural Image
Compression", section 3.2) moves z by gradient descent on rate + lambda * distortion while it is
rounded softly and at random, ever harder. That takes steps by the hundred: fewer than about 50 do
harm. In a few steps another search finds as much: z stays whole, gradients at z add up, in units
of the cost's curvature, and an element changes once they have carried it to the next integer. A
step that makes z worse is taken back and the next ones are smaller.

The distortion is MSE and 1 - MS-SSIM together. A search for MSE alone takes contrast from where
there is little of it and gains nothing in MS-SSIM; with both, the gain in PSNR is nearly the same.
What the texture needs to know of the picture is in neither, but the analysis network was trained
for it too: the search pays for every step away from its answer.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import zoo
from ..coding.gaussian import LATENT_BOUND
from ..coding.progress import Progress
from ..metrics.ssim import SMALLEST, MultiScaleSSIM
from ..networks.config import STRIDE
from ..networks.photo import PhotoVLAE

# Effort 1 is so many steps of whole integers; every further one is worth so many of annealing.
WHOLE_STEPS = 12
ANNEALING_STEPS = 50
# Of whole integers: the first step, in units of gradient / curvature, and what becomes of it after
# one that pays and one that does not. Channels of less curvature than their mean count as that.
FIRST, AFTER_GAIN, AFTER_LOSS = 0.25, 1.1, 0.4
# Where elements start between their integer and the analysis output: those near the edge of their
# cell are the first to change.
TOWARDS = 0.7
# How far an element may get from the analysis output.
REACH = 1.2
# Of annealing, chosen on photographs held out for validation: a rounding that starts colder does
# harm.
LEARNING_RATE = 0.05
WARMEST, COLDEST = 0.5, 0.15


class Aim(NamedTuple):
    """What a search lowers besides the rate."""

    # Weights of MSE (of pixels 0..255) and of 1 - MS-SSIM. More than training gave them: files
    # grow, and what they show gains more.
    error: float = 2.0
    dissimilarity: float = 2000.0
    # Bits per squared unit of distance from the analysis output, where the texture finds what it
    # needs to know: against 0, rates at equal PSNR, MS-SSIM and LPIPS are lower.
    pull: float = 3.0


# By the metric that a user asks for; None is for PSNR, MS-SSIM and LPIPS together.
AIMS: dict[str | None, Aim] = {
    None: Aim(),
    "psnr": Aim(dissimilarity=0.0),
    "ms-ssim": Aim(0.3, 4000.0),
}
# Latents on one side of the square that is searched at a time: bounds memory to about 2 GB.
TILE = 64
# Latents around it that are seen and stay as they are.
MARGIN = 4


# Integers for an analysis output [C, h, w], and the share of the steps that is done.
Quantise = Callable[[np.ndarray], np.ndarray]


def refine(
    card: zoo.Card,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    level: float,
    effort: int,
    quantise: Quantise,
    progress: Progress,
    tune: str | None = None,
) -> np.ndarray:
    """Integers z [C, h, w] int32: the result of `quantise`, or better ones.

    Whatever the caller has set for its thread (autocast, inference mode, a default device) does
    not matter: the search runs in a thread of its own.

    Args:
        card: card of the model.
        x: [3, 16 h, 16 w] float32 in [0, 1].
        y: [C, h, w], the analysis output.
        weights: [levels], interpolation weights of the quality's levels.
        level: quality in [0, 1].
        effort: from 1 on, how many steps of gradient descent every tile takes.
        quantise: integers for an analysis output.
        progress: told the share of the steps that are done.
        tune: the metric to search for, of `AIMS`.
    """
    aim = AIMS[tune]
    stopped = threading.Event()

    def told(share: float) -> None:
        if stopped.is_set():
            raise InterruptedError("the search was stopped")
        progress(share)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(_refine, card, x, y, weights, level, effort, quantise, told, aim)
        try:
            return future.result()
        except BaseException:
            stopped.set()
            raise


@lru_cache(maxsize=2)
def _load(card_id: str) -> PhotoVLAE:
    return zoo.load(zoo.find(model_id=bytes.fromhex(card_id))).float()


def _refine(
    card: zoo.Card,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    level: float,
    effort: int,
    quantise: Quantise,
    progress: Progress,
    aim: Aim,
) -> np.ndarray:
    model = _load(card.id)
    levels = torch.from_numpy(weights).float()[None]
    z = quantise(y)
    height, width = y.shape[1:]
    tiles = [(top, left) for top in range(0, height, TILE) for left in range(0, width, TILE)]
    for index, (top, left) in enumerate(tiles):
        (rows, own_rows), (columns, own_columns) = _tile(top, height), _tile(left, width)
        part = (slice(None), rows, columns)
        free = torch.zeros(z[part].shape, dtype=torch.bool)
        free[:, own_rows, own_columns] = True
        picture = torch.from_numpy(x[:, _pixels(rows), _pixels(columns)])[None]
        start = torch.from_numpy(z[part]).float()[None]
        search = _Search(
            model,
            picture.contiguous(memory_format=torch.channels_last),
            levels,
            level,
            start,
            free[None],
            quantise,
            aim,
        )

        def share(done: float, index: int = index) -> None:
            progress((index + done) / len(tiles))

        answer = torch.from_numpy(y[part])[None].clone()
        if effort == 1:
            better = search.whole(answer, WHOLE_STEPS, share)
        else:
            better = search.annealed(answer, effort * ANNEALING_STEPS, share)
        z[part] = better[0].to(torch.int32).numpy()
    return z


def _tile(start: int, size: int) -> tuple[slice, slice]:
    """The part of an axis that a tile sees, and the place of the tile in it."""
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
        quantise: Quantise,
        aim: Aim,
    ) -> None:
        self.aim = aim
        self.model, self.x, self.levels = model, x, levels
        self.start, self.free, self.quantise = start, free, quantise
        self.pixels = x.shape[2] * x.shape[3]
        self.weight = model.config.rate_weight(level)
        # Smaller pictures have too few scales.
        compared = aim.dissimilarity and min(x.shape[2:]) >= SMALLEST
        self.similarity = MultiScaleSSIM(x, finest=1) if compared else None

    def whole(self, y: Tensor, steps: int, progress: Callable[[float], None]) -> Tensor:
        """Integers [1, C, h, w] that cost no more than `start`, by steps of whole integers."""
        kept = self.start
        lowest, slope = self._slope(kept, y)
        curvature = self._curvature(kept, slope, y)
        place, step = kept + TOWARDS * (y - kept).clamp(-0.5, 0.5), FIRST
        best = place, slope
        for count in range(2, steps):
            progress(count / steps)
            place = place - step * slope / curvature
            place = torch.where(self.free, place.clamp(y - REACH, y + REACH), self.start)
            z = place.round().clamp(1 - LATENT_BOUND, LATENT_BOUND)  # as `quantise` leaves them
            cost, slope = self._slope(z, y)
            if cost <= lowest:
                kept, lowest, best = z, cost, (place, slope)
                step *= AFTER_GAIN
            else:
                place, slope = best
                step *= AFTER_LOSS
        return kept

    def _slope(self, z: Tensor, y: Tensor) -> tuple[float, Tensor]:
        """The cost of z [1, C, h, w], with that of its distance from y, and its gradient."""
        parameter = z.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=_has_bfloat16()):
            cost = self.cost(parameter, torch.Generator().manual_seed(0))
        cost = cost + self.aim.pull * (parameter - y).square().sum() / self.pixels
        (gradient,) = torch.autograd.grad(cost, parameter)
        return float(cost.detach()), gradient

    def _curvature(self, z: Tensor, slope: Tensor, y: Tensor) -> Tensor:
        """Second derivative of the cost by channel, [1, C, 1, 1], from one more gradient: the
        products with random signs have the Hessian's diagonal as their mean (Hutchinson 1989)."""
        signs = torch.empty_like(z).bernoulli_(generator=torch.Generator().manual_seed(0)) - 0.5
        _, other = self._slope(z + signs, y)
        curvature = ((other - slope) * signs / 0.25).mean((0, 2, 3), keepdim=True)
        return curvature.clamp_min(max(float(curvature.clamp_min(0).mean()), 1e-9))

    def annealed(self, y: Tensor, steps: int, progress: Callable[[float], None]) -> Tensor:
        """Integers [1, C, h, w] that cost no more than `start`, by annealing."""
        parameter = y.clone().requires_grad_()
        optimiser = torch.optim.Adam([parameter], LEARNING_RATE)
        noise = torch.Generator().manual_seed(0)
        for step in range(steps):
            done = step / steps
            progress(done)
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * done))
            soft = soft_round(parameter, WARMEST * (COLDEST / WARMEST) ** done, noise)
            z = torch.where(self.free, soft, self.start)
            with torch.autocast("cpu", torch.bfloat16, enabled=_has_bfloat16()):
                cost = self.cost(z, noise)
            cost = cost + self.aim.pull * (parameter - y).square().sum() / self.pixels
            (parameter.grad,) = torch.autograd.grad(cost, parameter)
            optimiser.step()
        better = torch.from_numpy(self.quantise(parameter.detach()[0].numpy())).float()[None]
        return self._cheaper(torch.where(self.free, better, self.start))

    def _cheaper(self, better: Tensor) -> Tensor:
        """`start`, or other integers if they cost less."""
        with torch.no_grad():
            costs = [self.cost(z, torch.Generator().manual_seed(0)) for z in (self.start, better)]
        return better if costs[1] < costs[0] else self.start

    def cost(self, z: Tensor, noise: torch.Generator) -> Tensor:
        """Bits per pixel + lambda * distortion of latents [1, C, h, w]; a number."""
        of_w = self.model.prior.draw_noise(z, noise)
        prior = self.model.prior(z, z, self.levels, of_w)
        code = self.model.code(z, prior.mean, prior.log_scale, self.levels)
        mean = self.model.mean(self.model.synthesis.trunk(code))
        distortion = self.aim.error * ((mean - self.x) * 255).square().mean()
        if self.similarity:
            dissimilarity = 1 - self.similarity(mean).mean()
            distortion = distortion + self.aim.dissimilarity * dissimilarity
        bits = (prior.latent_bits + prior.hyper_bits).sum()
        return bits / self.pixels + self.weight * distortion


def soft_round(y: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """y moved towards one of the two integers around it, at random, the nearer the likelier.

    A sample of the Gumbel-softmax distribution over both with logits -atanh(distance) /
    temperature (Yang et al. 2020, equation 9); differentiable. Any shape.
    """
    below = y.detach().floor()
    up = (y - below).clamp(1e-4, 1 - 1e-4)
    preference = (torch.atanh(up) - torch.atanh(1 - up)) / temperature
    # The difference of two Gumbel variables is logistic.
    uniform = torch.rand(up.shape, generator=generator, dtype=up.dtype)
    noise = torch.logit(uniform.clamp(1e-6, 1 - 1e-6))
    return below + torch.sigmoid((preference + noise) / temperature)


def _has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself: then it is twice as fast as float32."""
    better = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(better.get("avx512_bf16") or better.get("amx_bf16"))
