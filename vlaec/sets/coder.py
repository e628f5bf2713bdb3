"""z and x of set models, symbol by symbol: one walk for encoding, decoding and sampling.

z is walked by the steps of its prior, x along wavefronts: with a window that reaches h columns to
the right in the rows above, all pixels with the same column + (h + 1) row are independent, in all
images at once. Whether a walk is told its symbols, pops them or draws them is up to the coder.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..coding.ans import AnsCoder
from ..coding.gaussian import HYPER_LOG_MIN, LATENT_BOUND, SCALE_LOG_MIN, Gaussians
from ..coding.symbols import INTEGER_BOUND, ClassCoder, StackWriter, SymbolCoder
from ..networks.set_pixels import centre, grey
from ..networks.sets import SetVLAE
from .exact_pixels import MAX_MIXTURES, code_pixels
from .exact_torch import exact_copy

# Images that the large networks see at a time: bounds memory, changes no result.
IMAGES_AT_ONCE = 64
# LATENT_BOUND plus REACH times exp of this stays below INTEGER_BOUND.
POSTERIOR_LOG_MAX = 5.0


class SetCoder:
    """Distributions of one model, exact, and the order in which they are coded.

    Images are uint8 [N, C, H, W], 0 and 1 or levels 0..255; z is int32 [N, D], in the C order of
    the model's [C, h, w].

    Raises:
        GridError: weights too large for exact arithmetic.
        TypeError, ValueError: a model that cannot be coded with.
    """

    def __init__(self, model: SetVLAE) -> None:
        self.config = model.config
        self._binary = self.config.kind == "binary"
        if self.config.posterior != "gaussian":
            raise ValueError("its posterior has no density that a decoder could walk")
        if not self._binary and self.config.mixtures > MAX_MIXTURES:
            raise ValueError(f"it has more than {MAX_MIXTURES} mixture components")
        self.exact = exact_copy(model)
        c, h, w = self.config.latent_shape
        self.dimensions = c * h * w
        offsets = self.exact.pixelcnn.offsets
        self._top = max((-row for row, _ in offsets), default=0)
        self._side = max((abs(column) for _, column in offsets), default=0)
        self._wide = self.config.width + 2 * self._side
        self._taps = np.array([row * self._wide + column for row, column in offsets], np.int64)
        # Symbols of an image, pixel for pixel: a colour is coded in two halves.
        self.draws = self.config.height * self.config.width * (1 if self._binary else 6)
        right = max((column for row, column in offsets if row < 0), default=0)
        self.wavefronts = wavefronts(self.config.height, self.config.width, right + 1)

    @torch.inference_mode()
    def posterior(self, x: np.ndarray) -> Gaussians:
        """q(z | x), [N, D], narrow enough for all draws to lie within +-INTEGER_BOUND."""
        mean, log_scale = _in_parts(lambda part: self.exact.encode(self._unit(part)), x)
        log_scale = log_scale.clamp_max(POSTERIOR_LOG_MAX)
        return _gaussians(mean, log_scale, HYPER_LOG_MIN)

    @torch.inference_mode()
    def prior(self, z: np.ndarray) -> Gaussians:
        """p(z_i | z_<i) of all elements of z [N, D] in one pass, [N, D]."""
        latent = torch.from_numpy(z).double().view(len(z), *self.config.latent_shape)
        mean, log_scale = self.exact.prior.conditionals(latent)
        return _gaussians(mean, log_scale, SCALE_LOG_MIN)

    @torch.inference_mode()
    def code_latent(
        self, coder: SymbolCoder, quanta: np.ndarray, images: int, known: np.ndarray | None = None
    ) -> np.ndarray:
        """p(z), step by step.

        Args:
            quanta: [D]; the element i is coded as a multiple of quanta[i], and where that is 0
                not at all: it takes the rounded mean of its prior.
            known: the multiples [N, D] when encoding.

        Returns:
            z [N, D].
        """
        z = torch.zeros(images, *self.config.latent_shape, dtype=torch.float64)
        flat = z.view(images, -1)
        for index in range(len(self.exact.prior.steps) if self.dimensions else 0):
            cells = self.exact.prior.steps[index].numpy()
            mean, log_scale = (t.double() for t in self.exact.prior.step(index, z))
            mean = mean.clamp(-LATENT_BOUND, LATENT_BOUND)
            gaussians = Gaussians(mean.numpy(), log_scale.numpy(), SCALE_LOG_MIN)
            values = np.rint(gaussians.means)
            quantum = quanta[cells]
            sent = quantum > 0
            if sent.any():
                step = quantum[sent]
                symbols = coder.integers(
                    gaussians.means[:, sent] / step,
                    gaussians.scales[:, sent] / step,
                    None if known is None else known[:, cells[sent]],
                )
                values[:, sent] = np.rint(symbols * step)
            flat[:, cells] = torch.from_numpy(values.clip(-INTEGER_BOUND, INTEGER_BOUND))
        return flat.numpy().astype(np.int32)

    @torch.inference_mode()
    def push_pixels(self, stack: AnsCoder, x: np.ndarray, z: np.ndarray) -> float:
        """Push p(x | z), last wavefront first; returns the model's -log2 p."""
        features, canvas, bits = self._features(z), self._canvas(len(x)), 0.0
        every = np.arange(x.shape[2] * x.shape[3])
        flat = x.reshape(*x.shape[:2], -1)
        self._paint(canvas, every, flat)
        for pixels in reversed(self.wavefronts):
            writer = StackWriter()
            self._code(writer, pixels, canvas, features, flat[:, :, pixels])
            writer.flush(stack)
            bits += writer.bits
        return bits

    @torch.inference_mode()
    def pull_pixels(self, coder: ClassCoder, z: np.ndarray) -> np.ndarray:
        """Images [N, C, H, W] that `coder` pops or draws from p(x | z)."""
        c = self.config
        features, canvas = self._features(z), self._canvas(len(z))
        flat = np.empty((len(z), c.channels, c.height * c.width), np.uint8)
        for pixels in self.wavefronts:
            values = self._code(coder, pixels, canvas, features, None)
            flat[:, :, pixels] = values
            self._paint(canvas, pixels, values)
        return flat.reshape(len(z), c.channels, c.height, c.width)

    def _code(
        self,
        coder: ClassCoder,
        pixels: np.ndarray,
        canvas: Tensor,
        features: Tensor,
        known: np.ndarray | None,
    ) -> np.ndarray:
        """Values [N, C, n] of one wavefront, flat positions `pixels` [n]."""
        cnn = self.exact.pixelcnn
        hidden = cnn.condition(features[:, :, pixels][None])  # [1, hidden, N, n]
        if cnn.window is not None:
            seen = canvas[:, :, self._taps[:, None] + self._place(pixels)]  # [C, N, taps, n]
            # Taps before channels, as `gather_window` orders them.
            inputs = seen.permute(2, 0, 1, 3).flatten(0, 1)[None]
            hidden = hidden + cnn.window(inputs)
        return code_pixels(self.config, cnn.outputs(hidden), coder, known)

    def _features(self, z: np.ndarray) -> Tensor:
        """[F, N, H * W]."""
        latent = z.reshape(len(z), *self.config.latent_shape)
        (out,) = _in_parts(lambda part: (self.exact.features(part),), latent)
        return out.flatten(2).transpose(0, 1).contiguous()

    def _canvas(self, images: int) -> Tensor:
        """Nothing but "outside the image": [C, N, rows * columns] with a margin for the window."""
        channels = 1 if self.config.grey_context else self.config.channels
        size = (self._top + self.config.height) * self._wide
        return torch.zeros(channels, images, size, dtype=torch.float64)

    def _paint(self, canvas: Tensor, pixels: np.ndarray, values: np.ndarray) -> None:
        """Put values [N, C, n] at flat positions [n] where windows see them."""
        centred = centre(self._unit(values[..., None]))
        if self.config.grey_context:
            centred = grey(centred)
        canvas[:, :, self._place(pixels)] = centred[..., 0].transpose(0, 1)

    def _place(self, pixels: np.ndarray) -> np.ndarray:
        """Flat positions in the image as flat positions on the canvas."""
        row, column = np.divmod(pixels, self.config.width)
        place: np.ndarray = (row + self._top) * self._wide + column + self._side
        return place

    def _unit(self, x: Tensor | np.ndarray) -> Tensor:
        """uint8 as the model takes it, in [0, 1]."""
        return torch.as_tensor(x).double() / (1 if self._binary else 255)


def wavefronts(height: int, width: int, skew: int) -> list[np.ndarray]:
    """Flat positions with the same column + skew * row, rising, each ordered by row."""
    time = np.add.outer(skew * np.arange(height), np.arange(width)).ravel()
    order = np.argsort(time, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(time[order])) + 1)


def _gaussians(mean: Tensor, log_scale: Tensor, log_min: float) -> Gaussians:
    first, second = (t.double().flatten(1).numpy() for t in (mean, log_scale))
    return Gaussians(first, second, log_min)


def _in_parts(
    function: Callable[[Tensor], tuple[Tensor, ...]], inputs: np.ndarray
) -> tuple[Tensor, ...]:
    """`function` of some images at a time."""
    parts = torch.from_numpy(inputs).double().split(IMAGES_AT_ONCE)
    return tuple(torch.cat(values) for values in zip(*map(function, parts), strict=True))
