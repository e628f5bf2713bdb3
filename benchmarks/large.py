"""Whole commands on a picture of 12 megapixels, next to those of an earlier commit.

    git worktree add --detach OLD 1094bbd
    python -m benchmarks.large OLD --data DATA --out benchmarks/results/large.json

DATA is a folder of photographs, of which the picture is made as in `benchmarks.memory`. Each
version uses its own default model and quality, PNG in and out, and as many threads as it likes. The
versions take turns; OLD needs nothing but the Python that runs this.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import command, machine, write
from benchmarks.memory import SIZES, mosaic

CALL = """
try:
    from vlaec.cli.main import main
except ImportError:
    from vlaec.cli import main
main()
"""
MEASURES = ("seconds", "processor seconds", "peak GB")


def measure(tree: Path, arguments: list[str]) -> list[float]:
    """MEASURES of one command; a GB has 2^30 bytes."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    call = [sys.executable, "-c", CALL, *arguments]  # which looks for packages where it runs
    process = subprocess.Popen(call, cwd=tree, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{tree}: {' '.join(arguments)} failed")
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return [
        time.perf_counter() - start,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / unit,
    ]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path, help="a checkout of the earlier commit")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    trees = {"before": args.old.resolve(), "now": Path(__file__).resolve().parent.parent}
    found: dict[str, dict[str, list[list[float]]]] = {"compress": {}, "decompress": {}}
    with tempfile.TemporaryDirectory() as name:
        folder, size = Path(name), SIZES[12]
        mosaic(args.data, *size, folder / "x.png")
        for turn in range(args.rounds):
            for version, tree in trees.items():
                file, picture = (str(folder / f"{version}-{turn}.{end}") for end in ("vlae", "png"))
                calls = {
                    "compress": [str(folder / "x.png"), "-o", file],
                    "decompress": [file, "-o", picture],
                }
                for call, arguments in calls.items():
                    measured = measure(tree, [call, *arguments])
                    print(turn, version, call, *(f"{value:.2f}" for value in measured), flush=True)
                    found[call].setdefault(version, []).append(measured)
    medians = {
        call: {
            version: [statistics.median(values) for values in zip(*runs, strict=True)]
            for version, runs in versions.items()
        }
        for call, versions in found.items()
    }
    result = {
        "command": command("large", ["OLD", *sys.argv[2:]]),
        "machine": machine(),
        "picture": "x".join(map(str, size)),
        "rounds": args.rounds,
        "medians": {
            call: {
                version: dict(zip(MEASURES, (round(v, 2) for v in values), strict=True))
                for version, values in versions.items()
            }
            for call, versions in medians.items()
        },
        "ratio": {
            call: {
                name: round(now / before, 2)
                for name, now, before in zip(
                    MEASURES, versions["now"], versions["before"], strict=True
                )
            }
            for call, versions in medians.items()
        },
    }
    if args.out:
        write(args.out, result)


if __name__ == "__main__":
    main()
