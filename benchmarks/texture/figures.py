"""The figures of the page, drawn from the results' file by matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .measure import AVIF, DEFAULT, FULL, MEAN, STRENGTHS
from .residuals import GREY_LEVELS
from .spectrum import frequencies

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.3,
}
_COLOURS = {
    "original": "#000000",
    MEAN: "#0072b2",
    FULL: "#e8a87c",
    DEFAULT: "#d55e00",
    AVIF: "#009e73",
}


def write_figures(results: dict[str, Any], folder: Path) -> None:
    """`residuals.png`, `spectra.png` and `strengths.png` in `folder`."""
    with matplotlib.rc_context(_STYLE):
        for name, draw in (
            ("residuals", _residuals),
            ("spectra", _spectra),
            ("strengths", _strengths),
        ):
            figure = draw(results)
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=110, metadata={"Software": None}, bbox_inches="tight")


def _residuals(results: dict[str, Any]) -> Figure:
    """Histograms of true and sampled residuals by channel, on a logarithmic scale."""
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    tallies = {"true": np.array(results["residuals"]["true"])} | {
        f"sampled, temperature {t}": np.array(values["counts"])
        for t, values in results["residuals"]["temperatures"].items()
    }
    for channel, (name, axis) in enumerate(
        zip(("red", "green", "blue"), figure.subplots(1, 3, sharey=True), strict=True)
    ):
        for (label, counts), colour in zip(
            tallies.items(), ("#000000", "#d55e00", "#0072b2"), strict=False
        ):
            shares = counts[channel] / counts[channel].sum()
            axis.semilogy(GREY_LEVELS, np.where(shares > 0, shares, np.nan), colour, label=label)
        axis.set(title=name, xlabel="residual (grey levels)", xlim=(-110, 110), ylim=(1e-7, 0.5))
    figure.axes[0].set_ylabel("share of pixels")
    _legend(figure)
    return figure


def _spectra(results: dict[str, Any]) -> Figure:
    """Radially averaged log power at every rate."""
    rates = results["rates"]
    figure = Figure(figsize=(2.7 * len(rates), 3.1), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(rates), sharey=True))
    for axis, (rate, values) in zip(axes, rates.items(), strict=True):
        for row, colour in _COLOURS.items():
            axis.plot(frequencies(), values["spectra"][row], colour, label=row)
        axis.set(title=f"{rate} bpp", xlabel="cycles per pixel")
    axes[0].set_ylabel("power (dB, grey levels²)")
    _legend(figure)
    return figure


def _strengths(results: dict[str, Any]) -> Figure:
    """Every metric against the strength of texture; AVIF at equal size dotted."""
    metrics = {
        "lpips": "LPIPS",
        "dists": "DISTS",
        "fd": "patch Frechet distance",
        "psnr": "PSNR (dB)",
    }
    figure = Figure(figsize=(11, 2.9), layout="constrained")
    axes = figure.subplots(1, len(metrics))
    for axis, (metric, title) in zip(axes, metrics.items(), strict=True):
        for i, (rate, values) in enumerate(results["rates"].items()):
            line = [values["rows"][f"texture {t:g}"][metric] for t in STRENGTHS]
            axis.plot(STRENGTHS, line, f"C{i}o-", markersize=3, label=f"{rate} bpp")
            axis.axhline(values["rows"][AVIF][metric], color=f"C{i}", linestyle=":", linewidth=1)
        axis.set(title=title, xlabel="strength of texture")
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """One legend for all axes, below them."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
