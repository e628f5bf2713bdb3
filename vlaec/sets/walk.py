"""Pixels of a few images, wavefront by wavefront: what windows see, and what it says of a pixel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..coding.exact import to_grid
from ..networks.set_units import GREY
from .exact_model import ExactSet, centre
from .exact_pixels import Distributions, distributions, symbols_of

# Masses [N, n, S] of one symbol of n pixels of N images, and those symbols [N, n].
Told = tuple[np.ndarray, np.ndarray]


class PixelWalk:
    """N images whose pixels are known in parts. Everything runs in the calling thread.

    `begin` some pixels; then `masses` [N, n, S] are of their next symbol, and `proceed` takes it.
    After the last one `masses` is None, and the pixels are painted and in `images` [N, C, H * W].
    """

    def __init__(self, exact: ExactSet, features: np.ndarray) -> None:
        """`features` [F, N, H * W] as `ExactSet.features` gives them."""
        self.config = c = exact.config
        self._pixels = exact.pixels
        images = features.shape[1]
        # Pixels before images: then a window is gathered in runs. The grid fits into float32.
        self._features = features.transpose(0, 2, 1).astype(np.float32)
        offsets = exact.pixels.offsets
        self._top = max((-row for row, _ in offsets), default=0)
        self._side = max((abs(column) for _, column in offsets), default=0)
        self._wide = c.width + 2 * self._side
        self._taps = np.array([row * self._wide + column for row, column in offsets], np.int64)
        # Nothing but "outside the image" [C, rows * columns, N], with a margin for the window.
        size = (self._top + c.height) * self._wide
        self._canvas = np.zeros((1 if c.grey_context else c.channels, size, images))
        self.images = np.empty((images, c.channels, c.height * c.width), np.uint8)
        self.masses: np.ndarray | None = None
        self._place: np.ndarray | None = None
        self._walk: Distributions | None = None

    def begin(self, pixels: np.ndarray) -> None:
        """Turn to pixels at flat positions [n], of which windows see none."""
        self._place = pixels
        self._walk = self._distributions(pixels)
        self._show(next(self._walk))

    def proceed(self, symbols: np.ndarray) -> None:
        """Go on after the symbols [N, n] of `masses`."""
        assert self._walk is not None and self._place is not None
        try:
            self._show(self._walk.send(symbols.ravel()))
        except StopIteration as end:
            self.masses = None
            values = end.value.reshape(len(end.value), len(self.images), -1).transpose(1, 0, 2)
            self.images[:, :, self._place] = values
            self.paint(self._place, values)

    def told(self, wavefronts: Iterable[np.ndarray], images: np.ndarray) -> Iterator[list[Told]]:
        """All symbols of wavefronts, one after the other, when all of `images` [N, C, H * W] is
        painted."""
        steps = list(wavefronts)
        pixels = np.concatenate(steps)
        walk = self._distributions(pixels)
        masses = next(walk)
        pairs = []
        for symbols in symbols_of(self.config, images[:, :, pixels]):
            pairs.append((masses.reshape(*symbols.shape, -1), symbols))
            try:
                masses = walk.send(symbols.ravel())
            except StopIteration:
                break
        stops = np.cumsum([len(step) for step in steps])
        for step, stop in zip(steps, stops, strict=True):
            part = slice(stop - len(step), stop)
            yield [
                (np.ascontiguousarray(masses[:, part]), np.ascontiguousarray(symbols[:, part]))
                for masses, symbols in pairs
            ]

    def paint(self, pixels: np.ndarray, values: np.ndarray) -> None:
        """Put values [N, C, n] at flat positions [n] where windows see them."""
        inputs = centre(values)
        if self.config.grey_context:
            inputs = to_grid((inputs * np.array(GREY)[:, None]).sum(1, keepdims=True))
        self._canvas[:, self._on_canvas(pixels)] = inputs.transpose(1, 2, 0)

    def _show(self, masses: np.ndarray) -> None:
        self.masses = masses.reshape(len(self.images), -1, masses.shape[-1])

    def _distributions(self, pixels: np.ndarray) -> Distributions:
        """Distributions of pixels at flat positions [n], image by image: M = N * n."""
        # Taps before channels, as `gather_window` orders them.
        taps = self._taps[:, None] + self._on_canvas(pixels)
        window = self._canvas[:, taps].swapaxes(0, 1)  # [taps, C, n, N]
        features = self._features[:, pixels].astype(np.float64)  # [F, n, N]
        columns = len(pixels) * len(self.images)
        out = self._pixels(window.reshape(-1, columns), features.reshape(-1, columns))
        by_image = out.reshape(len(out), len(pixels), -1).swapaxes(1, 2)
        return distributions(self.config, by_image.reshape(len(out), columns))

    def _on_canvas(self, pixels: np.ndarray) -> np.ndarray:
        """Flat positions in the image as flat positions on the canvas."""
        row, column = np.divmod(pixels, self.config.width)
        place: np.ndarray = (row + self._top) * self._wide + column + self._side
        return place
