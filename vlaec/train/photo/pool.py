"""Drawn pages for machines that train faster than pages are drawn: drawn ahead, by all cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import torch
from torch import Tensor

from .pages import draw_pages
from .typefaces import Typeface

# Pages are larger than crops by this, so that crops of one differ.
ROOM = 1.25
# Pages that a process draws at a time.
PORTION = 8


class PagePool:
    """Pages kept on a device, for crops of them. Drawing begins at once, in other processes."""

    def __init__(
        self,
        n: int,
        size: int,
        seed: tuple[int, ...],
        device: torch.device,
        faces: Sequence[Typeface],
    ) -> None:
        """`n` pages for crops of `size` pixels, lettered in any of `faces`."""
        self.size, self.device = size, device
        side = round(ROOM * size)
        self.portions = [
            (min(PORTION, n - i), side, (*seed, i), tuple(faces)) for i in range(0, n, PORTION)
        ]
        # Processes that start bare: a copy of this one would hold its threads' locks.
        context = multiprocessing.get_context("forkserver")
        self.workers: ProcessPoolExecutor | None = ProcessPoolExecutor(
            min(len(self.portions), os.cpu_count() or 1), context
        )
        self.waiting = [self.workers.submit(_portion, *portion) for portion in self.portions]
        self.pages: Tensor | None = None  # [n, side, side, PLANES]

    def crops(self, n: int, random: np.random.Generator) -> Tensor:
        """`n` pieces [n, size, size, PLANES] uint8; the first call waits for all pages."""
        pages = self.pages if self.pages is not None else self._gather()
        room = pages.shape[1] - self.size
        which = random.integers(0, len(pages), n).tolist()
        corners = random.integers(0, room + 1, (n, 2)).tolist()
        return torch.stack(
            [
                pages[i, top : top + self.size, left : left + self.size]
                for i, (top, left) in zip(which, corners, strict=True)
            ]
        )

    def _gather(self) -> Tensor:
        assert self.workers is not None
        try:
            drawn = [future.result() for future in self.waiting]
        except (BrokenProcessPool, OSError):  # no processes here: a few pages, by this one
            drawn = [_portion(*portion) for portion in self.portions[:4]]
        self.workers.shutdown(wait=False, cancel_futures=True)
        self.workers, self.waiting = None, []
        self.pages = torch.from_numpy(np.concatenate(drawn)).to(self.device)
        return self.pages


def _portion(n: int, side: int, seed: tuple[int, ...], faces: tuple[Typeface, ...]) -> np.ndarray:
    return draw_pages(n, side, np.random.default_rng(seed), faces)
