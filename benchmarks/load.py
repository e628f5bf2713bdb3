"""Threads beside other work: two against one, whole processes, alternating.

    python -m benchmarks.load --busy 2 --out benchmarks/results/load.json
    python -m benchmarks.load --busy 0 --out benchmarks/results/load.json

With `--busy N`, N loops that do nothing else run all the while, as many as there are cores to show
a machine that is full. Each round compresses and decompresses the repository's photograph, tiled to
768x512, with the default number of threads and with one, and the order of the two changes from
round to round. What counts is the ratio of the medians; `load` is what else ran on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.common import tiled_photo

_BUSY = "while True: pass"


def seconds(arguments: list[str], threads: int | None, folder: Path) -> float:
    """What a call of `vlaec` takes, start-up included."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("VLAEC_THREADS", "OMP_NUM_THREADS")
    }
    if threads is not None:
        environment["VLAEC_THREADS"] = str(threads)
    start = time.perf_counter()
    call = [sys.executable, "-m", "vlaec", *arguments, "--force"]
    subprocess.run(call, cwd=folder, env=environment, check=True)
    return time.perf_counter() - start


def measure(rounds: int, effort: int, folder: Path) -> dict[str, Any]:
    """Medians with the default number of threads and with one, and their ratio, by command."""
    more = ["--effort", str(effort)] if effort else []
    jobs = {"compress": ["compress", "photo.png", "-o", "photo.vlae", *more]}
    if not effort:
        jobs["decompress"] = ["decompress", "photo.vlae", "-o", "out.png"]
    taken: dict[str, dict[int | None, list[float]]] = {n: {None: [], 1: []} for n in jobs}
    seconds(jobs["compress"], 1, folder)  # unmeasured: files are read for the first time
    for number in range(rounds):
        for name, arguments in jobs.items():
            for threads in (None, 1) if number % 2 else (1, None):
                taken[name][threads].append(seconds(arguments, threads, folder))
    result = {}
    for name, times in taken.items():
        default, one = (statistics.median(times[threads]) for threads in (None, 1))
        result[name] = {
            "default": round(default, 3),
            "one_thread": round(one, 3),
            "ratio": round(default / one, 3),
        }
    return result


def main() -> None:
    """Measure and add to the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--busy", type=int, default=2, help="loops that run all the while")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--effort", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    loops = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(options.busy)]
    try:
        with tempfile.TemporaryDirectory() as name:
            Image.fromarray(tiled_photo(512, 768).rgb).save(Path(name) / "photo.png")
            before = os.getloadavg()[0]
            result = measure(options.rounds, options.effort, Path(name))
    finally:
        for loop in loops:
            loop.kill()
    key = f"{options.busy} busy loops" + (f", effort {options.effort}" if options.effort else "")
    row = {
        "command": f"python -m benchmarks.load {' '.join(sys.argv[1:])}".partition(" --out")[0],
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(before, 1), round(os.getloadavg()[0], 1)],
        **result,
    }
    print(json.dumps({key: row}, indent=1))
    if options.out:
        old = json.loads(options.out.read_text()) if options.out.exists() else {}
        options.out.write_text(json.dumps({**old, key: row}, indent=1) + "\n")


if __name__ == "__main__":
    main()
