"""What a sampler is worth: likelihood, looks, spectrum, arithmetic and time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ablations import to_pixels, to_tensor
from benchmarks.texture import spectrum
from vlaec.bench.metrics import METRICS
from vlaec.networks import PhotoVLAE
from vlaec.networks.blocks import level_weights
from vlaec.networks.photo import Synthesised
from vlaec.train.photo.losses import TextureLoss

# A sample [3, H, W] of a model's texture, given features [F, H, W] and the key of the noise.
Draw = Callable[[PhotoVLAE, Tensor, int], Tensor]
COMPARED = ("psnr", "lpips", "dists")
PICTURE = (512, 768)  # rows and columns of the sample that is timed
REPEATS = 3


def decoded(model: PhotoVLAE, square: np.ndarray, quality: float) -> Synthesised:
    """What the receiver's networks make of a picture [H, W, 3] uint8 at a quality 0..100."""
    levels = level_weights(torch.tensor([quality / 100]), model.config.levels)
    z = model.encode(to_tensor(square), levels).round()
    prior = model.prior(z, z, levels)
    return model.decode(z, prior.mean, prior.log_scale, levels)


@torch.inference_mode()
def evaluate(
    model: PhotoVLAE,
    loss: TextureLoss,
    draw: Draw,
    squares: Sequence[np.ndarray],
    qualities: Sequence[float],
    weights: Path,
) -> dict[str, dict[str, float]]:
    """By quality, means over the pictures: `nll` in bits per pixel given z and true contexts, and
    every comparison with the original of texture 0 (`..._mean`) and texture 1 (`..._sampled`)."""
    metrics = {name: METRICS[name].load(weights) for name in COMPARED}
    points: dict[str, list[dict[str, float]]] = {f"{quality:g}": [] for quality in qualities}
    for index, square in enumerate(squares):
        power = spectrum.log_power(square)
        for quality in qualities:
            out = decoded(model, square, quality)
            likely = out.mean + out.detail
            truth = to_tensor(square) - likely
            point = {"nll": float(loss.bits(truth, truth, out.features))}
            sampled = likely + draw(model, out.features[0], index)
            for kind, picture in (("mean", to_pixels(out.mean)), ("sampled", to_pixels(sampled))):
                for name, compare in metrics.items():
                    value = compare(square, picture)
                    assert value is not None
                    point[f"{name}_{kind}"] = value
                distance = spectrum.distance(power, spectrum.log_power(picture))
                point[f"spectrum_{kind}"] = distance
            points[f"{quality:g}"].append(point)
    return {
        quality: {key: float(np.mean([p[key] for p in these])) for key in these[0]}
        for quality, these in points.items()
    }


@torch.inference_mode()
def macs_per_pixel(loss: TextureLoss, features: int) -> float:
    """Multiply-adds of a sampler per pixel of the picture, given `features` channels."""
    side = 64
    residual = torch.zeros(1, 3, side, side)
    with FlopCounterMode(display=False) as counter:
        loss.bits(residual, residual, torch.zeros(1, features, side, side))
    return counter.get_total_flops() / 2 / side**2


def milliseconds(model: PhotoVLAE, draw: Draw) -> float:
    """Median time of one sample of 768x512 pixels on one thread."""
    threads = torch.get_num_threads()
    features = torch.randn(model.config.features, *PICTURE)
    torch.set_num_threads(1)
    times = []
    for key in range(REPEATS):
        start = time.perf_counter()
        draw(model, features, key)
        times.append(1000 * (time.perf_counter() - start))
    torch.set_num_threads(threads)
    return statistics.median(times)
