"""A folder of photographs with one job and with two; stopped half way, and gone on with.

    python -m benchmarks.folder PHOTOS --count 200 --out benchmarks/results/folder.json

Photographs are taken evenly from PHOTOS, shrunk, and compressed by the command line with one thread
a job. Runs with one and two jobs take turns. On two free cores wall times would show the speed-up.
On a busy machine they do not; processor time does: the work is bound by the processor, so two free
cores gain 2 x (seconds of one job) / (seconds of two). Memory is the peak of the largest process.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from benchmarks.common import evenly, machine, write
from vlaec import zoo

JOBS = (1, 2)
# What a user or the system ends a run with, and how many processes get it: Ctrl-C is for all.
STOPS = {"kill -9": signal.SIGKILL, "Ctrl-C": signal.SIGINT}


def make_photographs(source: Path, folder: Path, count: int, side: int) -> None:
    """Write `count` photographs with sides of at most `side` pixels as PNG."""
    paths = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
    folder.mkdir()
    for index in evenly(len(paths), count):
        with Image.open(paths[index]) as image:
            image.draft("RGB", (side, side))
            small = image.convert("RGB")
        small.thumbnail((side, side))
        small.save(folder / f"{index:05}.png")


def start(folder: Path, output: Path, jobs: int, *more: str) -> subprocess.Popen[bytes]:
    """Compress a folder, in a group of processes of its own."""
    call = [sys.executable, "-m", "vlaec", "compress", str(folder), "-o", str(output)]
    return subprocess.Popen(
        [*call, "--jobs", str(jobs), "--quiet", *more],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def measure(folder: Path, output: Path, jobs: int) -> dict[str, float]:
    """Wall time, processor time of all processes, and peak memory of the largest, of one run."""
    begin = time.perf_counter()
    process = start(folder, output, jobs)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    if status:
        raise RuntimeError(f"vlaec ended with status {status}")
    return {
        "wall": round(wall, 2),
        "processor": round(used.ru_utime + used.ru_stime, 2),
        "peak_megabytes": round(used.ru_maxrss / 2**10),
    }


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def stop_and_go_on(folder: Path, output: Path, stop: str, whole: dict[str, bytes]) -> int:
    """Stop a run at half of its files, look, and go on; returns how many files were there.

    Raises RuntimeError when a file is not the one that an undisturbed run writes.
    """
    process = start(folder, output, 2)
    while len(list(output.glob("*.vlae"))) < len(whole) // 2:
        if process.poll() is not None:
            raise RuntimeError("the run ended before it was stopped")
        time.sleep(0.02)
    number = STOPS[stop]
    os.kill(process.pid, number) if stop == "kill -9" else os.killpg(process.pid, number)
    if process.wait() == 0:
        raise RuntimeError(f"after {stop} the run reports success")
    time.sleep(2)  # a worker without a parent ends within a second
    left = contents(output)
    wrong = [name for name, data in left.items() if whole.get(name) != data]
    if start(folder, output, 2, "--skip-existing").wait() or wrong or contents(output) != whole:
        raise RuntimeError(f"after {stop}: {wrong or 'other bytes'}")
    return len(left)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    # A shell that runs this in the background lets Ctrl-C be ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runs: dict[int, list[dict[str, float]]] = {jobs: [] for jobs in JOBS}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        photographs, few = root / "photographs", root / "few"
        make_photographs(args.photographs, photographs, args.count, args.side)
        make_photographs(args.photographs, few, max(2, args.count // 10), args.side)
        memory_of_few = measure(few, root / "of-few", 2)["peak_megabytes"]
        for turn in range(args.rounds):
            for jobs in JOBS:
                runs[jobs].append(measure(photographs, root / f"{turn}-{jobs}", jobs))
                print(jobs, runs[jobs][-1], os.getloadavg(), flush=True)
        whole = contents(root / "0-1")
        for turn in range(args.rounds):
            for jobs in JOBS:
                if contents(root / f"{turn}-{jobs}") != whole:
                    raise RuntimeError("the bytes depend on the number of jobs")
        stopped = {
            stop: stop_and_go_on(photographs, root / f"stop-{number}", stop, whole)
            for number, stop in enumerate(STOPS)
        }
    seconds = {jobs: [run["processor"] for run in runs[jobs]] for jobs in JOBS}
    result: dict[str, Any] = {
        "command": f"python -m benchmarks.folder PHOTOS --count {args.count} --side {args.side} "
        f"--rounds {args.rounds} --out OUT",
        "machine": machine(),
        "model": zoo.find().name,
        "photographs": len(whole),
        "runs": {f"{jobs} jobs": runs[jobs] for jobs in JOBS},
        "speed_up_of_wall_times": [
            round(a["wall"] / b["wall"], 2) for a, b in zip(runs[1], runs[2], strict=True)
        ],
        "speed_up_on_free_cores": round(2 * median(seconds[1]) / median(seconds[2]), 2),
        "peak_megabytes_of_a_tenth": memory_of_few,
        "whole_files_when_stopped": stopped,
        "the_same_bytes_after_going_on": True,
    }
    write(args.out, result)


if __name__ == "__main__":
    main()
