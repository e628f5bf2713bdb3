"""From rows to curves: means over pictures, BD-rates with intervals, values at a given rate."""

from __future__ import annotations

import json
import statistics
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..metrics.perceptual import frechet_distance
from .metrics import FRECHET, METRICS
from .results import Cache, Failure, Record
from .run import Outcome

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
class Speed:
    """Medians over pictures and levels in seconds, and peak memory in MiB on the largest one."""

    encode: float
    decode: float
    encode_all: float | None
    decode_all: float | None
    encode_memory: float | None
    decode_memory: float | None


@dataclass(frozen=True)
class Summary:
    """All numbers of a report. `bd_rate[metric][codec]` is in percent against `anchor`."""

    dataset: str
    images: int
    megapixels: float
    metrics: tuple[str, ...]
    anchor: str
    curves: dict[str, Curve]
    bd_rate: dict[str, dict[str, Interval | None]]
    at_bpp: dict[str, dict[str, dict[str, float | None]]]
    speed: dict[str, Speed]
    versions: dict[str, str]
    unavailable: dict[str, str]
    failures: list[Failure]
    references: list[Curve]


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


def _mean(values: np.ndarray) -> list[float | None]:
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
        quality = values if METRICS[metric].higher_is_better else -values
        if metric == "ms-ssim":
            quality = -10 * np.log10(np.maximum(1 - quality, 1e-9))
        known = np.isfinite(quality) & np.isfinite(bpp)
        order = np.argsort(bpp[known], kind="stable")
        rate, quality = bpp[known][order], quality[known][order]
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


def _bd_interval(metric: str, anchor: Grid, test: Grid) -> Interval | None:
    """BD-rate over the pictures that both have, with a bootstrap over them."""
    common = [image for image in anchor.images if image in set(test.images)]
    if not common:
        return None
    a = [anchor.images.index(image) for image in common]
    t = [test.images.index(image) for image in common]
    arrays = [anchor.bpp[a], anchor.metrics[metric][a], test.bpp[t], test.metrics[metric][t]]

    def rate(sample: np.ndarray) -> float | None:
        means = [np.array(_mean(array[sample]), np.float64) for array in arrays]
        return bd_rate(metric, (means[0], means[1]), (means[2], means[3]))

    value = rate(np.arange(len(common)))
    if value is None:
        return None
    if len(common) < 3 or metric == FRECHET:  # which has one value for all pictures together
        return Interval(value)
    rng = np.random.default_rng(_SEED)
    samples = [rate(rng.integers(0, len(common), len(common))) for _ in range(RESAMPLES)]
    known = [sample for sample in samples if sample is not None]
    low, high = np.percentile(known, [2.5, 97.5]) if known else (value, value)
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


def _frechet(
    row: str, grid: Grid, outcome: Outcome, cache: Cache, hashes: Mapping[str, str]
) -> list[float | None]:
    """Frechet distance `[levels]` of a codec's patches from those of the same originals."""
    originals = [cache.original_features(hashes[image]) for image in grid.images]
    values: list[float | None] = []
    for level in grid.levels:
        keys = [outcome.keys[hashes[image], row, level] for image in grid.images]
        patches = np.concatenate([cache.features(key)[row] for key in keys])
        enough = len(patches) > 1
        values.append(frechet_distance(np.concatenate(originals), patches) if enough else None)
    return values


def _speed(records: Sequence[Record], row: str, memory: Mapping[str, float]) -> Speed:
    encode_all = [r.encode_time_all for r in records if r.encode_time_all is not None]
    decode_all = [r.decode_time_all for r in records if r.decode_time_all is not None]
    return Speed(
        statistics.median(r.encode_time for r in records),
        statistics.median(r.decode_time for r in records),
        statistics.median(encode_all) if encode_all else None,
        statistics.median(decode_all) if decode_all else None,
        memory.get("encode"),
        memory.get(row),
    )


def summarise(
    outcome: Outcome,
    cache: Cache,
    dataset: str,
    metrics: Sequence[str],
    anchor: str,
    rates: Sequence[float],
    *,
    memory: Mapping[str, Mapping[str, float]],
    versions: Mapping[str, str],
    unavailable: Mapping[str, str],
    references: Sequence[Curve] = (),
) -> Summary:
    """All numbers of the report. `memory` and `versions` are by row.

    The first lossy row stands in for an anchor that was not measured.
    """
    by_row: dict[str, list[Record]] = defaultdict(list)
    for record in outcome.records:
        by_row[record.codec].append(record)
    hashes = {record.image: record.image_hash for record in outcome.records}
    sizes = {record.image: record.width * record.height for record in outcome.records}
    curves, grids = {}, {}
    for row, records in by_row.items():
        grid = make_grid(records, [name for name in metrics if name != FRECHET])
        means = {name: _mean(values) for name, values in grid.metrics.items()}
        if FRECHET in metrics:
            means[FRECHET] = _frechet(row, grid, outcome, cache, hashes)
            grid.metrics[FRECHET] = np.broadcast_to(
                np.array(means[FRECHET], np.float64), grid.bpp.shape
            )
        levels = {level: [r for r in records if r.level == level] for level in grid.levels}
        grids[row] = grid
        curves[row] = Curve(
            codec=row,
            levels=grid.levels,
            bpp=[float(b) for b in grid.bpp.mean(0)],
            metrics={name: means[name] for name in metrics},
            images=len(grid.images),
            encode_time=[statistics.median(r.encode_time for r in levels[x]) for x in levels],
            decode_time=[statistics.median(r.decode_time for r in levels[x]) for x in levels],
            lossless=all(record.lossless for record in records),
        )
    lossy = [row for row, curve in curves.items() if not curve.lossless]
    bd: dict[str, dict[str, Interval | None]] = {}
    if lossy:
        anchor = anchor if anchor in lossy else lossy[0]
        bd = {
            name: {row: _bd_interval(name, grids[anchor], grids[row]) for row in lossy}
            for name in metrics
        }
    return Summary(
        dataset=dataset,
        images=len(hashes),
        megapixels=sum(sizes.values()) / 1e6,
        metrics=tuple(metrics),
        anchor=anchor,
        curves=curves,
        bd_rate=bd,
        at_bpp={
            f"{bpp:g}": {
                row: {name: at_rate(curves[row], name, bpp) for name in metrics} for row in lossy
            }
            for bpp in rates
        },
        speed={row: _speed(rs, row, memory.get(row, {})) for row, rs in by_row.items()},
        versions=dict(versions),
        unavailable=dict(unavailable),
        failures=outcome.failures,
        references=list(references),
    )


def result_key(metric: str) -> str:
    """The name of a metric in CompressAI's result schema."""
    return METRICS[metric].result_key or metric


def compressai_result(summary: Summary, row: str) -> dict[str, object]:
    """A curve in the schema of CompressAI's result files (https://github.com/InterDigitalInc)."""
    curve = summary.curves[row]
    return {
        "name": row,
        "description": f"{summary.versions.get(row, row)}; {curve.images} pictures",
        "results": {
            "level": curve.levels,
            "bpp": curve.bpp,
            **{result_key(name): values for name, values in curve.metrics.items()},
            "encoding_time": curve.encode_time,
            "decoding_time": curve.decode_time,
        },
    }


def read_reference(path: Path) -> Curve:
    """A curve from a CompressAI result file. Raises UsageError if it is not one."""
    try:
        file = json.loads(path.read_text())
        results = {key.lower(): values for key, values in file["results"].items()}
        bpp = [float(value) for value in results["bpp"]]
        metrics = {}
        for name in METRICS:
            values = results.get(result_key(name), results.get(name))
            if values is not None and len(values) == len(bpp):
                metrics[name] = [None if v is None else float(v) for v in values]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a CompressAI result file ({error!r})") from error
    return Curve(str(file.get("name", path.stem)), [], bpp, metrics)
