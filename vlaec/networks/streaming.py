"""Networks run down a picture: rows go in, and the rows that they complete come out.

Of a large picture every intermediate at full height is hundreds of megabytes, and memory that is
given back to the system and asked for anew costs as much time as a good part of the arithmetic. A
convolution that keeps the two rows which the next ones need makes of rows what it would make of the
whole, with nothing computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import ResidualBlock
from .config import STRIDE
from .photo import PhotoVLAE, Texture

# The next rows [1, C, h, W] of a picture, at least one, and whether they are the last; returns the
# rows that are complete, perhaps none: all of them, once the last are given.
Stream = Callable[[Tensor, bool], Tensor]

# Pixels at a time: intermediates of 32 MiB at most, which allocators keep for the next rather than
# give back to the system.
PIXELS_AT_ONCE = 2**19


def stream(network: nn.Module) -> Stream:
    """A network of 1x1 and padded 3x3 convolutions and pixel-shuffles, from the first row on.

    Raises:
        TypeError: a module that is none of these.
    """
    match network:
        case nn.Sequential():
            return _Chain([stream(part) for part in network])
        case ResidualBlock():
            return _Residual(network)
        case nn.Conv2d(kernel_size=(3, 3), padding=(1, 1)):
            return _Convolution(network)
        case nn.Conv2d(kernel_size=(1, 1)):
            return _Pointwise(network)
        case nn.PixelShuffle():
            return lambda rows, last: network(rows)
        case nn.PixelUnshuffle():
            return _Unshuffle(network)
    raise TypeError(f"cannot be run row by row: {network}")


def pieces(x: Tensor, stride: int) -> Iterator[tuple[Tensor, bool]]:
    """The rows of x [1, C, H, W] in pieces for a stream, and whether they are the last.

    Args:
        stride: pixels of the picture on one side of a cell of x.
    """
    latents = max(1, PIXELS_AT_ONCE // (STRIDE * stride * x.shape[3]))
    step = latents * STRIDE // stride
    for top in range(0, x.shape[2], step):
        yield x[:, :, top : top + step], top + step >= x.shape[2]


def encode_in_rows(model: PhotoVLAE, x: Tensor, levels: Tensor) -> Tensor:
    """`PhotoVLAE.encode` of a picture [1, 3, 16 h, 16 w], some of its rows at a time."""
    analysis = stream(model.analysis)
    parts = [analysis(rows - 0.5, last) for rows, last in pieces(x, 1)]
    return model.latent(torch.cat(parts, 2), levels)


class SynthesisStream:
    """What `PhotoVLAE.decode` makes of what is known of the latents, row by row."""

    def __init__(self, model: PhotoVLAE) -> None:
        faithful, lively = model.synthesis, model.texture_synthesis
        self._mean = stream(nn.Sequential(faithful.trunk, faithful.full, model.to_mean))
        self._lively = stream(nn.Sequential(lively.trunk, lively.full))
        self._detail, self._features = stream(model.to_detail), stream(model.to_features)

    def mean(self, known: Tensor, last: bool) -> Tensor:
        """Mean [1, 3, n, 16 w] of the n rows that the next rows of `known` [1, C, h, w]
        complete."""
        return self._mean(known, last).add_(0.5)

    def texture(self, known: Tensor, last: bool) -> Texture:
        """The same for detail [1, 3, n, 16 w] and features [1, F, n, 16 w]."""
        full = self._lively(known, last).relu_()
        return Texture(self._detail(full, last), self._features(full, last))


class _Chain:
    """Streams in sequence."""

    def __init__(self, parts: list[Stream]) -> None:
        self.parts = parts

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        for part in self.parts:
            rows = part(rows, last)
        return rows


class _Pointwise:
    """A 1x1 convolution, which torch refuses to make of no rows."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv = conv

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        n, _, height, width = rows.shape
        if not height:
            return rows.new_empty(n, self.conv.out_channels, 0, width)
        out: Tensor = self.conv(rows)
        return out


class _Unshuffle:
    """A pixel-unshuffle, which takes as many rows at a time as it makes one of."""

    def __init__(self, unshuffle: nn.PixelUnshuffle) -> None:
        self.unshuffle = unshuffle
        self.waiting: Tensor | None = None

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        if self.waiting is not None:
            rows = torch.cat([self.waiting, rows], 2)
        n, c, height, width = rows.shape
        factor = self.unshuffle.downscale_factor
        whole = height // factor * factor
        self.waiting = rows[:, :, whole:].clone()
        if not whole:  # torch leaves no rows as wide as they were
            return rows.new_empty(n, c * factor**2, 0, width // factor)
        out: Tensor = self.unshuffle(rows[:, :, :whole])
        return out


class _Convolution:
    """A 3x3 convolution with zeros around the picture."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv = conv
        self.above: Tensor | None = None  # the rows that the next ones need, two but for the start

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        if self.above is None and last:  # all at once: nothing to be kept or copied
            whole: Tensor = self.conv(rows)
            return whole
        n, c, _, width = rows.shape
        outside = rows.new_zeros(n, c, 1, width)
        parts = [outside if self.above is None else self.above, rows, *([outside] if last else [])]
        seen = torch.cat(parts, 2).contiguous(memory_format=torch.channels_last)
        self.above = seen[:, :, -2:].clone()
        if seen.shape[2] < 3:
            return rows.new_empty(n, self.conv.out_channels, 0, width)
        return F.conv2d(seen, self.conv.weight, self.conv.bias, padding=(0, 1))


class _Residual:
    """x + the two convolutions of x, which come two rows behind it."""

    def __init__(self, block: ResidualBlock) -> None:
        self.first, self.second = _Convolution(block.first), _Convolution(block.second)
        self.waiting: Tensor | None = None  # rows of x whose convolutions are not complete

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        out = self.second(self.first(rows, last).relu_(), last)
        if self.waiting is not None:
            rows = torch.cat([self.waiting, rows], 2)
        done = out.shape[2]
        self.waiting = rows[:, :, done:].clone()
        return out.add_(rows[:, :, :done])
