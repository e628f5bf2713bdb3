"""All measurements as JSON values: means over photographs, and what the page and figures show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vlaec.metrics.perceptual import frechet_distance

from . import octaves
from .measure import DEFAULT, MEAN, ROWS, STRENGTHS, Original, Sampling, Shot
from .residuals import compare

Shots = Mapping[str, Mapping[float, Shot]]  # by photograph and rate


def summarise(originals: Sequence[Original], shots: Shots, sampling: Sampling) -> dict[str, Any]:
    """What the results' file holds; rates are keys such as "0.2"."""
    rates = list(next(iter(shots.values())))
    return {
        "rates": {f"{rate:g}": _rate(originals, shots, rate) for rate in rates},
        "residuals": {
            "true": sampling.true.counts.tolist(),
            "temperatures": {
                f"{temperature:g}": {
                    **compare(sampling.true, tally),
                    "counts": tally.counts.tolist(),
                }
                for temperature, tally in sampling.sampled.items()
            },
        },
        "chance": octaves.shares(sampling.chance),
        "free_lpips": float(np.mean(sampling.free)),
        "parallel_lpips": float(np.mean(sampling.parallel)),
        "photos": {name: _photo(by_rate) for name, by_rate in shots.items()},
    }


def _rate(originals: Sequence[Original], shots: Shots, rate: float) -> dict[str, Any]:
    """Means over photographs at one rate."""
    by_photo = {name: by_rate[rate] for name, by_rate in shots.items()}
    here = list(by_photo.values())
    rows = {row: _row(originals, [shot.scores[row] for shot in here]) for row in ROWS}
    original = np.mean([original.spectrum for original in originals], 0)
    return {
        "bpp": _mean([shot.bpp for shot in here]),
        "avif_bpp": _mean([shot.avif_bpp for shot in here]),
        "missed": sum(abs(shot.bpp / rate - 1) > 0.05 for shot in here),
        "strength": _mean([shot.strength for shot in here]),
        "sampler_bpp": _mean([shot.sampler_bpp for shot in here]),
        "rows": rows,
        "choice": {metric: _choice(by_photo, metric) for metric in ("lpips", "dists")},
        "spectra": {"original": original.round(2).tolist()}
        | {
            row: np.mean([shot.scores[row].spectrum for shot in here], 0).round(2).tolist()
            for row in ROWS
        },
    }


def _row(originals: Sequence[Original], scores: Sequence[Any]) -> dict[str, float]:
    means = {name: _mean([score.values[name] for score in scores]) for name in scores[0].values}
    patches = np.concatenate([original.patches for original in originals])
    return means | {
        "fd": frechet_distance(patches, np.concatenate([score.patches for score in scores]))
    }


def _choice(by_photo: Mapping[str, Shot], metric: str) -> dict[str, Any]:
    """What choosing the strength per file could gain: means of the metric for the strength the
    files name, for the best single strength, and for each file's own best. And by how much each of
    the files is worse with the strength it names than without texture, where it is."""
    grid = np.array(
        [
            [shot.scores[f"texture {t:g}"].values[metric] for t in STRENGTHS]
            for shot in by_photo.values()
        ]
    )
    best = int(grid.mean(0).argmin())
    default, mean = (
        {name: shot.scores[row].values[metric] for name, shot in by_photo.items()}
        for row in (DEFAULT, MEAN)
    )
    return {
        "default": _mean(list(default.values())),
        "best_fixed": float(grid.mean(0)[best]),
        "best_strength": STRENGTHS[best],
        "oracle": float(grid.min(1).mean()),
        "worse": {
            name: round(value / mean[name] - 1, 4)
            for name, value in default.items()
            if value > mean[name]
        },
    }


def _photo(by_rate: Mapping[float, Shot]) -> dict[str, Any]:
    return {
        f"{rate:g}": {
            "quality": shot.quality,
            "bpp": shot.bpp,
            "avif_bpp": shot.avif_bpp,
            "strength": round(shot.strength, 3),
            "sampler_bpp": shot.sampler_bpp,
            "rows": {row: score.values for row, score in shot.scores.items()},
        }
        for rate, shot in by_rate.items()
    }


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 5)
