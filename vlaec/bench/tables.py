"""The numbers as tables of text, which the page and the Markdown summary both show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .curves import Interval
from .metrics import METRICS
from .summary import Summary
from .verdict import reading_order

NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the row. `best` holds (row, column) of the winners."""

    title: str
    note: str
    header: list[str]
    rows: list[list[str]]
    best: frozenset[tuple[int, int]] = frozenset()


def all_tables(summary: Summary) -> Iterator[Table]:
    """Every table of the report that has a row."""
    candidates = [
        *(bd_table(summary, anchor) for anchor in summary.bd_rates),
        *(equal_table(summary, rate) for rate in summary.equal),
        *(rate_table(summary, rate) for rate in summary.at_bpp),
        level_table(summary),
        speed_table(summary),
        lossless_table(summary),
    ]
    return (table for table in candidates if table.rows)


def _winners(
    values: list[list[float | None]], better: Callable[[int], Callable[[list[float]], float]]
) -> frozenset[tuple[int, int]]:
    """Where the best value of each column stands; columns are counted after the name's."""
    winners = set()
    for column in range(len(values[0]) if len(values) > 1 else 0):
        numbers = [row[column] for row in values if row[column] is not None]
        best = better(column)([v for v in numbers if v is not None]) if numbers else None
        winners |= {
            (i, column + 1)
            for i, row in enumerate(values)
            if best is not None and row[column] == best
        }
    return frozenset(winners)


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return NONE
    text = f"{interval.value:+.1f} %"
    if interval.low is not None and interval.high is not None:
        text += f" [{interval.low:+.1f}, {interval.high:+.1f}]"
    return text


def bd_table(summary: Summary, anchor: str | None = None) -> Table:
    """BD-rate of every codec for every metric, against the first anchor unless another is named."""
    anchor = anchor or summary.anchor
    rates = summary.bd_rates.get(anchor, {})
    order = [name for name in reading_order(summary.metrics) if name in rates]
    rows = [row for row, curve in summary.curves.items() if not curve.lossless]
    cells = {row: [rates[name].get(row) for name in order] for row in rows}
    values = [[i.value if i else None for i in intervals] for intervals in cells.values()]
    return Table(
        f"BD-rate against {anchor}",
        "Average difference in file size at equal quality, and its 95 % bootstrap interval over "
        f"pictures: -10 % means files a tenth smaller than {anchor}'s. MS-SSIM in dB. "
        f"{NONE} where the curves do not overlap in quality.",
        ["codec", *(METRICS[name].title for name in order)],
        # Where each codec has one level there is nothing to compare.
        [[row, *map(_interval, intervals)] for row, intervals in cells.items()]
        if any(value is not None for row in values for value in row)
        else [],
        _winners(values, lambda column: min) if values else frozenset(),
    )


def level_table(summary: Summary) -> Table:
    """What was measured, level by level: means over the pictures."""
    order = reading_order(summary.metrics)

    def cells(row: str, place: int) -> list[str]:
        curve = summary.curves[row]
        values = ((name, curve.metrics[name][place]) for name in order)
        level, bpp = f"{curve.levels[place]:g}", f"{curve.bpp[place]:.4f}"
        return [row, level, bpp, *(_shown(name, value) for name, value in values)]

    return Table(
        "Measured points",
        "Means over the pictures at each level.",
        ["codec", "level", "bpp", *(METRICS[name].title for name in order)],
        [cells(row, n) for row, curve in summary.curves.items() for n in range(len(curve.levels))],
    )


def rate_table(summary: Summary, rate: str) -> Table:
    """Every metric at one rate, interpolated."""
    return _quality(
        summary,
        f"Quality at {rate} bpp",
        "Interpolated on the mean curves, linear in the logarithm of the rate.",
        {row: [row] for row in summary.at_bpp[rate]},
        ["codec"],
        summary.at_bpp[rate],
    )


def equal_table(summary: Summary, rate: str) -> Table:
    """Every metric of files that were made for one rate."""
    entries = summary.equal[rate]
    return _quality(
        summary,
        f"Files of equal size: {rate} bpp",
        "Measured: each picture at the level whose file is nearest to the rate. Whole levels leave "
        "gaps: the third column counts the files within 1 % of it.",
        {row: [row, f"{e.bpp:.4f}", f"{e.close} of {e.images}"] for row, e in entries.items()},
        ["codec", "bpp", "within 1 %"],
        {row: equal.metrics for row, equal in entries.items()},
    )


def _quality(
    summary: Summary,
    title: str,
    note: str,
    names: Mapping[str, list[str]],
    heading: list[str],
    metrics: Mapping[str, Mapping[str, float | None]],
) -> Table:
    """Rows that have a value of any metric, after columns that name them."""
    order = reading_order(summary.metrics)
    kept = {row: m for row, m in metrics.items() if any(v is not None for v in m.values())}
    values = [[entries[name] for name in order] for entries in kept.values()]

    def better(column: int) -> Callable[[list[float]], float]:
        return max if METRICS[order[column]].higher_is_better else min

    winners = _winners(values, better) if values else frozenset()
    return Table(
        title,
        note,
        [*heading, *(METRICS[name].title for name in order)],
        [
            [*names[row], *(_shown(name, entries[name]) for name in order)]
            for row, entries in kept.items()
        ],
        frozenset((row, column + len(heading) - 1) for row, column in winners),
    )


def _shown(name: str, value: float | None) -> str:
    return NONE if value is None else f"{value:.{METRICS[name].digits}f}"


def _seconds(value: float | None) -> str:
    return NONE if value is None else f"{value * 1000:,.1f} ms" if value < 1 else f"{value:.2f} s"


def _memory(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f} MiB"


def speed_table(summary: Summary) -> Table:
    """Times and memory of every codec."""
    size = summary.megapixels / max(1, summary.images)
    return Table(
        "Speed and memory",
        f"Time per picture ({size:.2f} megapixels on average): medians over pictures and levels "
        "with one thread, over pictures at the middle level with all threads. Peak memory of a "
        "fresh Python process with the largest picture, interpreter and libraries included.",
        [
            "codec",
            "encode, 1 thread",
            "all threads",
            "decode, 1 thread",
            "all threads",
            "encode memory",
            "decode memory",
        ],
        [
            [
                row,
                _seconds(speed.encode),
                _seconds(speed.encode_all),
                _seconds(speed.decode),
                _seconds(speed.decode_all),
                _memory(speed.encode_memory),
                _memory(speed.decode_memory),
            ]
            for row, speed in summary.speed.items()
        ],
    )


def lossless_table(summary: Summary) -> Table:
    """Rates of the codecs that gave every picture back exactly."""
    curves = [curve for curve in summary.curves.values() if curve.lossless]
    values: list[list[float | None]] = [[min(curve.bpp)] for curve in curves]
    return Table(
        "Lossless",
        "Every picture came back exactly.",
        ["codec", "bits per pixel"],
        [[curve.codec, f"{min(curve.bpp):.3f}"] for curve in curves],
        _winners(values, lambda column: min) if values else frozenset(),
    )


def as_markdown(table: Table) -> str:
    """The table in Markdown, winners in bold."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    rows = [
        [f"**{c}**" if (i, j) in table.best else c for j, c in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]
    rule = line(["---", *["---:"] * (len(table.header) - 1)])
    lines = [f"## {table.title}", "", line(table.header), rule, *map(line, rows), "", table.note]
    return "\n".join(lines) + "\n"
