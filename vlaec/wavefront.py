"""Sampling the PixelCNN along wavefronts: all pixels whose windows are known, at once.

With a window that reaches h columns to the right in the rows above, all pixels with the same
x + (h + 1) y are independent, so an image takes W + (h + 1)(H - 1) steps instead of W H. The image
is cut into bands of BAND rows that do not see each other, as crops do not in training; all bands
take their steps together. The bands are part of the format: a texture does not depend on how many
of them are sampled at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .model.pixelcnn import (
    INPUT_SCALE,
    NOISE_BOUND,
    WINDOW_BOUND,
    PixelCNN,
    SamplingNoise,
    sample_mixture,
    split_mixture,
)

BAND = 128


@lru_cache(maxsize=1)
def _noise_tables() -> tuple[Tensor, Tensor]:
    """Gumbel and logistic quantiles of the 2^16 cells of a 16-bit uniform number."""
    u = (np.arange(65536) + 0.5) / 65536
    gumbel = -np.log(-np.log(u))
    logistic = np.clip(np.log(u) - np.log1p(-u), -NOISE_BOUND, NOISE_BOUND)
    return torch.from_numpy(gumbel).float(), torch.from_numpy(logistic).float()


def band_noise(key: int, band: int, width: int, mixtures: int) -> tuple[Tensor, Tensor]:
    """Noise of one band: Gumbel [BAND, width, K] and logistic [BAND, width, 3].

    Philox (Salmon et al. 2011) with `key` and the band as the counter's third word. Its raw
    output is fixed by its definition, unlike that of torch's generators or numpy's distributions.
    """
    words = -(-(mixtures + 3) // 4)
    philox = np.random.Philox(key=key, counter=band << 128)
    raw = philox.random_raw(BAND * width * words).astype("<u8").view("<u2")
    cells = torch.from_numpy(raw.astype(np.int64)).view(BAND, width, 4 * words)
    gumbel, logistic = _noise_tables()
    return gumbel[cells[:, :, :mixtures]], logistic[cells[:, :, mixtures : mixtures + 3]]


class TextureSampler:
    """Samples residuals from a PixelCNN."""

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
        # Weights as [in, out]; the window's inputs are its pixels in raster order, channels last,
        # as gather_window orders them.
        window, window_bias = _affine(cnn.window)
        self.condition, condition_bias = _affine(cnn.condition)
        # The window's scale is folded into its weights, and the bound with it.
        self.window = window * INPUT_SCALE
        self.bound = WINDOW_BOUND / INPUT_SCALE
        self.bias = window_bias + condition_bias
        self.layers = [_affine(layer) for layer in cnn.layers]
        self.head, self.head_bias = _affine(cnn.head)

    @torch.inference_mode()
    def sample(
        self,
        features: Tensor,
        key: int,
        first_band: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> Tensor:
        """Residual [3, H, W] of a picture (or of whole bands of it) on the [0, 1] scale of pixels.

        Args:
            features: [F, H, W]; H may be anything, its first row is the first row of
                `first_band`.
            key: of the noise, 64 bits.
            progress: told the share of the steps that are done.
        """
        height, width = features.shape[1:]
        bands = -(-height // BAND)
        noise = [band_noise(key, first_band + b, width, self.mixtures) for b in range(bands)]
        gumbel, logistic = (torch.stack(part) for part in zip(*noise, strict=True))
        padded = functional.pad(features, (0, 0, 0, bands * BAND - height))
        by_band = padded.unflatten(1, (bands, BAND)).permute(1, 2, 3, 0)  # [bands, BAND, W, F]
        rows = min(BAND, height)
        residual = self._run(by_band, gumbel, logistic, rows, progress)
        return residual.flatten(0, 1)[:height].permute(2, 0, 1)

    @torch.no_grad()
    def sample_batch(self, features: Tensor, noise: SamplingNoise) -> Tensor:
        """Residuals [N, 3, H, W] of a batch [N, F, H, W] with given noise: for training."""
        by_pixel, gumbel, logistic = (
            t.float().permute(0, 2, 3, 1) for t in (features, noise.gumbel, noise.logistic)
        )
        residual = self._run(by_pixel, gumbel, logistic, features.shape[2])
        return residual.permute(0, 3, 1, 2)

    def _run(
        self,
        features: Tensor,
        gumbel: Tensor,
        logistic: Tensor,
        rows: int,
        progress: Callable[[float], None] | None = None,
    ) -> Tensor:
        """Residuals [B, R, W, 3] of B independent bands, of which the first `rows` rows count.

        Features [B, R, W, F], Gumbel noise [B, R, W, K], logistic noise [B, R, W, 3].
        """
        bands, height, width, channels = features.shape
        # Diagonal views need a stride that is not negative.
        spare = (0, 0, 0, max(0, self.skew - width))
        gumbel, logistic = (functional.pad(t, spare).contiguous() for t in (gumbel, logistic))
        state = torch.addmm(self.bias, features.reshape(-1, channels), self.condition)
        state = functional.pad(state.view(bands, height, width, -1), spare).contiguous()
        padded = (bands, self.top + height, width + 2 * self.side, 3)
        residual = torch.zeros(padded, device=features.device)

        steps = width + self.skew * (rows - 1)
        for t in range(steps):
            y = max(0, -(-(t - width + 1) // self.skew))
            n = min(rows - 1, t // self.skew) - y + 1
            x = t - self.skew * y
            seen = torch.cat(
                [
                    self._diagonal(residual, y + self.top + row, x + self.side + column, n, count)
                    for row, column, count in self.runs
                ],
                2,
            ).flatten(0, 1)  # [bands * n, 3 * window]
            seen = seen.clamp_(-self.bound, self.bound)
            hidden = self._diagonal(state, y, x, n).flatten(0, 1)
            hidden = torch.addmm(hidden, seen, self.window)
            for weight, bias in self.layers:
                hidden = hidden + torch.addmm(bias, torch.relu(hidden), weight)
            out = torch.addmm(self.head_bias, torch.relu(hidden), self.head)
            pixel_noise = SamplingNoise(
                self._diagonal(gumbel, y, x, n).flatten(0, 1),
                self._diagonal(logistic, y, x, n).flatten(0, 1),
            )
            value = sample_mixture(split_mixture(out, self.mixtures), pixel_noise, self.temperature)
            target = self._diagonal(residual, y + self.top, x + self.side, n)
            target.copy_(value.view(bands, n, 3))
            if progress and t % 256 == 0:
                progress(t / steps)
        return residual[:, self.top :, self.side : self.side + width]

    def _diagonal(self, x: Tensor, y: int, column: int, n: int, count: int = 1) -> Tensor:
        """View of the pixels (y + i, column - skew * i), i < n, of every band, each with `count`
        pixels in a row: [bands, n, count * C] of a contiguous x [bands, rows, columns, C]."""
        bands, rows, columns, channels = x.shape
        return x.as_strided(
            (bands, n, count * channels),
            (rows * columns * channels, (columns - self.skew) * channels, 1),
            (y * columns + column) * channels,
        )


def _affine(conv: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution as a matrix [in, out] and a bias [out]."""
    assert isinstance(conv, torch.nn.Conv2d) and conv.bias is not None
    return conv.weight.detach()[:, :, 0, 0].T.contiguous(), conv.bias.detach()
