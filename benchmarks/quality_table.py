"""The README's table: vlaec at each quality, and the other codecs at the same size.

    python -m benchmarks.quality_table benchmarks/results/kodak/summary.json

Reads what `vlaec bench` wrote. The others' values are interpolated between their own levels, linear
in the logarithm of the rate; a dash stands where a codec does not reach the rate.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

OTHERS = {"jpeg:baseline": "JPEG", "webp": "WebP", "avif": "AVIF"}


def at_rate(curve: dict[str, Any], metric: str, bpp: float) -> str:
    """A codec's metric at a rate, two or three digits."""
    rates, values = curve["bpp"], curve["metrics"][metric]
    if not rates[0] <= bpp <= rates[-1]:
        return "-"
    return shown(metric, float(np.interp(np.log(bpp), np.log(rates), values)))


def shown(metric: str, value: float) -> str:
    """PSNR with two digits, all else with three."""
    return f"{value:.2f}" if metric == "psnr" else f"{value:.3f}"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("summary", type=Path)
    args = parser.parse_args()
    curves = json.loads(args.summary.read_text())["curves"]
    plain, default = curves["vlaec texture=0"], curves["vlaec"]
    names = list(OTHERS.values())
    header = ["`-q`", "bpp", "PSNR, texture 0", *names]
    header += ["LPIPS, texture 0", "default", *names]
    print("| " + " | ".join(header) + " |")
    print("|" + "---:|" * len(header))
    for i, (level, bpp) in enumerate(zip(plain["levels"], plain["bpp"], strict=True)):
        row = [f"{level:g}", f"{bpp:.3f}", shown("psnr", plain["metrics"]["psnr"][i])]
        row += [at_rate(curves[codec], "psnr", bpp) for codec in OTHERS]
        row += [shown("lpips", c["metrics"]["lpips"][i]) for c in (plain, default)]
        row += [at_rate(curves[codec], "lpips", bpp) for codec in OTHERS]
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
