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
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .. import zoo
from ..coding.progress import Progress
from ..metrics.ssim import SMALLEST, MultiScaleSSIM
from ..networks.config import STRIDE
from ..networks.photo import PhotoVLAE

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


# Integers for an analysis output [C, h, w], and the share of the steps that is done.
Quantise = Callable[[np.ndarray], np.ndarray]


def refine(
    card: zoo.Card,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    level: float,
    steps: int,
    quantise: Quantise,
    progress: Progress,
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
        steps: of gradient descent, for every tile.
        quantise: integers for an analysis output.
        progress: told the share of the steps that are done.
    """
    stopped = threading.Event()

    def told(share: float) -> None:
        if stopped.is_set():
            raise InterruptedError("the search was stopped")
        progress(share)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(_refine, card, x, y, weights, level, steps, quantise, told)
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
    steps: int,
    quantise: Quantise,
    progress: Progress,
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
        )

        def share(done: float, index: int = index) -> None:
            progress((index + done) / len(tiles))

        better = search.run(torch.from_numpy(y[part])[None].clone(), steps, share)
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
    ) -> None:
        self.model, self.x, self.levels = model, x, levels
        self.start, self.free, self.quantise = start, free, quantise
        self.pixels = x.shape[2] * x.shape[3]
        self.weight = model.config.rate_weight(level)
        # Smaller pictures have too few scales.
        self.similarity = MultiScaleSSIM(x) if min(x.shape[2:]) >= SMALLEST else None

    def run(self, y: Tensor, steps: int, progress: Callable[[float], None]) -> Tensor:
        """Integers [1, C, h, w] that cost no more than `start`."""
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
            cost = cost + PULL * (parameter - y).square().sum() / self.pixels
            (parameter.grad,) = torch.autograd.grad(cost, parameter)
            optimiser.step()
        better = torch.from_numpy(self.quantise(parameter.detach()[0].numpy())).float()[None]
        better = torch.where(self.free, better, self.start)
        with torch.no_grad():
            costs = [self.cost(z, torch.Generator().manual_seed(0)) for z in (self.start, better)]
        return better if costs[1] < costs[0] else self.start

    def cost(self, z: Tensor, noise: torch.Generator) -> Tensor:
        """Bits per pixel + lambda * distortion of latents [1, C, h, w]; a number."""
        of_w = self.model.prior.draw_noise(z, noise)
        prior = self.model.prior(z, z, self.levels, of_w)
        code = self.model.code(z, prior.mean, prior.log_scale, self.levels)
        mean = self.model.mean(self.model.synthesis.trunk(code))
        distortion = ((mean - self.x) * 255).square().mean()
        if self.similarity:
            distortion = distortion + DISSIMILARITY * (1 - self.similarity(mean).mean())
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
