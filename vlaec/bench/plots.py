"""The curves as figures for a paper: SVG and PNG by matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from .charts import colours, points
from .metrics import METRICS
from .summary import Summary

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "vlaec",  # the same file for the same numbers
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def write_plots(summary: Summary, folder: Path) -> list[Path]:
    """One figure per metric as `<metric>.svg` and `<metric>.png`; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(_STYLE):
        for metric in summary.metrics:
            figure = _figure(summary, metric)
            if figure is None:
                continue
            for suffix, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
                path = folder / f"{metric}.{suffix}"
                figure.savefig(path, dpi=160, metadata=metadata, bbox_inches="tight")
                written.append(path)
    return written


def _figure(summary: Summary, metric: str) -> Figure | None:
    lines = {row: points(curve, metric) for row, curve in summary.curves.items()}
    lines = {row: p for row, p in lines.items() if p and not summary.curves[row].lossless}
    if not lines:
        return None
    figure = Figure(figsize=(5.2, 3.6))
    axes = figure.add_subplot()
    colour = colours(list(summary.curves))
    for row, line in lines.items():
        axes.plot(
            *([p[0] for p in line], [p[1] for p in line]),
            label=row,
            color=colour[row],
            linestyle="--" if " " in row else "-",
            marker="o",
            markersize=3,
            linewidth=2 if row.startswith("vlaec") else 1.3,
        )
    axes.set_xscale("log")
    limits = axes.get_xlim(), axes.get_ylim()
    for reference in summary.references:
        if line := points(reference, metric):
            xs, ys = [p[0] for p in line], [p[1] for p in line]
            axes.plot(xs, ys, color="0.6", linewidth=0.8, marker=".", markersize=3)
            inside = [
                p for p in line if p[0] <= limits[0][1] and limits[1][0] <= p[1] <= limits[1][1]
            ]
            if inside:
                axes.annotate(reference.codec, inside[-1][:2], fontsize=6, color="0.4")
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    ticks = [t for t in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5) if limits[0][0] <= t <= limits[0][1]]
    axes.set_xticks(ticks)
    axes.set_xlabel("bits per pixel")
    arrow = "higher" if METRICS[metric].higher_is_better else "lower"
    axes.set_ylabel(f"{METRICS[metric].title}, {arrow} is better")
    axes.set_title(f"{summary.dataset}, {summary.images} pictures", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    return figure
