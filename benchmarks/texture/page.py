"""The results as a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from . import octaves
from .measure import AVIF, CENTRE, DEFAULT, JACOBI_STEPS, MEAN, ROWS
from .residuals import BLOCK, CALM

_METRICS = {
    "psnr": 2,
    "lpips": 3,
    "dists": 3,
    "wd": 3,
    "fd": 2,
    "spectrum": 2,
    "lattice": 1,
}  # digits


def write_page(results: dict[str, Any], command: str) -> str:
    """The page; it shows `sheet-*.png` and the figures that lie beside it."""
    models = ", ".join(
        f"`{model['name']}` ({model['id']}; sampling temperature {model['temperature']:g}, default "
        f"strength {model['texture']:g})"
        for model in results["models"]
    )
    count = len(results["photos"])
    whole = "whole pictures" if results["whole"] else f"the middle {CENTRE[1]}x{CENTRE[0]}"
    return (
        "\n\n".join(
            [
                "# What resampled texture is worth",
                f"Models by quality: {models}; {count} photographs ({results['set']}). Made by",
                f"```\n{command}\n```",
                "All metrics are of 8-bit pictures. AVIF's quality (libavif, speed 6, 4:4:4; whole "
                "numbers) was searched for the rate, that of every file for the size of AVIF's. "
                "DISTS, WD (Wasserstein distortion, sigma 8) and the Frechet distance (VGG16 "
                f"relu3_3 over 64x64 patches) are of {whole}. "
                "*Spectrum*: mean distance of the radially averaged log power spectrum from the "
                "original's, in dB. *Lattice*: how much more the luma repeats every 2, 4 and 8 "
                "pixels than the original's (variance, over the positions within a period, of "
                "means in neighbourhoods of 32x32, for 8 of 64x64), in dB; 0 is best. Of the "
                "others lower is better, but for PSNR.",
                "## Rates",
                *[_rate(rate, values) for rate, values in results["rates"].items()],
                "![Metrics over strength](strengths.png)",
                "## Default against no texture, and against AVIF",
                "Change of each metric (PSNR: dB). A minus is better but for PSNR.",
                _changes(results),
                "## Strength per file",
                "Mean over files with the strength that each file names, with the best single "
                "strength of those measured, and with each file's own best: more than the last "
                "cannot be gained by choosing. *Worse*: files whose default is worse than "
                "texture 0.",
                _choices(results),
                "## Residuals",
                *_residuals(results),
                "![Histograms](residuals.png)",
                "![Spectra](spectra.png)",
                *_sheets(results),
            ]
        )
        + "\n"
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rate(rate: str, values: dict[str, Any]) -> str:
    missed = f" {values['missed']} photographs miss the rate by over 5 %." * bool(values["missed"])
    title = (
        f"### {rate} bpp\n\nFiles: {values['bpp']:.3f} bpp, AVIF {values['avif_bpp']:.3f}.{missed} "
        f"Mean default strength {values['strength']:.2f}. The sampler would code the rest of the "
        f"picture (given z and its true neighbours) in {values['sampler_bpp']:.2f} bpp.\n\n"
    )
    rows = [
        [row, *(f"{values['rows'][row][metric]:.{digits}f}" for metric, digits in _METRICS.items())]
        for row in ROWS
    ]
    return title + _table(
        ["", "PSNR", "LPIPS", "DISTS", "WD", "Frechet", "Spectrum", "Lattice"],
        rows,
    )


def _changes(results: dict[str, Any]) -> str:
    rows = []
    for rate, values in results["rates"].items():
        default = values["rows"][DEFAULT]
        for against in (MEAN, AVIF):
            other = values["rows"][against]
            rows.append(
                [
                    f"{rate} bpp, against {against}",
                    f"{default['psnr'] - other['psnr']:+.2f}",
                    *(
                        f"{100 * (default[metric] / other[metric] - 1):+.0f} %"
                        for metric in ("lpips", "dists", "wd", "fd", "spectrum")
                    ),
                ]
            )
    return _table(["", "PSNR", "LPIPS", "DISTS", "WD", "Frechet", "Spectrum"], rows)


def _choices(results: dict[str, Any]) -> str:
    rows = []
    for rate, values in results["rates"].items():
        for metric, choice in values["choice"].items():
            rows.append(
                [
                    f"{rate} bpp, {metric.upper()}",
                    f"{choice['default']:.4f}",
                    f"{choice['best_fixed']:.4f} ({choice['best_strength']:g})",
                    f"{choice['oracle']:.4f}",
                    ", ".join(f"{k} {v:+.1%}" for k, v in choice["worse"].items()) or "none",
                ]
            )
    return _table(["", "default", "best single", "best per file", "worse"], rows)


def _residuals(results: dict[str, Any]) -> list[str]:
    rate = results["sampling_rate"]
    gap = 100 * (results["free_lpips"] / results["parallel_lpips"] - 1)
    temperatures = results["residuals"]["temperatures"]
    first = next(iter(temperatures.values()))

    def numbers(values: Sequence[float], digits: int) -> str:
        return " / ".join(f"{value:.{digits}f}" for value in values)

    rows = [["true", numbers(first["true_deviation"], 2), "", ""]]
    drifts = [["true", numbers(first["true_drift"], 2), f"{100 * (1 - CALM):.2g} %"]]
    for temperature, values in temperatures.items():
        name = f"temperature {temperature}"
        distances = (values["total_variation"], values["wasserstein"])
        deviation = numbers(values["deviation"], 2)
        rows.append([name, deviation, numbers(distances[0], 3), numbers(distances[1], 2)])
        drifts.append([name, numbers(values["drift"], 2), f"{100 * values['outbreaks']:.2f} %"])
    return [
        f"At {rate} bpp, in grey levels, for red / green / blue: root mean square of the residual, "
        "and the distance of the sampled residuals' histogram from the true one's.",
        _table(["", "RMS", "total variation", "Wasserstein-1"], rows),
        f"Drift: absolute means of {BLOCK}x{BLOCK} blocks of the residual. An outbreak is a block "
        f"beyond {100 * CALM:g} % of the true residual's.",
        _table(["", f"50 / 99 / {100 * CALM:g} / 100 % quantile", "outbreaks"], drifts),
        "What another seed draws differently, by octave of luma, in cycles per pixel: root mean "
        "squares in grey levels, and chance's share of the texture.",
        chance_table(results["chance"]),
        f"LPIPS of full texture sampled pixel after pixel: {results['free_lpips']:.4f}; after "
        f"{JACOBI_STEPS} parallel steps with the same noise, a cheaper stand-in for training: "
        f"{results['parallel_lpips']:.4f}. Gap {gap:+.1f} %.",
    ]


def chance_table(chance: dict[str, Any], prefix: str = "") -> str:
    """What `octaves.shares` found, as rows."""
    rows = [
        [f"{prefix}{key}", *(f"{value:.2f}" for value in values)]
        for key, values in chance["rms"].items()
    ]
    shares = [f"{value:.0%}" for value in (*chance["share_by_octave"], chance["share"])]
    rows.append([f"{prefix}share", *shares])
    return _table(["", *octaves.NAMES, "all"], rows)


def _sheets(results: dict[str, Any]) -> list[str]:
    parts = []
    for name, captions in results["sheets"].items():
        parts += [f"## {name.capitalize()}, {results['sheet_rate']} bpp"]
        if name == "worst":
            parts += [
                "The photographs that default texture serves worst (LPIPS against texture 0), "
                "each where full texture adds most squared error."
            ]
        parts += [f"![{', '.join(captions)}](sheet-{name}.png)"]
    if results["places"]:
        parts += ["## The crops alone", "AVIF / texture 0 / default."]
        for metric, digits in _CROP_METRICS.items():
            rows = [
                [place, *(_triple(scores, metric, digits) for scores in by_rate.values())]
                for place, by_rate in results["places"].items()
            ]
            rates = [f"{rate} bpp" for rate in results["rates"]]
            parts += [_table([metric.upper(), *rates], rows)]
    return parts


_CROP_METRICS = {"psnr": 1, "lpips": 3, "dists": 3}


def _triple(scores: dict[str, dict[str, float]], metric: str, digits: int) -> str:
    return " / ".join(f"{scores[row][metric]:.{digits}f}" for row in (AVIF, MEAN, DEFAULT))
