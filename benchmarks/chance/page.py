"""The results as a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.common import Result
from benchmarks.texture.page import chance_table

DIGITS = {"psnr": 2, "lpips": 3, "dists": 3, "wd": 3, "fd": 1}


def page(result: Result) -> str:
    """Tables by rate: metrics of all rows, then texture and chance by octave."""
    pictures = result["pictures"]
    parts = [
        "# What chance decides in the texture",
        f"Over {len(pictures)} pictures: {', '.join(pictures)}. Made by the commands in "
        "`benchmarks/chance/__main__.py`. All files of a rate are of equal size, as far as whole "
        "levels allow. Lower is better but for PSNR. FD is the Frechet distance of 64x64 patches; "
        "it is larger for fewer pictures and compares within a table only.",
    ]
    for rate, rows in result["rates"].items():
        parts += [f"## {rate} bpp", _metrics(rows), *_octaves(rows)]
    return "\n\n".join(parts) + "\n"


def _metrics(rows: Result) -> str:
    header = ["", "bpp", *(name.upper() for name in DIGITS), "chance", "fine chroma"]
    lines = []
    for row, values in rows.items():
        cells = [f"{values[name]:.{digits}f}" for name, digits in DIGITS.items()]
        share = f"{values['chance']['share']:.0%}" if "chance" in values else ""
        chroma = f"{values['fine_chroma_put_back']:.0%}" if share else ""
        lines.append([row, f"{values['bpp']:.3f}", *cells, share, chroma])
    note = (
        "Chance: root mean square of what another seed draws differently, over that of the "
        "texture. Fine chroma: of the texture, over what texture 0 lacks, above 1/4 cycle per "
        "pixel."
    )
    return _table(header, lines) + "\n\n" + note


def _octaves(rows: Result) -> list[str]:
    return [
        f"{row}, luma by cycles per pixel: root mean squares in grey levels of what texture 0 "
        "lacks, of what texture adds, and of what of it chance decides.\n\n"
        + chance_table(values["chance"])
        for row, values in rows.items()
        if "chance" in values
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
