"""Latents on a stack, as symbols of Student's t.

Making a model of constriction's takes longer than coding a symbol with it. So there is one for
every scale and every place of a mean in its cell, and the symbols of one model come together: a
third of the time of a model for each symbol.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import constriction
import numpy as np

from ..errors import BadFileError
from .ans import AnsCoder, require
from .gaussian import LATENT_BOUND, MEAN_GRID, SCALES, Gaussians
from .student import OFFSETS, REACHES, VALUES, masses

_VALUES = constriction.stream.model.Uniform(VALUES)


def push_latents(stack: AnsCoder, latents: np.ndarray, gaussians: Gaussians) -> None:
    """Push integers within +-LATENT_BOUND of the shape of `gaussians`."""
    cells = _Cells(gaussians)
    flat = latents.ravel().astype(np.int32)
    symbols = flat - cells.zeros
    beyond = (symbols < 1) | (symbols > cells.counts)
    symbols[beyond] = 0
    stack.encode_reverse(flat[beyond] + LATENT_BOUND, _VALUES)
    ordered = symbols[cells.order]
    for model, part in reversed(list(cells)):
        stack.encode_reverse(ordered[part], model)


def pop_latents(stack: AnsCoder, gaussians: Gaussians) -> np.ndarray:
    """Inverse of `push_latents`: integers int32 of the shape of `gaussians`.

    Raises:
        BadFileError: the stack is empty, or a latent is beyond the bound.
    """
    if gaussians.indices.size:
        require(stack)
    cells = _Cells(gaussians)
    ordered = np.empty_like(cells.zeros)
    for model, part in cells:
        ordered[part] = stack.decode(model, part.stop - part.start)
    symbols = np.empty_like(ordered)
    symbols[cells.order] = ordered
    latents = symbols + cells.zeros
    beyond = symbols == 0
    latents[beyond] = stack.decode(_VALUES, int(beyond.sum())) - LATENT_BOUND
    if (np.abs(latents) > LATENT_BOUND).any():
        raise BadFileError("damaged file: a latent beyond the bound")
    return latents.reshape(gaussians.shape)


class _Cells:
    """Models, and where their symbols are in the order in which they are popped.

    `order` [n]: that order; `zeros` [n] int32: latents whose symbols would be 0; `counts` [n]:
    symbols within reach.
    """

    def __init__(self, gaussians: Gaussians) -> None:
        indices = gaussians.indices.ravel()
        sixteenths = (gaussians.means.ravel() * MEAN_GRID).astype(np.int32) + OFFSETS // 2
        reaches = REACHES[indices]
        self.zeros = sixteenths // OFFSETS - reaches - 1
        self.counts = 2 * reaches + 1
        models = indices.astype(np.uint16) * OFFSETS + (sixteenths % OFFSETS).astype(np.uint16)
        self.order = np.argsort(models, kind="stable")
        self._sizes = np.bincount(models, minlength=OFFSETS * len(SCALES))

    def __iter__(self) -> Iterator[tuple[Any, slice]]:
        used = np.flatnonzero(self._sizes)
        ends = np.cumsum(self._sizes[used])
        start = 0
        for which, end in zip(used.tolist(), ends.tolist(), strict=True):
            index, offset = divmod(which, OFFSETS)
            yield _models(index)[offset], slice(start, end)
            start = end


@lru_cache(maxsize=len(SCALES))
def _models(index: int) -> list[Any]:
    """Of one entry of the table of scales, by the mean's offset."""
    return [constriction.stream.model.Categorical(row, perfect=False) for row in masses(index)]
