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
    """One sentence for each anchor: by which metrics files of equal quality are smaller or larger,
    and by which that is not clear, since the interval has zero in it."""
    row = subject(summary)
    sentences = []
    for anchor, rates in summary.bd_rates.items() if row else ():
        groups: dict[str, list[str]] = {"smaller": [], "larger": [], "unclear": []}
        for name in reading_order(summary.metrics):
            difference = rates.get(name, {}).get(row or "")
            if difference is not None:
                groups[_side(difference)].append(_difference(difference, METRICS[name].title))
        parts = [_listed(groups[side]) for side in ("smaller", "larger") if groups[side]]
        if groups["unclear"]:
            parts.append(f"not clearly different at equal {_listed(groups['unclear'])}")
        if parts and anchor != row:
            sentences.append(f"Against {anchor}, files of {row} are {'; '.join(parts)}.")
    return sentences


def _side(difference: Interval) -> str:
    """Whether files are surely smaller or larger; without an interval a value that is not shown as
    zero has to do."""
    if difference.low is None and not round(difference.value):
        return "unclear"
    ends = [end for end in (difference.low, difference.high) if end is not None] or [
        difference.value
    ]
    if max(ends) < 0:
        return "smaller"
    return "larger" if min(ends) > 0 else "unclear"


def _difference(difference: Interval, title: str) -> str:
    """How much smaller or larger, or, where that is not clear, the title alone."""
    side = _side(difference)
    if side == "unclear":
        return title
    sure = "" if difference.low is None else f" ({difference.low:+.0f} to {difference.high:+.0f})"
    return f"{abs(difference.value):.0f} % {side}{sure} at equal {title}"


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
        for name, difference in rates.items()
        for row, interval in difference.items()
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
