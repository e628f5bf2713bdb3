"""What previews cost, and how close they are to the whole picture without texture, reduced.

    python -m benchmarks.previews --out benchmarks/results/previews.json PICTURE ...

Seconds are of processor time in one process with one thread, without loading the model: the least
of some repetitions, in which scales take turns. PSNR compares with the means over squares of the
picture that `--texture 0` gives. The last row of seconds is a picture of 12 megapixels, made of the
repository's photograph.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import vlaec
from benchmarks.common import command, machine, tiled_photo, write
from vlaec import api, zoo
from vlaec.options import SCALES

LARGE = (3000, 4000)
QUALITIES = (10, 50, 90)


def seconds(data: bytes, repetitions: int) -> dict[str, float]:
    """Processor time of every scale, of the structure alone and of the picture with texture."""
    jobs: dict[str, Callable[[], object]] = {
        f"1/{scale}": lambda s=scale: vlaec.decompress(data, scale=s, as_="picture")
        for scale in SCALES[:0:-1]
    }
    jobs["1, texture 0"] = lambda: vlaec.decompress(data, 0.0, as_="picture")
    jobs["1, texture 1"] = lambda: vlaec.decompress(data, 1.0, as_="picture")
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repetitions):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            times[name].append(time.process_time() - start)
    return {name: round(min(found), 3) for name, found in times.items()}


def psnr(data: bytes) -> dict[str, float]:
    """Of the previews that are not exact."""
    whole = Image.fromarray(vlaec.decompress(data, 0.0, as_="numpy"))
    rows = {}
    for scale in (16, 8):
        wanted = np.asarray(whole.reduce(scale), np.float64)
        error = np.mean((vlaec.decompress(data, scale=scale, as_="numpy") - wanted) ** 2)
        rows[f"1/{scale}"] = float(10 * np.log10(255**2 / error))
    return rows


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    os.environ["VLAEC_THREADS"] = "1"
    closeness = {}
    for quality in QUALITIES:
        options = api.CompressOptions(quality=quality)
        rows = []
        for path in args.pictures:
            with Image.open(path) as image:
                picture = vlaec.Picture(np.asarray(image.convert("RGB")))
            rows.append(psnr(api.encode(picture, options)))
        found = {scale: [row[scale] for row in rows] for scale in rows[0]}
        closeness[f"quality {quality}"] = {
            scale: {"mean": round(float(np.mean(v)), 1), "least": round(min(v), 1)}
            for scale, v in found.items()
        }
    times = {}
    for (height, width), repetitions in (((512, 768), 7), (LARGE, 1)):
        data = api.encode(tiled_photo(height, width), api.CompressOptions())
        times[f"{width}x{height}"] = seconds(data, repetitions)
    names = [f"PHOTOS/{path.name}" for path in args.pictures]
    result = {
        "command": command("previews", [*names, "--out", "OUT"]),
        "machine": machine(),
        "model": zoo.find().name,
        "pictures": len(args.pictures),
        "psnr": closeness,
        "processor_seconds": times,
    }
    write(args.out, result)


if __name__ == "__main__":
    main()
