"""Latents to pixels, band by band: of what is made at full resolution only the picture is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..networks.config import STRIDE
from ..networks.photo import PhotoVLAE
from ..networks.streaming import SynthesisStream, pieces
from .sampler import BAND, TextureSampler

# Pixels sampled at a time: the more, the fewer steps of the wavefront in all.
PIXELS_SAMPLED = 2**21


@torch.inference_mode()
def render(
    model: PhotoVLAE,
    sampler: TextureSampler,
    known: Tensor,
    size: tuple[int, int],
    strength: float,
    key: int,
    progress: Callable[[float], None],
) -> np.ndarray:
    """A picture [H, W, 3] uint8.

    Args:
        model: of the file.
        sampler: of its texture.
        known: what synthesis starts from, [1, C, h, w], from `PhotoVLAE.known`.
        size: H and W, at most 16 h and 16 w.
        strength: of the texture, 0..1.
        key: of the texture's noise, 64 bits.
        progress: told the share that is done.
    """
    height, width = size
    out = np.empty((height, width, 3), np.uint8)
    rows = min(max(1, PIXELS_SAMPLED // (BAND * width)) * BAND, height)
    top = 0
    for mean, *texture in _bands(model, known, size, rows, strength > 0):
        band = len(mean)
        if texture:
            detail, features = texture

            def share(done: float, top: int = top, band: int = band) -> None:
                progress((top + done * band) / height)

            sample = sampler.sample(features.permute(2, 0, 1), key, top // BAND, share)
            mean += strength * (detail + sample.permute(1, 2, 0))
        out[top : top + band] = (mean * 255).round_().clamp_(0, 255).to(torch.uint8)
        top += band
    return out


def _bands(
    model: PhotoVLAE, known: Tensor, size: tuple[int, int], rows: int, texture: bool
) -> Iterator[tuple[Tensor, ...]]:
    """Mean [R, W, 3] and, with texture, detail [R, W, 3] and features [R, W, F] of `rows` rows at a
    time, of fewer at the end. The next band overwrites them."""
    height, width = size
    channels = (3, 3, model.config.features) if texture else (3,)
    band = tuple(known.new_empty(rows, width, c) for c in channels)
    filled, left = 0, height
    for planes in _flow(model, known, texture):
        ready = [plane[0, :, :left, :width].permute(1, 2, 0) for plane in planes]  # [n, W, C] each
        while count := min(len(ready[0]), rows - filled):
            for layer, part in zip(band, ready, strict=True):
                layer[filled : filled + count] = part[:count]
            ready = [part[count:] for part in ready]
            filled, left = filled + count, left - count
            if filled == rows or not left:
                yield tuple(layer[:filled] for layer in band)
                filled = 0


def _flow(model: PhotoVLAE, known: Tensor, texture: bool) -> Iterator[tuple[Tensor, ...]]:
    """The same layers as planes [1, C, n, 16 w], as they come."""
    synthesis = SynthesisStream(model)
    for rows, last in pieces(known, STRIDE):
        mean = synthesis.mean(rows, last)
        yield (mean, *synthesis.texture(rows, last)) if texture else (mean,)
