"""z and x of set models, symbol by symbol: one walk for encoding, decoding and sampling.

z is walked by the steps of its prior, x along wavefronts: with a window that reaches h columns to
the right in the rows above, all pixels with the same column + (h + 1) row are independent, in all
images at once. Whether a walk is told its symbols, pops them or draws them is up to the coder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from .. import threads
from ..coding.ans import AnsCoder
from ..coding.gaussian import HYPER_LOG_MIN, LATENT_BOUND, SCALE_LOG_MIN, Gaussians
from ..coding.symbols import INTEGER_BOUND, ClassCoder, StackWriter, SymbolCoder
from ..coding.window import wavefront_skew
from ..networks.set_config import SetConfig
from .exact_model import ExactSet
from .exact_pixels import MAX_MIXTURES
from .walk import PixelWalk, Told

# Images that the large networks see at a time: bounds memory, changes no result.
IMAGES_AT_ONCE = 64
# Pixels whose distributions are held at a time when all are known, per thread.
PIXELS_AT_ONCE = 2048
# Pixels of a wavefront that make another thread worth its while.
PIXELS_PER_THREAD = 256
# LATENT_BOUND plus REACH times exp of this stays below INTEGER_BOUND.
POSTERIOR_LOG_MAX = 5.0


class SetCoder:
    """Distributions of one model, exact, and the order in which they are coded.

    Images are uint8 [N, C, H, W], 0 and 1 or levels 0..255; z is int32 [N, D], in the C order of
    the model's [C, h, w].

    Raises:
        GridError: weights too large for exact arithmetic.
        KeyError: weights are missing.
        ValueError: a model that cannot be coded with.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], config: SetConfig) -> None:
        """From a model's weights by name."""
        self.config = config
        binary = config.kind == "binary"
        if config.posterior != "gaussian":
            raise ValueError("its posterior has no density that a decoder could walk")
        if not binary and config.mixtures > MAX_MIXTURES:
            raise ValueError(f"it has more than {MAX_MIXTURES} mixture components")
        self.exact = ExactSet(tensors, config)
        c, h, w = config.latent_shape
        self.dimensions = c * h * w
        # Symbols of an image, pixel for pixel: a colour is coded in two halves.
        self.draws = config.height * config.width * (1 if binary else 6)
        skew = wavefront_skew(self.exact.pixels.offsets)
        self.wavefronts = wavefronts(config.height, config.width, skew)

    def posterior(self, x: np.ndarray) -> Gaussians:
        """q(z | x), [N, D], narrow enough for all draws to lie within +-INTEGER_BOUND."""
        parts = [self.exact.encode(part) for part in _in_parts(x)]
        mean, log_scale = (np.concatenate(values) for values in zip(*parts, strict=True))
        return Gaussians(mean, np.minimum(log_scale, POSTERIOR_LOG_MAX), HYPER_LOG_MIN)

    def prior(self, z: np.ndarray) -> Gaussians:
        """p(z_i | z_<i) of all elements of z [N, D], [N, D]."""
        mean, log_scale = np.empty(z.shape), np.empty(z.shape)
        step = self.exact.prior.walk(z.astype(np.float64))
        for index, cells in enumerate(self.exact.prior.steps):
            mean[:, cells], log_scale[:, cells] = step(index)
        return Gaussians(mean, log_scale, SCALE_LOG_MIN)

    def code_latent(
        self, coder: SymbolCoder, quanta: np.ndarray, images: int, truth: np.ndarray | None = None
    ) -> np.ndarray:
        """p(z), step by step.

        Args:
            quanta: [D]; the element i is coded as a multiple of quanta[i], and where that is 0
                not at all: it takes the rounded mean of its prior.
            known: the multiples [N, D] when encoding.

        Returns:
            z [N, D].
        """
        z = np.zeros((images, self.dimensions))
        if not self.dimensions:
            return z.astype(np.int32)
        with threads.one_blas_thread():
            step = self.exact.prior.walk(z)
            for index, cells in enumerate(self.exact.prior.steps):
                mean, log_scale = step(index)
                mean = mean.clip(-LATENT_BOUND, LATENT_BOUND)
                gaussians = Gaussians(mean, log_scale, SCALE_LOG_MIN)
                values = np.rint(gaussians.means)
                quantum = quanta[cells]
                sent = quantum > 0
                if sent.any():
                    unit = quantum[sent]
                    symbols = coder.integers(
                        gaussians.means[:, sent] / unit,
                        gaussians.scales[:, sent] / unit,
                        None if truth is None else truth[:, cells[sent]],
                    )
                    values[:, sent] = np.rint(symbols * unit)
                z[:, cells] = values.clip(-INTEGER_BOUND, INTEGER_BOUND)
        return z.astype(np.int32)

    def push_pixels(self, stack: AnsCoder, x: np.ndarray, z: np.ndarray) -> float:
        """Push p(x | z), last wavefront first; returns the model's -log2 p."""
        flat = x.reshape(*x.shape[:2], -1)
        walk = PixelWalk(self.exact, self._features(z))
        walk.paint(np.arange(flat.shape[2]), flat)
        batches = _batches(self.wavefronts[::-1], PIXELS_AT_ONCE // len(x))
        bits, several = 0.0, 2 * threads.count()
        for start in range(0, len(batches), several):
            some = batches[start : start + several]
            told: list[list[list[Told]]] = [[] for _ in some]

            def tell(
                index: int, some: list[list[np.ndarray]] = some, told: list[list[list[Told]]] = told
            ) -> None:
                told[index] = list(walk.told(some[index], flat))

            with threads.one_blas_thread():
                threads.spread(tell, range(len(some)))
            for symbols in (step for batch in told for step in batch):
                writer = StackWriter()
                for masses, truth in symbols:
                    writer.classes(masses, truth)
                writer.flush(stack)
                bits += writer.bits
        return bits

    def pull_pixels(self, coder: ClassCoder, z: np.ndarray) -> np.ndarray:
        """Images [N, C, H, W] that `coder` pops or draws from p(x | z)."""
        c = self.config
        pixels = len(z) * c.height * c.width // len(self.wavefronts)
        count = max(1, min(threads.count(), pixels // PIXELS_PER_THREAD))
        walks = [
            PixelWalk(self.exact, part) for part in np.array_split(self._features(z), count, axis=1)
        ]
        stops = np.cumsum([len(walk.images) for walk in walks])
        parts = [
            (walk, slice(stop - len(walk.images), stop))
            for walk, stop in zip(walks, stops, strict=True)
        ]
        with threads.one_blas_thread():
            for wavefront in self.wavefronts:
                self._pull(coder, wavefront, parts)
        images = np.concatenate([walk.images for walk in walks])
        return images.reshape(len(z), c.channels, c.height, c.width)

    def _pull(
        self, coder: ClassCoder, pixels: np.ndarray, parts: list[tuple[PixelWalk, slice]]
    ) -> None:
        """One wavefront of all images."""
        threads.spread(lambda part: part[0].begin(pixels), parts)
        while True:
            masses = [walk.masses for walk, _ in parts if walk.masses is not None]
            if not masses:
                return
            symbols = coder.classes(np.concatenate(masses) if len(masses) > 1 else masses[0], None)
            threads.spread(partial(_proceed, symbols), parts)

    def _features(self, z: np.ndarray) -> np.ndarray:
        """[F, N, H * W]."""
        out = np.concatenate([self.exact.features(part) for part in _in_parts(z)], 1)
        return out.reshape(*out.shape[:2], -1)


def _proceed(symbols: np.ndarray, part: tuple[PixelWalk, slice]) -> None:
    walk, rows = part
    walk.proceed(symbols[rows])


def wavefronts(height: int, width: int, skew: int) -> list[np.ndarray]:
    """Flat positions with the same column + skew * row, rising, each ordered by row."""
    time = np.add.outer(skew * np.arange(height), np.arange(width)).ravel()
    order = np.argsort(time, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(time[order])) + 1)


def _batches(steps: list[np.ndarray], pixels: int) -> list[list[np.ndarray]]:
    """`steps` in order, as many together as have `pixels` pixels, and at least one."""
    batches: list[list[np.ndarray]] = []
    room = 0
    for step in steps:
        if not batches or len(step) > room:
            batches.append([])
            room = pixels
        batches[-1].append(step)
        room -= len(step)
    return batches


def _in_parts(images: np.ndarray) -> Iterator[np.ndarray]:
    """Some images at a time."""
    for start in range(0, len(images), IMAGES_AT_ONCE):
        yield images[start : start + IMAGES_AT_ONCE]
