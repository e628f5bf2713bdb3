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
        # By the names of the losses, which differ between stages: their sums, and how many steps.
        self.sums: dict[tuple[str, ...], tuple[Tensor, int]] = {}
        self.count, self.pixels, self.flops = 0, 0, 0.0

    def add(self, losses: Losses, pixels: int, flops: float) -> None:
        """One step over `pixels` pixels, which took `flops` floating-point operations."""
        named = {"loss": losses.total} | losses.measures | losses.terms
        values = torch.stack([value.detach().float() for value in named.values()])
        names = tuple(named)
        before, count = self.sums.get(names, (torch.zeros_like(values), 0))
        self.sums[names] = (before + values, count + 1)
        self.count += 1
        self.pixels += pixels
        self.flops += flops

    @property
    def seconds(self) -> float:
        """Since the meter was made."""
        return time.monotonic() - self.started

    def row(self, peak_tflops: float | None) -> Row:
        """Means of the losses, and the throughput; `peak_tflops` of all devices together."""
        totals: dict[str, tuple[float, int]] = {}
        for names, (sums, count) in self.sums.items():
            for name, value in zip(names, sums.tolist(), strict=True):
                before, steps = totals.get(name, (0.0, 0))
                totals[name] = (before + value, steps + count)
        losses = {name: value / steps for name, (value, steps) in totals.items()}
        # Squared errors are shown in decibels.
        for name, shown in (("mse", "psnr"), ("texture_mse", "texture_psnr")):
            if name in losses:
                losses[shown] = _psnr(losses.pop(name))
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
