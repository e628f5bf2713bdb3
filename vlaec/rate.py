"""Qualities by what they lead to: the best file of a size, the smallest one of a fidelity.

The search runs on the real encoder. The qualities of all models are laid end to end, and a curve
that is typical of photographs says how sizes grow along them. One encode finds how much larger or
smaller this picture is, a few more close in. Only a file that was made is returned, so a size is
never exceeded.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import zoo
from .errors import ModelMissingError, UsageError
from .options import CompressOptions
from .target import Target

if TYPE_CHECKING:
    from .images import Picture

Encode = Callable[[CompressOptions], bytes]

# Qualities and bits per pixel, means over a dozen photographs of a third of a megapixel.
TYPICAL = ((0, 0.074), (10, 0.1), (25, 0.18), (50, 0.45), (70, 0.73), (90, 1.07), (100, 1.27))
# A file of at least this share of the size is good enough; the search aims at the middle.
FULL = 0.97
MOST_TRIALS = 14


class Ladder:
    """Positions 0, 1, ... over the qualities of several models, from small files to large.

    `places`: log of the typical bits per pixel of each position, increasing. Raises
    ModelMissingError when there is no model for photographs.
    """

    def __init__(self, model: str | None = None) -> None:
        cards = [zoo.find(name=model)] if model else zoo.defaults()
        rungs: list[zoo.PhotoCard] = []
        for card in cards:
            if isinstance(card, zoo.PhotoCard) and not any(_covers(rung, card) for rung in rungs):
                rungs.append(card)
        rungs.sort(key=lambda card: card.qualities)
        if not rungs:
            raise ModelMissingError("no model for photographs is installed")
        ends = [[round(100 * q) for q in card.qualities] for card in rungs]
        self.models = [card.name for card in rungs]
        self.lowest = [low for low, _ in ends]
        sizes = [high - low + 1 for low, high in ends]
        self.starts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
        hundredths = np.concatenate([np.arange(low, high + 1) for low, high in ends])
        qualities, rates = zip(*TYPICAL, strict=True)
        typical = np.interp(hundredths / 100, qualities, np.log(rates))
        # Where models overlap the typical rate falls; a search needs an order.
        self.places = np.maximum.accumulate(typical) + 1e-9 * np.arange(len(typical))

    def options(self, position: int, options: CompressOptions) -> CompressOptions:
        """`options` with the quality and the model of a position, and nothing left to search."""
        rung = bisect.bisect_right(self.starts, position) - 1
        quality = (self.lowest[rung] + position - self.starts[rung]) / 100
        model = self.models[rung]
        return replace(options, quality=quality, model=model, size=None, bpp=None, target=None)


def _covers(first: zoo.PhotoCard, card: zoo.PhotoCard) -> bool:
    """Whether a model that is found first leaves none of a card's qualities to it."""
    (low, high), (lowest, highest) = first.qualities, card.qualities
    return first.name == card.name or (low <= lowest and highest <= high)


@dataclass(frozen=True)
class Trial:
    """The file of a position. `excess`: how far it misses the aim; at most 0 where it does not."""

    position: int
    excess: float
    data: bytes


def search(
    trial: Callable[[int], Trial],
    places: np.ndarray,
    start: int,
    tolerance: float,
    slope: float,
) -> list[Trial]:
    """Trials around the position at which the excess crosses 0, in the order in which they were
    made: secants within what brackets the crossing, and halves where those do not help.

    Args:
        trial: measures a position.
        places: of all positions [N], increasing: coordinates in which the excess is nearly linear.
        start: position to begin with.
        tolerance: an excess from -tolerance to 0 ends the search.
        slope: expected change of the excess for a change of place by 1; its sign holds.
    """
    low, high = -1, len(places)  # the crossing is between them
    trials: list[Trial] = []
    position, steepness = start, slope
    while True:
        last = trial(position)
        trials.append(last)
        if last.excess * slope > 0:
            high = min(high, position)
        else:
            low = max(low, position)
        if -tolerance <= last.excess <= 0 or high - low <= 1 or len(trials) == MOST_TRIALS:
            return trials
        if len(trials) % 4 == 0:
            position = (low + high) // 2
            continue
        if len(trials) > 1:
            before = trials[-2]
            run = places[last.position] - places[before.position]
            ratio = (last.excess - before.excess) / (run * slope)
            steepness = slope * min(4.0, max(0.25, ratio))
        place = places[last.position] - (last.excess + tolerance / 2) / steepness
        position = min(high - 1, max(low + 1, int(np.searchsorted(places, place))))


def encode_within(limit: int, pixels: int, options: CompressOptions, encode: Encode) -> bytes:
    """The best file of at most `limit` bytes that the models make of a picture.

    Args:
        limit: bytes.
        pixels: number of pixels of the picture.
        options: effort, and the model if only one is to be tried.
        encode: makes a file of the picture.

    Raises:
        UsageError: even the lowest quality takes more.
    """
    ladder = Ladder(options.model)
    start = int(np.searchsorted(ladder.places, math.log(8 * limit / pixels)))
    start = min(start, len(ladder.places) - 1)
    tries: list[Trial] = []
    for effort in sorted({0, options.effort}):  # effort begins where no effort ends

        def trial(position: int, effort: int = effort) -> Trial:
            tune = options.tune if effort else None  # there is none without a search
            data = encode(replace(ladder.options(position, options), effort=effort, tune=tune))
            return Trial(position, math.log(len(data) / limit), data)

        tries = search(trial, ladder.places, start, -math.log(FULL), 1.0)
        start = min(tries, key=lambda t: (abs(t.excess), t.position)).position
    within = [t for t in tries if t.excess <= 0]
    if not within:
        least = min(len(t.data) for t in tries)
        raise UsageError(f"no quality makes a file of {limit} bytes; the smallest takes {least}")
    return max(within, key=lambda t: len(t.data)).data


def encode_for(
    target: Target, options: CompressOptions, encode: Encode, measure: Callable[[bytes], float]
) -> bytes:
    """The smallest file whose picture, as it decompresses by default, reaches a target.

    Args:
        target: metric and value.
        options: effort, and the model if only one is to be tried.
        encode: makes a file of the picture.
        measure: value of the metric for a file.

    Raises:
        UsageError: even the highest quality does not reach it.
    """
    ladder = Ladder(options.model)
    best = -math.inf

    def trial(position: int) -> Trial:
        nonlocal best
        data = encode(ladder.options(position, options))
        value = measure(data)
        best = value if best == -math.inf or target.excess(value) < target.excess(best) else best
        return Trial(position, target.excess(value), data)

    scale = target.scale
    start = len(ladder.places) // 2
    trials = search(trial, ladder.places, start, scale.tolerance, -scale.rise)
    good = [t for t in trials if t.excess <= 0]
    if not good:
        raise UsageError(f"no quality reaches {target}; the best has {best:.4g}")
    return min(good, key=lambda t: len(t.data)).data


def make_measure(metric: str, original: Picture) -> Callable[[Picture], float]:
    """A metric of pictures against an original.

    Raises:
        UsageError: what it needs is not installed, or the picture is too small for it.
    """
    if metric == "psnr":
        return lambda picture: _psnr(original.rgb, picture.rgb)
    try:
        import torch

        from .metrics import perceptual, ssim

        deep: dict[str, Callable[[], Any]] = {
            "lpips": perceptual.LPIPS.load,
            "dists": perceptual.DISTS.load,
        }
        net = deep[metric]() if metric in deep else None
    except ImportError as error:
        raise UsageError(f"the target {metric} needs torch: pip install 'vlaec[torch]'") from error
    except FileNotFoundError as error:
        raise UsageError(f"the target {metric} cannot be measured: {error}") from error
    if min(original.rgb.shape[:2]) < (net.min_side if net else ssim.SMALLEST):
        raise UsageError(f"the picture is too small for {metric}")

    def tensor(picture: Picture) -> torch.Tensor:
        return torch.from_numpy(picture.rgb.transpose(2, 0, 1)[None].astype(np.float32) / 255)

    def measure(picture: Picture) -> float:
        with torch.inference_mode():
            a, b = tensor(original), tensor(picture)
            if net is None:
                return float(ssim.ms_ssim(a, b))
            return float(net.distance(net.features(a), net.features(b)))

    return measure


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR of two pictures [H, W, 3] uint8, in dB."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 10 * math.log10(255**2 / max(error, 1e-9))
