"""A run's log as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import log
from .photo.terms import TERMS

# What a panel shows, if the log has it: these, then every other loss by its name. Set models log
# the last four alone.
PANELS = {
    "loss": "loss",
    "bpp": "rate, bits per pixel",
    "psnr": "PSNR of the mean, dB",
    "nll": "NLL, bits per subpixel",
    "lpips": "LPIPS of the sample",
    "elbo": "ELBO, nats per image",
    "validation_elbo": "validation ELBO, nats",
    "kl": "KL, nats per image",
    "kl_weight": "weight of the KL",
}
SIGNED = ("elbo", "validation_elbo")  # elsewhere 0 says that there was no such term (stage A)
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
    every = PANELS | {name: name for name in TERMS if name not in PANELS}
    panels = [(name, label) for name, label in every.items() if any(name in row for row in rows)]
    figure, axes = pyplot.subplots(len(panels), 1, figsize=(7, 2.2 * len(panels)), sharex=True)
    for axis, (name, label) in zip(axes, panels, strict=True):
        # Not every row has a validation.
        minutes, values = np.array([(r["minutes"], r[name]) for r in rows if name in r]).T
        shown = values if name in SIGNED else np.where(values > 0, values, np.nan)
        smooth = len(shown) >= 4 * SMOOTHING  # few values, as of validations, speak for themselves
        axis.plot(minutes, shown, **({"color": "0.8", "linewidth": 0.8} if smooth else {}))
        if smooth:
            window = np.ones(SMOOTHING) / SMOOTHING
            middle = minutes[SMOOTHING // 2 : len(shown) - SMOOTHING // 2]
            axis.plot(middle, np.convolve(shown, window, "valid"), color="C0")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        if name == "loss":
            axis.set_yscale("log")
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    path = run / "log.png"
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    return path
