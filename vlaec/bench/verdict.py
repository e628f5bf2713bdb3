"""The result in sentences, and what is missing from it."""

from __future__ import annotations

from .curves import Interval
from .metrics import METRICS
from .summary import Summary

FIRST = ("lpips", "wd")  # what agrees best with the eye comes first in a report


def reading_order(metrics: tuple[str, ...]) -> list[str]:
    """The metrics as a report shows them."""
    return [*(name for name in FIRST if name in metrics), *(n for n in metrics if n not in FIRST)]


def subject(summary: Summary) -> str | None:
    """The row that the sentences are about: vlaec's if it was measured, else the first other."""
    rows = [row for row, curve in summary.curves.items() if not curve.lossless]
    others = [row for row in rows if row != summary.anchor]
    return next((row for row in others if row.split(":")[0] == "vlaec"), next(iter(others), None))


def verdict(summary: Summary) -> list[str]:
    """One sentence for each anchor: how much smaller or larger files of equal quality are."""
    row = subject(summary)
    if row is None:
        return []
    sentences = []
    for anchor, rates in summary.bd_rates.items():
        parts = [
            f"{_difference(found)} at equal {METRICS[name].title}"
            for name in reading_order(summary.metrics)
            if (found := rates.get(name, {}).get(row)) is not None
        ]
        if parts and anchor != row:
            sentences.append(f"Against {anchor}, files of {row} are {_listed(parts)}.")
    return sentences


def _difference(found: Interval) -> str:
    size = f"{abs(found.value):.0f} % {'smaller' if found.value < 0 else 'larger'}"
    if found.low is None or found.high is None:
        return size
    return f"{size} ({found.low:+.0f} to {found.high:+.0f})"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def problems(summary: Summary) -> list[str]:
    """What is missing from the report, and why, as sentences."""
    missing = [f"{name} was not measured: {why}" for name, why in summary.unavailable.items()]
    failed = [
        f"{f.image}{f' ({f.codec}, level {f.level:g})' if f.codec and f.level is not None else ''}:"
        f" {f.reason}"
        for f in summary.failures
    ]
    short = [
        f"{row} has {curve.images} of {summary.images} pictures"
        for row, curve in summary.curves.items()
        if curve.images < summary.images
    ]
    return [*missing, *failed, *short]


def limits(summary: Summary) -> list[str]:
    """Where codecs cannot be compared, or only nearly."""
    apart = [
        f"{row} has no curve that overlaps {anchor}'s in {METRICS[name].title}"
        for anchor, rates in summary.bd_rates.items()
        for name, found in rates.items()
        for row, interval in found.items()
        if interval is None and any(v is not None for v in summary.curves[row].metrics[name])
    ]
    coarse = [
        f"{row} reaches {rate} bpp within 1 % on {equal.close} of {equal.images} pictures "
        f"(mean {equal.bpp:.3f})"
        for rate, rows in summary.equal.items()
        for row, equal in rows.items()
        if equal.close < equal.images
    ]
    return [*apart, *coarse]
