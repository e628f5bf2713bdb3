"""Reduced pictures of a file: previews and thumbnails.

A preview shows the stored structure without texture, averaged over squares of pixels. Those of an
eighth and less come from the latent by one layer, which is fitted to the averages (see
`train.preview`); larger ones take the whole network for structure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from . import images, zoo
from .coding.progress import Progress
from .images import Picture
from .options import SCALES


def decode(data: bytes, scale: int, progress: Progress | None = None) -> Picture:
    """The preview of a `.vlae` file at a scale above 1. Raises VlaecError."""
    from .photo.codec import load_codec
    from .photo.container import unpack
    from .photo.graphs import PREVIEW

    container = unpack(data)
    header = container.header
    codec = load_codec(zoo.find(model_id=header.model_id).id)
    if scale < PREVIEW or not codec.has_preview:
        return reduce(codec.decode(container, 0.0, None, progress), scale)
    rgb = codec.preview(container, progress)
    small = reduce(Picture(rgb, None, header.one_channel, container.metadata), scale // PREVIEW)
    if container.alpha is None:
        return small
    alpha = images.decode_alpha(container.alpha, header.width, header.height)
    return replace(small, alpha=_reduced(alpha, scale))


def reduced_size(size: tuple[int, int], scale: int) -> tuple[int, int]:
    """Width and height of a preview: the picture's divided by `scale`, rounded up."""
    width, height = size
    return -(-width // scale), -(-height // scale)


def scale_for(size: tuple[int, int], side: int) -> int:
    """The largest scale whose preview is no smaller than one with sides of at most `side`."""
    return max(scale for scale in SCALES if scale == 1 or max(reduced_size(size, scale)) >= side)


def reduce(picture: Picture, scale: int) -> Picture:
    """A picture of means over squares of `scale` pixels; fewer at the right and lower edge."""
    return _each(picture, lambda plane: _reduced(plane, scale)) if scale > 1 else picture


def _reduced(plane: np.ndarray, scale: int) -> np.ndarray:
    return np.array(Image.fromarray(plane).reduce(scale))


def fit(picture: Picture, side: int) -> Picture:
    """A picture with sides of at most `side` pixels: reduced if it is larger."""
    longest = max(picture.width, picture.height)
    if longest <= side:
        return picture
    width, height = (max(1, round(s * side / longest)) for s in (picture.width, picture.height))

    def resized(plane: np.ndarray) -> np.ndarray:
        return np.array(Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS))

    return _each(picture, resized)


def _each(picture: Picture, function: Callable[[np.ndarray], np.ndarray]) -> Picture:
    alpha = None if picture.alpha is None else function(picture.alpha)
    return replace(picture, rgb=function(picture.rgb), alpha=alpha)
