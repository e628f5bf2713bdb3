"""How long compressing and decompressing take, and how much memory a large picture needs.

    python -m benchmarks.speed --threads 2 --out benchmarks/results/speed.json [IMAGE ...]

Times are medians over repetitions in one process, model loading and start-up excluded. Memory is
the peak resident size of a process of its own. Without IMAGE the repository's photograph is tiled
to 768x512; the large picture is always made from it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import command, machine, tiled_photo, write
from vlaec import zoo
from vlaec.images import Picture
from vlaec.photo import codec, container

LARGE = (3000, 4000)


def median_seconds(job: Callable[[], object], repetitions: int) -> float:
    """Median duration of `job` after one unmeasured call."""
    job()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return round(statistics.median(times), 3)


def measure(pictures: list[Picture], quality: float, repetitions: int) -> dict[str, float]:
    """Median seconds per picture of the three jobs."""
    own = codec.load_codec(zoo.find(quality=quality).id)
    rows: dict[str, list[float]] = {"compress": [], "decompress": [], "texture 0": []}
    for picture in pictures:
        parsed = container.unpack(own.encode(picture, quality))
        jobs: dict[str, Callable[[], object]] = {
            "compress": lambda p=picture: own.encode(p, quality),
            "decompress": lambda c=parsed: own.decode(c, texture=1.0),
            "texture 0": lambda c=parsed: own.decode(c, texture=0.0),
        }
        for name, job in jobs.items():
            rows[name].append(median_seconds(job, repetitions))
    return {name: statistics.median(times) for name, times in rows.items()}


def peak_memory(job: str, threads: int) -> dict[str, float]:
    """Peak resident gigabytes and seconds of one large job in a process of its own."""
    call = [sys.executable, "-m", "benchmarks.speed", "--job", job, "--threads", str(threads)]
    out = subprocess.run(call, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(out.stdout)
    return result


def large_job(job: str) -> None:
    """Compress, or compress and decompress, a picture of 12 megapixels; print time and peak."""
    import resource

    own = codec.load_codec(zoo.find().id)
    path = Path(__file__).with_name(".large.vlae")
    start = time.perf_counter()
    if job == "compress":
        path.write_bytes(own.encode(tiled_photo(*LARGE), 50))
    else:
        own.decode(container.unpack(path.read_bytes()), texture=1.0)
        path.unlink()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": round(seconds, 2), "peak_gigabytes": round(peak, 2)}))


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("--quality", type=float, default=50)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--job", choices=["compress", "decompress"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ["VLAEC_THREADS"] = str(args.threads)
    if args.job:
        large_job(args.job)
        return
    pictures = []
    for path in args.images:
        with Image.open(path) as image:
            pictures.append(Picture(np.asarray(image.convert("RGB"))))
    pictures = pictures or [tiled_photo(512, 768)]
    result = {
        "command": command("speed", sys.argv[1:]),
        "machine": machine(),
        "model": zoo.find(quality=args.quality).name,
        "pictures": [f"{p.width}x{p.height}" for p in pictures],
        "median_seconds": measure(pictures, args.quality, args.repetitions),
        "4000x3000": {job: peak_memory(job, args.threads) for job in ("compress", "decompress")},
    }
    print(json.dumps(result, indent=1))
    if args.out:
        write(args.out, result)


if __name__ == "__main__":
    main()
