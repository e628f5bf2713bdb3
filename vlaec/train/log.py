"""What a run says of itself: means over some seconds of steps, a line of JSON each."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import torch
from torch import Tensor

from .photo.losses import Losses

Row = dict[str, float]


class Meter:
    """Adds up the losses on their device; only `row` waits for them."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.sums: Tensor | None = None
        self.count, self.pixels, self.flops = 0, 0, 0.0

    def add(self, losses: Losses, pixels: int, flops: float) -> None:
        """One step over `pixels` pixels, which took `flops` floating-point operations."""
        values = torch.stack(losses).detach()
        self.sums = values if self.sums is None else self.sums + values
        self.count += 1
        self.pixels += pixels
        self.flops += flops

    @property
    def seconds(self) -> float:
        """Since the meter was made."""
        return time.monotonic() - self.started

    def row(self, peak_tflops: float | None) -> Row:
        """Means of the losses, and the throughput; `peak_tflops` of all devices together."""
        assert self.sums is not None
        mean = Losses(*(self.sums / self.count).unbind())
        losses = {
            "loss": float(mean.total),
            "bpp": float(mean.rate),
            "psnr": _psnr(float(mean.mse)),
            "nll": float(mean.likelihood),
            "lpips": float(mean.perceptual),
            "vgg_lpips": float(mean.vgg),
            "energy": float(mean.energy),
            "variance": float(mean.variance),
            "lattice": float(mean.lattice),
            "texture_psnr": _psnr(float(mean.texture_mse)),
            "mean_lpips": float(mean.mean_perceptual),
            "dissimilarity": float(mean.dissimilarity),
        }
        seconds = self.seconds
        tflops = self.flops / seconds / 1e12
        speed = {"megapixels_per_second": self.pixels / seconds / 1e6, "tflops": tflops}
        if peak_tflops is not None:
            speed["peak_share"] = tflops / peak_tflops
        return losses | speed


def _psnr(mse: float) -> float:
    """Decibels of a mean squared error on the 0..255 scale; 0 where nothing was measured."""
    return 10 * math.log10(255**2 / mse) if mse > 0 else 0.0


def append(path: Path, row: Row) -> None:
    """Add a row to a log. The file is opened and closed, so a run that dies loses nothing."""
    with open(path, "a") as file:
        file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[Row]:
    """All rows of a log. Raises FileNotFoundError."""
    return [json.loads(line) for line in path.read_text().splitlines()]
