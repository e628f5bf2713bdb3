"""A run's log as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import log

PANELS = {
    "loss": "loss",
    "bpp": "rate, bits per pixel",
    "psnr": "PSNR of the mean, dB",
    "nll": "NLL, bits per subpixel",
    "lpips": "LPIPS of the sample",
}
SMOOTHING = 9  # rows of the log


def plot(run: Path) -> Path:
    """Draw `run`/log.jsonl as `run`/log.png and return its path.

    Raises:
        FileNotFoundError: there is no log.
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = log.read(run / "log.jsonl")
    minutes = np.array([row["minutes"] for row in rows])
    figure, axes = pyplot.subplots(len(PANELS), 1, figsize=(7, 11), sharex=True)
    for axis, (name, label) in zip(axes, PANELS.items(), strict=True):
        values = np.array([row[name] for row in rows])
        shown = np.where(values > 0, values, np.nan)  # stage A has no texture terms
        axis.plot(minutes, shown, color="0.8", linewidth=0.8)
        if len(rows) >= SMOOTHING:
            window = np.ones(SMOOTHING) / SMOOTHING
            middle = minutes[SMOOTHING // 2 : len(rows) - SMOOTHING // 2]
            axis.plot(middle, np.convolve(shown, window, "valid"), color="C0")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    path = run / "log.png"
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    return path
