"""Networks run over a picture of any size in bounded memory: some rows, and columns, at a time.

Each graph asks the one before it for the rows that it needs, from top to bottom, and keeps the last
strip that it made. A strip is computed with the cells around it that its values depend on, so the
picture is the same as if it had been computed in one piece; small ones are. Of what it asked for, a
graph keeps the rows that the next strip depends on as well: asked for again, they would be computed
again, since the graph before it has gone on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..threads import spread

# Rows of several planes, [N, C, n, W] each.
Planes = list[np.ndarray]

# Pixels of a picture beyond which memory counts for more than time: one network runs at a time,
# nothing is made ahead, and what was freed goes back to the system.
LARGE = 2**25
# Bytes of one plane of a graph's widest layer, roughly, by which strips are measured.
STRIP_BYTES = 2**23
# Cells that are computed side by side. Not a matter of threads: rounding depends on it.
COLUMNS = 2**9


class Rows(Protocol):
    """Planes of a picture, some rows at a time. `stride`: pixels on one side of a cell."""

    stride: int
    height: int
    width: int

    def rows(self, top: int, bottom: int) -> Planes:
        """The cells of rows `top` to `bottom`, for as long as no others are asked for."""
        ...


def is_large(rows: Rows) -> bool:
    """Whether the picture is beyond LARGE."""
    return rows.height * rows.width * rows.stride**2 > LARGE


class Held:
    """Planes [N, C, H, W] that are there."""

    def __init__(self, stride: int, *planes: np.ndarray) -> None:
        self.stride = stride
        self.height, self.width = planes[0].shape[-2:]
        self._planes = planes

    def rows(self, top: int, bottom: int) -> Planes:
        """As float32."""
        return [plane[:, :, top:bottom].astype(np.float32, copy=False) for plane in self._planes]


class Strips:
    """What a graph makes of the rows of its source."""

    def __init__(
        self,
        source: Rows,
        compute: Callable[[Planes], Planes],
        cell: int,
        halo: int,
        stride: int,
        cell_bytes: int,
        shared: bool = False,
    ) -> None:
        """
        Args:
            source: what the graph reads.
            compute: runs the graph.
            cell: pixels on one side of a cell that the graph's convolutions see.
            halo: cells around a cell that its value depends on.
            stride: pixels on one side of a cell of what the graph makes.
            cell_bytes: of its widest layer, for one cell.
            shared: whether several ask for its rows, maybe at the same time; two strips are kept.
        """
        self._shared, self._lock = shared, threading.Lock()
        self.stride = stride
        self.height = source.height * source.stride // stride
        self.width = source.width * source.stride // stride
        self._source, self._compute, self._large = source, compute, is_large(source)
        # Whole cells of what goes in, of what comes out, and of the convolutions in between.
        unit = max(cell, source.stride, stride)
        self._unit = unit
        self._units = source.height * source.stride // unit, source.width * source.stride // unit
        self._halo = -(-halo * cell // unit)
        room = STRIP_BYTES // (cell_bytes * (unit // cell) ** 2)
        self._step = max(2 * self._halo, 1, room // self._units[1])
        self._kept: dict[int, Planes] = {}
        # Rows of the source for the strip of this number, from its first on.
        self._seen: tuple[int, Planes] = -1, []

    def rows(self, top: int, bottom: int) -> Planes:
        """The cells of rows `top` to `bottom`, [1, C, bottom - top, W] each."""
        with self._lock:
            return self._rows(top, bottom)

    def _rows(self, top: int, bottom: int) -> Planes:
        size = self._step * self._unit // self.stride
        parts = []
        first, last = top // size, (bottom - 1) // size
        for index in range(first, last + 1):
            start = index * size
            rows = slice(max(top - start, 0), bottom - start)
            parts.append([plane[:, :, rows] for plane in self._strip(index)])
        if not self._shared:
            self._kept = {last: self._kept[last]}
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(planes, 2) for planes in zip(*parts, strict=True)]

    def _strip(self, index: int) -> Planes:
        if index not in self._kept:
            for old in [i for i in self._kept if i < index - 1]:
                del self._kept[old]
            self._kept[index] = self._make(index)
        return self._kept[index]

    def _make(self, index: int) -> Planes:
        height, width = self._units
        top, bottom = index * self._step, min((index + 1) * self._step, height)
        above, below = max(0, top - self._halo), min(height, bottom + self._halo)
        seen = self._around(index, above, below)
        last = self._scaled(max(0, bottom - self._halo) - above, self._source)
        self._seen = index + 1, [plane[:, :, last:].copy() for plane in seen]

        def part(left: int) -> Planes:
            right = min(left + COLUMNS, width)
            before, after = max(0, left - self._halo), min(width, right + self._halo)
            columns = slice(*(self._scaled(n, self._source) for n in (before, after)))
            made = self._compute([plane[:, :, :, columns] for plane in seen])
            inner = (
                slice(None), slice(None),
                slice(self._scaled(top - above, self), self._scaled(bottom - above, self)),
                slice(self._scaled(left - before, self), self._scaled(right - before, self)),
            )  # fmt: skip
            return [plane[inner] for plane in made]

        starts = range(0, width, COLUMNS)
        parts = [part(left) for left in starts] if self._large else spread(part, starts)
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(planes, 3) for planes in zip(*parts, strict=True)]

    def _around(self, index: int, above: int, below: int) -> Planes:
        """Rows `above` to `below`, in units, of the source, for the strip `index`."""
        first, last = (self._scaled(units, self._source) for units in (above, below))
        known, planes = self._seen
        if known != index:
            return self._source.rows(first, last)
        begun = first + planes[0].shape[2]
        if begun == last:
            return planes
        more = self._source.rows(begun, last)
        return [np.concatenate(pair, 2) for pair in zip(planes, more, strict=True)]

    def _scaled(self, units: int, rows: Rows) -> int:
        return units * self._unit // rows.stride
