"""Rate-distortion curves as SVG, inside a page or as a file: no script, font or library needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .curves import Curve

WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 42
_LABEL = (84, 11)  # room for a reference's name
_COLUMNS, _LINE = 4, 18  # of the legend of a file
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#555}.grid{stroke:#ddd}"
    ".curve polyline{fill:none;stroke:currentColor;stroke-width:2}.curve circle{fill:currentColor}"
    ".reference polyline{fill:none;stroke:#999}.reference circle{fill:#999}"
    ".reference text{font-size:10px}"
)

# Colour-blind safe (Okabe and Ito); the usual codecs have the same colour in every report.
_USUAL = {
    "vlaec": "#d55e00",
    "jpeg": "#0072b2",
    "webp": "#009e73",
    "avif": "#cc79a7",
    "jxl": "#b58900",
    "avif:best": "#b03a7e",
    "vvc": "#56b4e9",
    "hevc": "#7a5195",
    "jpegli": "#4f8fd0",
}
_OTHERS = ("#8c564b", "#6b8e23", "#808080")


def colours(rows: Sequence[str]) -> dict[str, str]:
    """A colour per codec; rows of one codec ("vlaec", "vlaec texture=0") share it."""
    codecs = list(dict.fromkeys(row.split(" ")[0] for row in rows))
    others = [codec for codec in codecs if codec not in _USUAL]
    named = _USUAL | {c: _OTHERS[i % len(_OTHERS)] for i, c in enumerate(others)}
    return {row: named[row.split(" ")[0]] for row in rows}


def dashes(row: str) -> str:
    """Rows other than a codec's usual one are dashed."""
    return "5 4" if " " in row else ""


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float  # in pixels
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / ((high - low) or 1) * (self.end - self.start)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            steps = [m * 10.0**e for e in range(-4, 3) for m in (1, 1.5, 2, 3, 5, 7)]
            return [step for step in steps if self.low <= step <= self.high]
        raw = ((self.high - self.low) or 1) / 6
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, math.floor(self.high / step) + 1)]


def better(higher: bool) -> str:
    """Which way is up."""
    return "higher is better" if higher else "lower is better"


Point = tuple[float, float, float | None]  # bpp, value, level


def points(curve: Curve, metric: str) -> list[Point]:
    """The points of a curve that have a value, by rate."""
    values = curve.metrics.get(metric, [])
    levels: Sequence[float | None] = curve.levels or [None] * len(values)
    triples = zip(curve.bpp, values, levels, strict=False)
    return sorted(((b, v, level) for b, v, level in triples if v is not None), key=lambda p: p[:2])


def chart(
    metric: str,
    title: str,
    curves: Sequence[Curve],
    references: Sequence[Curve],
    higher_is_better: bool,
    standalone: bool = False,
) -> str:
    """An `<svg>` of one metric against the rate, with a tooltip at every point.

    References are thin and grey with their name next to them, and do not widen the axes. An empty
    string if no curve has a value. `standalone` adds what a file needs: style, ground and legend.
    """
    drawn = {curve.codec: points(curve, metric) for curve in curves if not curve.lossless}
    drawn = {row: line for row, line in drawn.items() if line}
    if not drawn:
        return ""
    everything = [point for line in drawn.values() for point in line]
    rates, values = [p[0] for p in everything], [p[1] for p in everything]
    margin = 0.05 * ((max(values) - min(values)) or 1)
    x = _Axis(min(rates) / 1.06, max(rates) * 1.06, _LEFT, WIDTH - _RIGHT, logarithmic=True)
    y = _Axis(min(values) - margin, max(values) + margin, HEIGHT - _BOTTOM, _TOP)
    height = HEIGHT + (_LINE * -(-len(drawn) // _COLUMNS) + 6 if standalone else 0)
    space = ' xmlns="http://www.w3.org/2000/svg"' if standalone else ""
    parts = [
        f'<svg{space} viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)} over rate">'
    ]
    if standalone:
        parts.append(f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>')
    for tick in x.ticks():
        parts.append(
            f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" '
            f'y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
            f'<text x="{x(tick):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">'
            f"{tick:g}</text>"
        )
    for tick in y.ticks():
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" '
            f'y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.6g}</text>'
        )
    parts.append(
        f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        "bits per pixel (logarithmic)</text>"
    )
    if standalone:  # a page has a caption in its place
        parts.append(
            f'<text transform="translate(13 {(HEIGHT - _BOTTOM + _TOP) / 2}) rotate(-90)" '
            f'text-anchor="middle">{escape(title)} &#183; {better(higher_is_better)}</text>'
        )
    labels: list[tuple[float, float]] = []
    parts += [_reference(curve, metric, x, y, labels) for curve in references]
    colour = colours([curve.codec for curve in curves])
    parts += [_line(row, line, colour[row], x, y, title) for row, line in drawn.items()]
    if standalone:
        parts += [_entry(i, row, colour[row]) for i, row in enumerate(drawn)]
    return "".join(parts) + "</svg>"


def _entry(index: int, row: str, colour: str) -> str:
    """A line of the legend below a chart."""
    left = 16 + index % _COLUMNS * (WIDTH - 16) // _COLUMNS
    top = HEIGHT + 8 + index // _COLUMNS * _LINE
    return (
        f'<g class="curve" style="color:{colour}"><polyline '
        f'points="{left},{top} {left + 24},{top}" stroke-dasharray="{dashes(row)}"/></g>'
        f'<text x="{left + 30}" y="{top + 4}">{escape(row)}</text>'
    )


def _line(row: str, line: list[Point], colour: str, x: _Axis, y: _Axis, title: str) -> str:
    path = " ".join(f"{x(p[0]):.1f},{y(p[1]):.1f}" for p in line)
    dots = "".join(
        f'<circle cx="{x(b):.1f}" cy="{y(v):.1f}" r="4"><title>{escape(row)}, level {level:g}\n'
        f"{b:.4f} bpp\n{escape(title)} {v:.4f}</title></circle>"
        for b, v, level in line
    )
    return (
        f'<g class="curve" data-row="{escape(row)}" style="color:{colour}">'
        f'<polyline points="{path}" stroke-dasharray="{dashes(row)}"/>{dots}</g>'
    )


def _reference(
    curve: Curve, metric: str, x: _Axis, y: _Axis, labels: list[tuple[float, float]]
) -> str:
    """A grey line; its name goes where no other of `labels` stands, which it joins."""
    line = [p for p in points(curve, metric) if x.low <= p[0] <= x.high and y.low <= p[1] <= y.high]
    if not line:
        return ""
    path = " ".join(f"{x(p[0]):.1f},{y(p[1]):.1f}" for p in line)
    name = escape(curve.codec)
    dots = "".join(
        f'<circle cx="{x(b):.1f}" cy="{y(v):.1f}" r="2.5"><title>{name}\n{b:.4f} bpp\n{v:.4f}'
        "</title></circle>"
        for b, v, _ in line
    )
    spots = [(x(p[0]), y(p[1]) - 6) for p in reversed(line)]
    spots += [(left, top + 16) for left, top in spots]  # below the points
    inside = [(min(max(u, _LEFT + 40), WIDTH - 50), max(v, _TOP + 10)) for u, v in spots]
    free = [
        spot
        for spot in inside
        if all(abs(spot[0] - u) > _LABEL[0] or abs(spot[1] - v) > _LABEL[1] for u, v in labels)
    ]
    left, top = (free or inside)[0]
    labels.append((left, top))
    return (
        f'<g class="reference"><polyline points="{path}"/>{dots}'
        f'<text x="{left:.1f}" y="{top:.1f}" text-anchor="middle">{name}</text></g>'
    )
