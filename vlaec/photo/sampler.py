"""Sampling the PixelCNN along wavefronts: all pixels whose windows are complete, at once.

With a window that reaches h columns to the right in the rows above, all pixels with the same
x + (h + 1) y are independent, so an image takes W + (h + 1)(H - 1) steps instead of W H. The image
is cut into bands of BAND rows that do not see each other, as crops do not in training; they take
their steps together, in one thread: two of them wait for the interpreter's lock longer than they
compute. The bands are part of the format: a texture does not depend on how many of them are sampled
at a time. `networks.wavefront` does the same in torch, for training.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from ..coding.progress import Progress
from ..coding.window import wavefront_skew, window_offsets
from ..networks.config import PhotoConfig
from ..networks.texture import (
    INPUT_SCALE,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    LOG_SCALE_START,
    MEAN_BOUND,
    NOISE_BOUND,
    WINDOW_BOUND,
)
from ..threads import one_blas_thread

BAND = 128
CHANNELS = 3
# Of a component, as the head orders them: means, coefficients, log scales.
PARTS = 9


@lru_cache(maxsize=1)
def _noise_tables() -> tuple[np.ndarray, np.ndarray]:
    """Gumbel and logistic quantiles of the 2^16 cells of a 16-bit uniform number."""
    u = (np.arange(65536) + 0.5) / 65536
    gumbel = -np.log(-np.log(u))
    logistic = np.clip(np.log(u) - np.log1p(-u), -NOISE_BOUND, NOISE_BOUND)
    return gumbel.astype(np.float32), logistic.astype(np.float32)


def band_noise(
    key: int, band: int, width: int, mixtures: int, rows: int = BAND
) -> tuple[np.ndarray, np.ndarray]:
    """Noise of the first rows of one band: Gumbel [rows, width, K], logistic [rows, width, 3].

    Philox (Salmon et al. 2011) with `key` and the band as the counter's third word. Its raw
    output is fixed by its definition, unlike that of numpy's distributions.
    """
    words = -(-(mixtures + CHANNELS) // 4)
    philox = np.random.Philox(key=key, counter=band << 128)
    raw = philox.random_raw(rows * width * words).astype("<u8", copy=False).view("<u2")
    cells = raw.reshape(rows, width, 4 * words)
    gumbel, logistic = _noise_tables()
    return gumbel[cells[:, :, :mixtures]], logistic[cells[:, :, mixtures : mixtures + CHANNELS]]


class TextureSampler:
    """Samples residuals from a PixelCNN."""

    def __init__(
        self,
        tensors: Mapping[str, np.ndarray],
        config: PhotoConfig,
        temperature: float | None = None,
    ) -> None:
        """From a model's weights by name; at the model's own temperature unless one is given."""
        self.temperature = np.float32(config.temperature if temperature is None else temperature)
        self.mixtures = config.mixtures
        offsets = window_offsets(config.receptive_field)
        rows = sorted({row for row, _ in offsets})
        # Per row of the window: row offset, first column offset, number of columns.
        self.runs = []
        for row in rows:
            columns = [column for r, column in offsets if r == row]
            self.runs.append((row, min(columns), len(columns)))
        self.top = -rows[0]
        self.side = max(abs(column) for _, column in offsets)
        self.skew = wavefront_skew(offsets)

        def affine(name: str) -> tuple[np.ndarray, np.ndarray]:
            weight, bias = (tensors[f"pixelcnn.{name}.{part}"] for part in ("weight", "bias"))
            return weight[:, :, 0, 0].T.astype(np.float32), bias.astype(np.float32)

        # Weights as [in, out]; the inputs are the window's pixels in raster order, channels last,
        # as `gather_window` orders them, and the features. The window's scale is folded into its
        # weights, and the bound with it.
        window, window_bias = affine("window")
        condition, condition_bias = affine("condition")
        self.window_size = len(window)
        self.first = np.concatenate([window * np.float32(INPUT_SCALE), condition])
        self.bound = np.float32(WINDOW_BOUND / INPUT_SCALE)
        # Biases are carried along as constants: relu(x + c) = max(x, -c) + c. That spares every
        # step, of which there are thousands, an operation per layer.
        constant = window_bias + condition_bias
        self.layers = []  # weight, and the floor of its input
        for index in range(config.pixel_depth):
            weight, bias = affine(f"layers.{index}")
            self.layers.append((np.ascontiguousarray(weight), -constant))
            constant = constant + constant @ weight + bias
        head, head_bias = _by_component(*affine("head"), config.mixtures)
        self.head, self.head_floor, self.head_bias = head, -constant, constant @ head + head_bias

    def sample(
        self,
        features: np.ndarray,
        key: int,
        first_band: int = 0,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Residual [3, H, W] of a picture (or of whole bands of it) on the [0, 1] scale of pixels.

        Args:
            features: [F, H, W]; H may be anything, its first row is the first row of
                `first_band`.
            key: of the noise, 64 bits.
            progress: told the share of the steps that are done.
        """
        height = features.shape[1]
        bands = [
            (features[:, top : top + BAND], key, first_band + top // BAND)
            for top in range(0, height, BAND)
        ]
        with one_blas_thread():
            return self.sample_crops(bands, progress)

    def sample_crops(
        self, crops: list[tuple[np.ndarray, int, int]], progress: Progress | None = None
    ) -> np.ndarray:
        """Residuals [3, sum of H, W] of crops that do not see each other, one below the other.

        Each crop: features [F, H, W] of at most BAND rows, all of one width and, but for the last,
        one height; the key and the band of its noise.
        """
        rows, width = crops[0][0].shape[1:]
        # Diagonal views need a stride that is not negative.
        wide = max(width, self.skew)
        walk = _Walk(self, len(crops), rows, wide)
        for index, (features, key, band) in enumerate(crops):
            n = features.shape[1]
            walk.features[index, :n, :width] = features.transpose(1, 2, 0)
            gumbel, logistic = band_noise(key, band, width, self.mixtures, n)
            np.multiply(gumbel, self.temperature, out=walk.gumbel[index, :n, :width])
            np.multiply(logistic, self.temperature, out=walk.logistic[index, :n, :width])
        walk.run(width, progress)
        drawn = walk.drawn.reshape(-1, wide, CHANNELS)
        total = sum(features.shape[1] for features, _, _ in crops)
        return drawn[:total, :width].transpose(2, 0, 1)


class _Walk:
    """The wavefronts of B independent bands of R rows, and all memory that they need."""

    def __init__(self, sampler: TextureSampler, bands: int, rows: int, width: int) -> None:
        self.sampler, self.bands, self.rows = sampler, bands, rows
        features, hidden = len(sampler.first) - sampler.window_size, sampler.first.shape[1]

        def zeros(*shape: int) -> np.ndarray:
            return np.zeros(shape, np.float32)

        self.features = zeros(bands, rows, width, features)
        self.gumbel = zeros(bands, rows, width, sampler.mixtures)
        self.logistic = zeros(bands, rows, width, CHANNELS)
        # Within bounds, with zeros all around for windows at the edges.
        self.seen = zeros(bands, sampler.top + rows, width + 2 * sampler.side, CHANNELS)
        self.drawn = zeros(bands, rows, width, CHANNELS)
        most = bands * min(rows, -(-width // sampler.skew))
        self._inputs = zeros(most, len(sampler.first))
        self._hidden, self._bounded, self._added = (zeros(most, hidden) for _ in range(3))
        self._out = zeros(most, sampler.head.shape[1])
        self._noisy, self._value = zeros(most, sampler.mixtures), zeros(most, CHANNELS)
        self._product = zeros(most)
        self._chosen = zeros(most, PARTS)
        self._choice = np.zeros(most, np.intp)
        self._places = np.zeros((most, PARTS), np.intp)
        first = sampler.mixtures + np.arange(PARTS)
        self._starts = np.arange(most)[:, None] * sampler.head.shape[1] + first

    def run(self, width: int, progress: Progress | None) -> None:
        """Fill `drawn` from the other arrays."""
        s = self.sampler
        steps = width + s.skew * (self.rows - 1)
        for t in range(steps):
            y = max(0, -(-(t - width + 1) // s.skew))
            n = min(self.rows - 1, t // s.skew) - y + 1
            if n < 1:  # narrower than the skew: no pixel waits for this step
                continue
            x = t - s.skew * y
            inputs = self._inputs[: self.bands * n].reshape(self.bands, n, -1)
            filled = 0
            for row, column, count in s.runs:
                size = count * CHANNELS
                seen = self._diagonal(self.seen, y + s.top + row, x + s.side + column, n, count)
                inputs[:, :, filled : filled + size] = seen
                filled += size
            inputs[:, :, filled:] = self._diagonal(self.features, y, x, n)
            value = self._draw(self.bands * n, y, x, n).reshape(self.bands, n, CHANNELS)
            self._diagonal(self.drawn, y, x, n)[...] = value
            np.minimum(value, s.bound, out=value)
            np.maximum(value, -s.bound, out=value)
            self._diagonal(self.seen, y + s.top, x + s.side, n)[...] = value
            if progress and t % 256 == 0:
                progress(t / steps)

    def _draw(self, count: int, y: int, x: int, n: int) -> np.ndarray:
        """Residuals [count, 3] of the pixels whose inputs are gathered; see `sample_mixture`."""
        s, k = self.sampler, self.sampler.mixtures
        hidden, bounded, added = (a[:count] for a in (self._hidden, self._bounded, self._added))
        np.matmul(self._inputs[:count], s.first, out=hidden)
        for weight, floor in s.layers:
            np.maximum(hidden, floor, out=bounded)
            np.matmul(bounded, weight, out=added)
            np.add(hidden, added, out=hidden)
        np.maximum(hidden, s.head_floor, out=bounded)
        out, noisy = self._out[:count], self._noisy[:count]
        np.matmul(bounded, s.head, out=out)
        np.add(out, s.head_bias, out=out)
        gumbel = self._diagonal(self.gumbel, y, x, n)
        np.add(out.reshape(self.bands, n, -1)[:, :, :k], gumbel, out=noisy.reshape(gumbel.shape))
        choice, places = self._choice[:count], self._places[:count]
        np.argmax(noisy, 1, out=choice)
        np.multiply(choice, PARTS, out=choice)
        np.add(self._starts[:count], choice[:, None], out=places)
        chosen = self._chosen[:count]
        np.take(self._out, places, out=chosen, mode="clip")
        squashed, scale = chosen[:, :6], chosen[:, 6:]
        np.tanh(squashed, out=squashed)
        np.minimum(scale, LOG_SCALE_MAX, out=scale)
        np.maximum(scale, LOG_SCALE_MIN, out=scale)
        np.exp(scale, out=scale)
        value, product = self._value[:count], self._product[:count]
        logistic = self._diagonal(self.logistic, y, x, n)
        by_band = scale.reshape(logistic.shape)
        np.multiply(by_band, logistic, out=by_band)
        np.multiply(squashed[:, :3], np.float32(MEAN_BOUND / INPUT_SCALE), out=value)
        np.add(value, scale, out=value)
        # Green given red, then blue given both.
        for coefficient, giver, taker in ((3, 0, 1), (4, 0, 2), (5, 1, 2)):
            np.multiply(squashed[:, coefficient], value[:, giver], out=product)
            np.add(value[:, taker], product, out=value[:, taker])
        return value

    def _diagonal(self, x: np.ndarray, y: int, column: int, n: int, count: int = 1) -> np.ndarray:
        """View of the pixels (y + i, column - skew * i), i < n, of every band, each with `count`
        pixels in a row: [bands, n, count * C] of a contiguous x [bands, rows, columns, C]."""
        bands, channels = len(x), x.shape[3]
        band, row, cell, number = x.strides
        return np.ndarray(
            (bands, n, count * channels),
            np.float32,
            x,
            y * row + column * cell,
            (band, row - self.sampler.skew * cell, number),
        )


def _by_component(weight: np.ndarray, bias: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The head [in, 10 K] with its columns in the order in which `_Walk` reads them: K logits, then
    for each component three means, in units of their bound, three coefficients and three log
    scales."""
    both = np.concatenate([weight, bias[None]])  # [in + 1, 10 K]
    means, log_scales, coefficients = (
        both[:, start : start + 3 * k].reshape(-1, 3, k) for start in (k, 4 * k, 7 * k)
    )
    log_scales[-1] += np.float32(LOG_SCALE_START)
    parts = np.concatenate([means / np.float32(MEAN_BOUND), coefficients, log_scales], 1)
    ordered = np.concatenate([both[:, :k], parts.transpose(0, 2, 1).reshape(len(both), -1)], 1)
    return np.ascontiguousarray(ordered[:-1]), ordered[-1]
