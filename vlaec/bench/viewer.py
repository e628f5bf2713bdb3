"""Pictures for the page: crops of the original and of every codec at matched rates.

The level of every codec is found by bisection on the whole picture, so that all are compared at
the same size of file and not at the nearest level that happened to be measured.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..images import read
from .codecs import Codec, Vlaec

CROP_WIDTH, CROP_HEIGHT = 480, 384
THUMB = 208
DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)
_STEPS = 8  # of the bisection
_CLOSE = 0.02  # of the rate


@dataclass(frozen=True)
class Shot:
    """A crop as a data address, and what the whole file cost."""

    source: str
    bpp: float
    level: float


@dataclass(frozen=True)
class Exhibit:
    """One picture: `shots[rate][row]`, and for each vlaec codec the texture dial."""

    image: str
    original: str
    shots: dict[str, dict[str, Shot]]
    dial: dict[str, list[tuple[str, str]]]  # caption and data address


def as_address(crop: np.ndarray) -> str:
    """A data address of `[H, W, 3]` uint8 as lossless WebP, which every browser shows exactly."""
    buffer = io.BytesIO()
    Image.fromarray(crop).save(buffer, "WEBP", lossless=True, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def busiest_crop(image: np.ndarray, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of the window with most local contrast, where codecs differ most."""
    grey = image.astype(np.float32).mean(2)
    contrast = np.zeros_like(grey)
    contrast[:, 1:] += np.abs(np.diff(grey, axis=1))
    contrast[1:] += np.abs(np.diff(grey, axis=0))
    # The root keeps one hard edge from outweighing a field of fine detail.
    return richest_window(np.sqrt(contrast), height, width)


def richest_window(score: np.ndarray, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the window, at most `height` x `width`, with the largest sum of `score`
    [H, W]."""
    height, width = min(height, score.shape[0]), min(width, score.shape[1])
    total = np.zeros((score.shape[0] + 1, score.shape[1] + 1))
    total[1:, 1:] = score.astype(np.float64).cumsum(0).cumsum(1)
    windows = (
        total[height:, width:]
        - total[:-height, width:]
        - total[height:, :-width]
        + total[:-height, :-width]
    )
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def match_rate(codec: Codec, image: np.ndarray, bpp: float) -> tuple[float, bytes]:
    """The level, within the codec's usual ones, whose file is nearest to `bpp`, and the file."""
    pixels = image.shape[0] * image.shape[1]
    small, large = codec.levels[0], codec.levels[-1]
    tried: dict[float, bytes] = {}

    def rate(level: float) -> float:
        if level not in tried:
            tried[level] = codec.encode(image, level)
        return 8 * len(tried[level]) / pixels

    if rate(small) < bpp < rate(large):
        for _ in range(_STEPS):
            middle = (small + large) / 2
            if codec.integer:
                middle = round(middle)
            if middle in tried or abs(rate(middle) / bpp - 1) < _CLOSE:
                break
            small, large = (middle, large) if rate(middle) < bpp else (small, middle)
    best = min(tried, key=lambda level: abs(rate(level) - bpp))
    return best, tried[best]


def make_exhibits(
    images: Sequence[tuple[str, Path]],
    codecs: Sequence[Codec],
    rates: Sequence[float],
    progress: Callable[[int], None] = lambda steps: None,
) -> list[Exhibit]:
    """Code and decode named pictures at every rate; `progress` hears of each codec and rate."""
    exhibits = []
    for name, path in images:
        image = np.ascontiguousarray(read(path).rgb)
        rows, columns = busiest_crop(image, CROP_WIDTH, CROP_HEIGHT)
        shots: dict[str, dict[str, Shot]] = {}
        dial: dict[str, list[tuple[str, str]]] = {}
        for rate in sorted(rates):
            found = shots.setdefault(f"{rate:g}", {})
            for codec in codecs:
                level, data = match_rate(codec, image, rate)
                bpp = 8 * len(data) / (image.shape[0] * image.shape[1])
                for row, decode in codec.decoders().items():
                    found[row] = Shot(as_address(decode(data, 1)[rows, columns]), bpp, level)
                if isinstance(codec, Vlaec) and codec.name not in dial:  # at the lowest rate
                    dial[codec.name] = _dial(codec, data, image, rows, columns)
                progress(1)
        exhibits.append(Exhibit(name, as_address(image[rows, columns]), shots, dial))
    return exhibits


def _dial(
    codec: Vlaec, data: bytes, image: np.ndarray, rows: slice, columns: slice
) -> list[tuple[str, str]]:
    """Thumbnails of one file at five strengths of texture, and of the original."""
    inner = busiest_crop(image[rows, columns], THUMB, THUMB)

    def cut(picture: np.ndarray) -> str:
        return as_address(picture[rows, columns][inner])

    strengths = [(f"texture {t:g}", cut(codec.decode(data, texture=t))) for t in DIAL]
    return [*strengths, ("original", cut(image))]
