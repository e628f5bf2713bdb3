"""What the search of `--effort` gains, and what it takes.

    python -m benchmarks.effort DATA --weights WEIGHTS

Middle squares of the photographs in a folder, in one thread: Bjontegaard rates against no search,
by PSNR and MS-SSIM without texture and by LPIPS as files decompress, and seconds of CPU. Rows that
the results hold are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from benchmarks.common import RESULTS, command, machine, write
from vlaec.bench.curves import bd_rate
from vlaec.bench.metrics import load
from vlaec.images import Picture, is_picture
from vlaec.photo.codec import decode, encode

QUALITIES = (10, 20, 32, 50)
# Effort, and the metric that is searched for.
SEARCHES: dict[str, tuple[int, str | None]] = {
    "effort 1": (1, None),
    "effort 2": (2, None),
    "effort 2, tune psnr": (2, "psnr"),
    "effort 2, tune ms-ssim": (2, "ms-ssim"),
    "effort 4": (4, None),
}
# Metric, and the strength of texture with which it is measured.
METRICS = {"psnr": 0.0, "ms-ssim": 0.0, "lpips": None}


class Curve(NamedTuple):
    """Values of one picture by quality, and the seconds of CPU of a file."""

    bpp: np.ndarray
    values: dict[str, np.ndarray]
    seconds: float


def curve(
    rgb: np.ndarray, metrics: dict[str, Any], effort: int = 0, tune: str | None = None
) -> Curve:
    """One picture [H, W, 3] with one search."""
    bpp: list[float] = []
    values: dict[str, list[float]] = {name: [] for name in metrics}
    seconds = 0.0
    for quality in QUALITIES:
        start = time.process_time()
        data = encode(Picture(rgb), quality, effort=effort, tune=tune)
        seconds += time.process_time() - start
        bpp.append(8 * len(data) / rgb[..., 0].size)
        shown = {texture: decode(data, texture=texture).rgb for texture in set(METRICS.values())}
        for name, compare in metrics.items():
            values[name].append(compare(rgb, shown[METRICS[name]]))
    arrays = {name: np.array(found) for name, found in values.items()}
    return Curve(np.array(bpp), arrays, seconds / len(QUALITIES))


def compared(before: list[Curve], after: list[Curve]) -> dict[str, Any]:
    """Means over pictures of the rate in percent at equal values, and of the seconds."""
    row: dict[str, Any] = {}
    for name in METRICS:
        rates = [
            bd_rate(name, (a.bpp, a.values[name]), (b.bpp, b.values[name]))
            for a, b in zip(before, after, strict=True)
        ]
        known = [rate for rate in rates if rate is not None]
        row[name] = round(float(np.mean(known)), 2) if known else None
    row["seconds"] = round(float(np.mean([b.seconds for b in after])), 2)
    return row


def main(argv: list[str] | None = None) -> None:
    """Measure every search and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.effort")
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="of LPIPS")
    parser.add_argument("--limit", type=int, default=8, help="photographs")
    parser.add_argument("--side", type=int, default=256, help="of a square, in pixels")
    parser.add_argument("--out", type=Path, default=RESULTS / "effort.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    pictures = [
        _middle(path, args.side) for path in sorted(args.data.iterdir()) if is_picture(path)
    ][: args.limit]
    metrics = {name: load(name, args.weights) for name in METRICS}
    encode(Picture(pictures[0]), 30, effort=1)  # loads what is loaded once
    before = [curve(rgb, metrics) for rgb in pictures]
    kept = json.loads(args.out.read_text())["bd_rates"] if args.out.exists() else {}
    rows: dict[str, Any] = dict.fromkeys(SEARCHES) | kept  # in that order
    for name, search in SEARCHES.items():
        if name in kept:
            continue
        rows[name] = compared(before, [curve(rgb, metrics, *search) for rgb in pictures])
        print(name, rows[name], flush=True)
        write(
            args.out,
            {
                "command": command("effort", argv or sys.argv[1:], ("", "--weights")),
                "machine": machine(),
                "pictures": len(pictures),
                "side": args.side,
                "qualities": QUALITIES,
                "bd_rates": {name: row for name, row in rows.items() if row},
            },
        )


def _middle(path: Path, side: int) -> np.ndarray:
    with Image.open(path) as image:
        left, top = (max(0, size - side) // 2 for size in image.size)
        return np.array(image.convert("RGB").crop((left, top, left + side, top + side)))


if __name__ == "__main__":
    main()
