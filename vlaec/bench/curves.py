"""Curves of quality over rate: means over pictures, BD-rates with intervals, interpolation."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .metrics import METRICS, SETS
from .results import Record

RESAMPLES = 200  # of the pictures, for the intervals
_SEED = 20240229


@dataclass(frozen=True)
class Curve:
    """Means over pictures, one value per level, from the lowest rate to the highest."""

    codec: str
    levels: list[float]
    bpp: list[float]
    metrics: dict[str, list[float | None]]
    images: int = 0
    encode_time: list[float] = field(default_factory=list)  # seconds, medians over pictures
    decode_time: list[float] = field(default_factory=list)
    lossless: bool = False


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % bootstrap interval over pictures, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Grid:
    """One codec's rows as arrays `[images, levels]`, NaN where a metric has no value."""

    images: list[str]
    levels: list[float]
    bpp: np.ndarray
    metrics: dict[str, np.ndarray]


def make_grid(records: Iterable[Record], metrics: Sequence[str]) -> Grid:
    """Rows of one codec. Pictures that lack a level are left out, so that means compare."""
    rows: dict[str, dict[float, Record]] = defaultdict(dict)
    for record in records:
        rows[record.image][record.level] = record
    most = max(map(len, rows.values()))
    images = [image for image, levels in rows.items() if len(levels) == most]
    bits = {level: np.mean([rows[i][level].bpp for i in images]) for level in rows[images[0]]}
    levels = sorted(bits, key=lambda level: float(bits[level]))

    def array(values: Iterable[float | None]) -> np.ndarray:
        flat = [np.nan if value is None else value for value in values]
        return np.array(flat, np.float64).reshape(len(images), len(levels))

    cells = [rows[image][level] for image in images for level in levels]
    return Grid(
        images,
        levels,
        array(cell.bpp for cell in cells),
        {name: array(cell.metrics.get(name) for cell in cells) for name in metrics},
    )


def mean_levels(values: np.ndarray) -> list[float | None]:
    """Means `[levels]` over the pictures that have a value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no picture has one
        return [None if np.isnan(v) else float(v) for v in np.nanmean(values, axis=0)]


def bd_rate(
    metric: str, anchor: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> float | None:
    """Bjontegaard delta rate in percent of `test` against `anchor`, each (bpp, values) `[levels]`.

    Piecewise cubic interpolation of the logarithm of the rate; MS-SSIM in dB, as is usual.
    Points that cost more and are no better than another are left out. None if the curves do not
    overlap in quality.
    """
    from bjontegaard import bd_rate as bjontegaard_rate

    rates, qualities = [], []
    for bpp, values in (anchor, test):
        quality = METRICS[metric].quality(values)
        finite = np.isfinite(quality) & np.isfinite(bpp)
        order = np.argsort(bpp[finite], kind="stable")
        rate, quality = bpp[finite][order], quality[finite][order]
        best = np.maximum.accumulate(np.concatenate([[-np.inf], quality[:-1]]))
        rates.append(rate[quality > best])
        qualities.append(quality[quality > best])
    if min(map(len, rates)) < 2:
        return None
    if max(q[0] for q in qualities) >= min(q[-1] for q in qualities):
        return None
    value = bjontegaard_rate(
        *(rates[0], qualities[0], rates[1], qualities[1]),
        method="pchip",
        require_matching_points=False,
        min_overlap=0,
    )
    return float(value)


def bd_interval(metric: str, anchor: Grid, test: Grid) -> Interval | None:
    """BD-rate over the pictures that both have, with a bootstrap over them."""
    common = [image for image in anchor.images if image in set(test.images)]
    if not common:
        return None
    a = [anchor.images.index(image) for image in common]
    t = [test.images.index(image) for image in common]
    arrays = [anchor.bpp[a], anchor.metrics[metric][a], test.bpp[t], test.metrics[metric][t]]

    def rate(sample: np.ndarray) -> float | None:
        means = [np.array(mean_levels(array[sample]), np.float64) for array in arrays]
        return bd_rate(metric, (means[0], means[1]), (means[2], means[3]))

    value = rate(np.arange(len(common)))
    if value is None:
        return None
    if len(common) < 3 or metric in SETS:  # they have one value for all pictures
        return Interval(value)
    rng = np.random.default_rng(_SEED)
    samples = [rate(rng.integers(0, len(common), len(common))) for _ in range(RESAMPLES)]
    finite = [sample for sample in samples if sample is not None]
    low, high = np.percentile(finite, [2.5, 97.5]) if finite else (value, value)
    return Interval(value, float(low), float(high))


def at_rate(curve: Curve, metric: str, bpp: float) -> float | None:
    """The metric at `bpp`, linear in the logarithm of the rate; None outside of the curve."""
    points = [
        (b, v) for b, v in zip(curve.bpp, curve.metrics[metric], strict=True) if v is not None
    ]
    points.sort()
    if not points or not points[0][0] <= bpp <= points[-1][0]:
        return None
    rates, values = zip(*points, strict=True)
    return float(np.interp(np.log(bpp), np.log(rates), values))
