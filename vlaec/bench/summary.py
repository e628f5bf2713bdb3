"""All numbers of a report: curves, BD-rates, values at given rates, files of equal size, speed."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .curves import Curve, Grid, Interval, at_rate, bd_interval, make_grid, mean_levels
from .metrics import FILES, SETS
from .results import Cache, Failure, Record
from .run import Outcome
from .search import CLOSE


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
class Equal:
    """Means over the pictures whose files were made for one rate.

    `close` of the `images` have files within `search.CLOSE` of it; `bpp` is the mean of all.
    """

    bpp: float
    images: int
    close: int
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class Summary:
    """All numbers of a report.

    `bd_rates[anchor][metric][codec]` is in percent; `anchor` is the first of them.
    `at_bpp[rate][codec]` is interpolated, `equal[rate][codec]` measured.
    """

    dataset: str
    images: int
    megapixels: float
    metrics: tuple[str, ...]
    anchor: str
    curves: dict[str, Curve]
    bd_rates: dict[str, dict[str, dict[str, Interval | None]]]
    at_bpp: dict[str, dict[str, dict[str, float | None]]]
    speed: dict[str, Speed]
    versions: dict[str, str]
    unavailable: dict[str, str]
    failures: list[Failure]
    references: list[Curve]
    equal: dict[str, dict[str, Equal]] = field(default_factory=dict)


def summarise(
    outcome: Outcome,
    cache: Cache,
    dataset: str,
    metrics: Sequence[str],
    anchors: Sequence[str],
    rates: Sequence[float],
    *,
    memory: Mapping[str, Mapping[str, float]],
    versions: Mapping[str, str],
    unavailable: Mapping[str, str],
    references: Sequence[Curve] = (),
) -> Summary:
    """All numbers of the report. `memory` and `versions` are by row.

    The first lossy row stands in for anchors that were not measured.
    """
    by_row: dict[str, list[Record]] = defaultdict(list)
    for record in outcome.records:
        by_row[record.codec].append(record)
    hashes = {record.image: record.image_hash for record in outcome.records}
    sizes = {record.image: record.width * record.height for record in outcome.records}
    curves, grids = {}, {}
    for row, records in by_row.items():
        grids[row], curves[row] = _curve(row, records, metrics, outcome, cache)
    lossy = [row for row, curve in curves.items() if not curve.lossless]
    measured = [anchor for anchor in anchors if anchor in lossy] or lossy[:1]
    bd_rates = {
        anchor: {
            name: {row: bd_interval(name, grids[anchor], grids[row]) for row in lossy}
            for name in metrics
            if name not in FILES
        }
        for anchor in measured
    }
    return Summary(
        dataset=dataset,
        images=len(hashes),
        megapixels=sum(sizes.values()) / 1e6,
        metrics=tuple(metrics),
        anchor=measured[0] if measured else (anchors[0] if anchors else ""),
        curves=curves,
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
        equal=_equal(outcome, metrics, cache),
        bd_rates=bd_rates,
    )


def _curve(
    row: str, records: Sequence[Record], metrics: Sequence[str], outcome: Outcome, cache: Cache
) -> tuple[Grid, Curve]:
    """One row's values by picture and level, and their means."""
    grid = make_grid(records, [name for name in metrics if name not in SETS])
    means = {name: mean_levels(values) for name, values in grid.metrics.items()}
    kept = set(grid.images)
    levels = {level: [r for r in records if r.level == level] for level in grid.levels}
    for name in metrics:
        if name in SETS:
            counted = [r for r in records if r.image in kept]
            means[name] = [
                _distance(name, [r for r in counted if r.level == level], outcome, cache)
                for level in grid.levels
            ]
            values = np.array(means[name], np.float64)
            grid.metrics[name] = np.broadcast_to(values, grid.bpp.shape)
    curve = Curve(
        codec=row,
        levels=grid.levels,
        bpp=[float(b) for b in grid.bpp.mean(0)],
        metrics={name: means[name] for name in metrics},
        images=len(grid.images),
        encode_time=[statistics.median(r.encode_time for r in levels[x]) for x in levels],
        decode_time=[statistics.median(r.decode_time for r in levels[x]) for x in levels],
        lossless=all(record.lossless for record in records),
    )
    return grid, curve


def _distance(
    metric: str, records: Sequence[Record], outcome: Outcome, cache: Cache
) -> float | None:
    """A set metric between these reconstructions and their originals; None if they are too few."""
    pictures = [cache.features(outcome.key(r), metric)[r.codec] for r in records]
    originals = [cache.original_features(r.image_hash, metric) for r in records]
    if sum(map(len, pictures)) < 2:
        return None
    return SETS[metric].distance(np.concatenate(originals), np.concatenate(pictures))


def _equal(outcome: Outcome, metrics: Sequence[str], cache: Cache) -> dict[str, dict[str, Equal]]:
    """Means at equal size, by rate and row."""
    groups: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in outcome.equal:
        groups[f"{record.rate:g}"][record.codec].append(record)
    return {
        rate: {
            row: Equal(
                bpp=statistics.fmean(r.bpp for r in records),
                images=len(records),
                close=sum(abs(r.bpp / r.rate - 1) <= CLOSE for r in records if r.rate),
                metrics={
                    name: _distance(name, records, outcome, cache)
                    if name in SETS
                    else _known_mean([r.metrics.get(name) for r in records])
                    for name in metrics
                },
            )
            for row, records in rows.items()
        }
        for rate, rows in groups.items()
    }


def _known_mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return statistics.fmean(numbers) if numbers else None


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
