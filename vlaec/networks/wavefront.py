"""Sampling the PixelCNN along wavefronts in torch, for training; `photo.sampler` decodes with the
same steps in numpy.

With a window that reaches h columns to the right in the rows above, all pixels with the same
x + (h + 1) y are independent, so an image takes W + (h + 1)(H - 1) steps instead of W H. All images
of a batch take their steps together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.pixelcnn import (
    INPUT_SCALE,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    LOG_SCALE_START,
    MEAN_BOUND,
    WINDOW_BOUND,
    PixelCNN,
    SamplingNoise,
)

BAND = 128


class WavefrontSampler:
    """Samples residuals from a PixelCNN, for training."""

    def __init__(self, cnn: PixelCNN, temperature: float) -> None:
        self.temperature = temperature
        self.mixtures = cnn.mixtures
        rows = sorted({row for row, _ in cnn.offsets})
        # Per row of the window: row offset, first column offset, number of columns.
        self.runs = []
        for row in rows:
            columns = [column for r, column in cnn.offsets if r == row]
            self.runs.append((row, min(columns), len(columns)))
        self.top = -rows[0]
        self.side = max(abs(column) for _, column in cnn.offsets)
        self.skew = 1 + max(column for row, column in cnn.offsets if row < 0)
        # Weights as [in, out]; the inputs are the window's pixels in raster order, channels last,
        # as gather_window orders them, and the features. The window's scale is folded into its
        # weights, and the bound with it.
        window, window_bias = _affine(cnn.window)
        condition, condition_bias = _affine(cnn.condition)
        self.first = torch.cat([window * INPUT_SCALE, condition])
        self.bound = WINDOW_BOUND / INPUT_SCALE
        # Biases are carried along as constants: relu(x + c) = max(x, -c) + c. That spares every
        # step, of which there are thousands, an operation per layer.
        constant = window_bias + condition_bias
        self.layers = []  # weight, and the floor of its input
        for layer in cnn.layers:
            weight, bias = _affine(layer)
            self.layers.append((weight, -constant))
            constant = constant + constant @ weight + bias
        head, head_bias = _by_component(*_affine(cnn.head), cnn.mixtures)
        self.head, self.head_floor, self.head_bias = head, -constant, constant @ head + head_bias

    @torch.no_grad()
    def sample_batch(self, features: Tensor, noise: SamplingNoise) -> Tensor:
        """Residuals [N, 3, H, W] of a batch [N, F, H, W] with given noise: for training."""
        by_pixel, gumbel, logistic = (
            t.float().permute(0, 2, 3, 1) for t in (features, noise.gumbel, noise.logistic)
        )
        return self._run(by_pixel, gumbel, logistic).permute(0, 3, 1, 2)

    def _run(
        self,
        features: Tensor,
        gumbel: Tensor,
        logistic: Tensor,
        progress: Callable[[float], None] | None = None,
    ) -> Tensor:
        """Residuals [B, R, W, 3] of B independent bands.

        Features [B, R, W, F], Gumbel noise [B, R, W, K], logistic noise [B, R, W, 3].
        """
        bands, rows, width, _ = features.shape
        # Diagonal views need a stride that is not negative.
        spare = (0, 0, 0, max(0, self.skew - width))
        given = [_grown(t, spare).contiguous() for t in (features, gumbel, logistic)]
        # Within bounds, with zeros all around for windows at the edges.
        values = features.new_zeros(bands, self.top + rows, width + 2 * self.side, 3)
        drawn = features.new_empty(bands, rows, width + spare[3], 3)

        steps = width + self.skew * (rows - 1)
        for t in range(steps):
            y = max(0, -(-(t - width + 1) // self.skew))
            n = min(rows - 1, t // self.skew) - y + 1
            x = t - self.skew * y
            features_t, *noise = (self._diagonal(part, y, x, n) for part in given)
            window = [
                self._diagonal(values, y + self.top + row, x + self.side + column, n, count)
                for row, column, count in self.runs
            ]
            inputs = torch.cat([*window, features_t], 2)
            inputs = inputs.flatten(0, 1)  # [bands * n, 3 * window + F]
            hidden = inputs @ self.first
            for weight, floor in self.layers:
                hidden.addmm_(hidden.maximum(floor), weight)
            out = torch.addmm(self.head_bias, hidden.maximum(self.head_floor), self.head)
            value = self.draw(out.unflatten(0, (bands, n)), *noise)
            self._diagonal(drawn, y, x, n).copy_(value)
            value = value.clamp_(-self.bound, self.bound)
            self._diagonal(values, y + self.top, x + self.side, n).copy_(value)
            if progress and t % 256 == 0:
                progress(t / steps)
        return drawn[:, :, :width]

    def draw(self, out: Tensor, gumbel: Tensor, logistic: Tensor) -> Tensor:
        """`sample_mixture` in a third of the operations, for thousands of small batches.

        Args:
            out: [..., 10 K] of the head, see `_by_component`.
            gumbel: [..., K].
            logistic: [..., 3].

        Returns:
            residuals [..., 3].
        """
        heat, k = self.temperature, self.mixtures
        # On CPUs argmax takes as long as a layer of the network, max does not.
        choice = out[..., :k].add(gumbel, alpha=heat).max(-1, keepdim=True).indices  # [..., 1]
        components = out[..., k:].unflatten(-1, (k, 9))
        index = choice[..., None].expand(*choice.shape, 9)
        component = components.gather(-2, index)[..., 0, :]  # [..., 9]
        bounded = component[..., :6].tanh_()
        scale = component[..., 6:].clamp_(LOG_SCALE_MIN, LOG_SCALE_MAX).exp_()
        value = bounded[..., :3].mul_(MEAN_BOUND / INPUT_SCALE)
        value.addcmul_(scale, logistic, value=heat)
        red, green, blue = value.unbind(-1)
        green_on_red, blue_on_red, blue_on_green = bounded[..., 3:].unbind(-1)
        green.addcmul_(green_on_red, red)
        blue.addcmul_(blue_on_red, red).addcmul_(blue_on_green, green)
        return value

    def _diagonal(self, x: Tensor, y: int, column: int, n: int, count: int = 1) -> Tensor:
        """View of the pixels (y + i, column - skew * i), i < n, of every band, each with `count`
        pixels in a row: [bands, n, count * C] of a contiguous x [bands, rows, columns, C]."""
        bands, rows, columns, channels = x.shape
        return x.as_strided(
            (bands, n, count * channels),
            (rows * columns * channels, (columns - self.skew) * channels, 1),
            (y * columns + column) * channels,
        )


def _grown(x: Tensor, padding: tuple[int, ...]) -> Tensor:
    """x with zeros around it as `F.pad` has them, itself if there is nothing to add."""
    return F.pad(x, padding) if any(padding) else x


def _by_component(weight: Tensor, bias: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The head [in, 10 K] with its columns in the order in which `draw` reads them: K logits, then
    for each component three means, in units of their bound, three coefficients and three log
    scales."""
    both = torch.cat([weight, bias[None]])  # [in + 1, 10 K]
    means, log_scales, coefficients = both[:, k:].unflatten(1, (3, 3, k)).unbind(1)
    log_scales[-1] += LOG_SCALE_START
    parts = torch.cat([means / MEAN_BOUND, coefficients, log_scales], 1)  # [in + 1, 9, K]
    ordered = torch.cat([both[:, :k], parts.transpose(1, 2).flatten(1)], 1)
    return ordered[:-1].contiguous(), ordered[-1]


def _affine(conv: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution as a matrix [in, out] and a bias [out]."""
    assert isinstance(conv, torch.nn.Conv2d) and conv.bias is not None
    return conv.weight.detach()[:, :, 0, 0].T.contiguous(), conv.bias.detach()
