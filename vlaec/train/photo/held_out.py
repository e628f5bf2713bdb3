"""What a model in training is worth on photographs that it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...metrics.ssim import ms_ssim
from .data import photo_paths
from .trainer import Trainer

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
SIDE = 256
MOST = 24
AT_ONCE = 8
# Of 1 - MS-SSIM in units of MSE, whatever a recipe says: numbers of different runs compare.
DISSIMILARITY = 1000.0

Row = dict[str, float]


def held_out_crops(folder: Path) -> Tensor:
    """The middles of held-out photographs that are large enough, [N, 3, SIDE, SIDE] in [0, 1].

    Raises:
        FileNotFoundError: there is none.
    """
    crops: list[Tensor] = []
    for path in photo_paths(folder, held_out=True):
        with Image.open(path) as image:
            left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
            if min(left, top) >= 0 and len(crops) < MOST:
                crop = image.convert("RGB").crop((left, top, left + SIDE, top + SIDE))
                crops.append(torch.from_numpy(np.asarray(crop).copy()))
    if not crops:
        raise FileNotFoundError(f"no held-out photographs of {SIDE} pixels in {folder}")
    return torch.stack(crops).permute(0, 3, 1, 2).float() / 255


def rows(trainer: Trainer, crops: Tensor, texture: bool) -> list[Row]:
    """Rate, fidelity and J = rate + lambda * distortion of the averaged weights by level; of the
    texture LPIPS as well, where the trainer has the network."""
    results = []
    random = torch.Generator(trainer.device)
    with _averaged(trainer), torch.no_grad(), trainer.machine.autocast():
        for level in LEVELS:
            random.manual_seed(9)
            parts = [
                _measures(trainer, x.to(trainer.device), level, texture, random)
                for x in crops.split(AT_ONCE)
            ]
            names = list(parts[0])
            means = {n: float(torch.cat([part[n] for part in parts]).mean()) for n in names}
            weight = trainer.recipe.model.rate_weight(level)
            loss = means["mse"] + DISSIMILARITY * (1 - means["ms_ssim"])
            results.append({"level": level, "J": means["bpp"] + weight * loss} | means)
    return results


def _measures(
    trainer: Trainer, x: Tensor, value: float, texture: bool, random: torch.Generator
) -> dict[str, Tensor]:
    """Measures of each crop, [N]."""
    model, judges = trainer.model, trainer.objective.judges
    level = torch.full((len(x),), value, device=x.device)
    x = x.contiguous(memory_format=torch.channels_last)
    out = model(x, level, model.draw_noise(x, random))
    mean = out.mean.clamp(0, 1)
    results = {
        "bpp": (out.prior.latent_bits + out.prior.hyper_bits) / (x.shape[2] * x.shape[3]),
        "mse": ((mean - x) * 255).square().flatten(1).mean(1),
        "ms_ssim": ms_ssim(mean, x),
    }
    if judges.lpips is not None:
        results["lpips"] = judges.lpips(x, mean)
    if texture:
        detail, features = model.texture(model.texture_synthesis.trunk(out.code))
        sampler = trainer.objective.texture
        shape = (len(x), *features.shape[2:])
        picture, again = (
            (out.mean + detail + sampler.sample(features, noise)).clamp(0, 1)
            for noise in [sampler.sampling_noise(shape, random) for _ in range(2)]
        )
        grey = 255.0
        results["texture_rms"] = grey * _rms(picture - mean)
        results["chance"] = _rms(picture - again) / 2**0.5 / _rms(picture - mean).clamp_min(1e-9)
        if judges.lpips is not None:
            results["texture_lpips"] = judges.lpips(x, picture)
    return {name: value.float().cpu() for name, value in results.items()}


def _rms(x: Tensor) -> Tensor:
    return x.float().square().flatten(1).mean(1).sqrt()


def table(results: list[Row]) -> str:
    """Rows as lines of text."""
    names = list(results[0])
    lines = ["  ".join(f"{name:>12}" for name in names)]
    lines += ["  ".join(f"{row[name]:12.4f}" for name in names) for row in results]
    return "\n".join(lines)


@contextmanager
def _averaged(trainer: Trainer) -> Iterator[None]:
    """The model with its averaged weights, for a while."""
    kept = [value.clone() for value in trainer.current]
    torch._foreach_copy_(trainer.current, trainer.averages)
    try:
        yield
    finally:
        torch._foreach_copy_(trainer.current, kept)
