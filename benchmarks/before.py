"""CPU time of compressing, decompressing and archives next to those of an earlier commit.

    git worktree add --detach OLD 1094bbd
    python -m benchmarks.before OLD --data DATA --out benchmarks/results/before.json

Both run the earlier commit's weights, `small-high` and `mnist-static`, on one thread. Processes of
both take turns, so that a machine's other work hits both alike; times are those of the processor,
without start-up and the first call. OLD needs nothing but the Python that runs this.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import Result, command, evenly, machine, tiled_photo, write
from vlaec.train.export import adopt, export
from vlaec.train.sets.data import load

PHOTO, SET = "small-high", "mnist-static"
# Runs in both trees, each with its own package.
JOBS = """
import json, sys, time
import numpy as np
from PIL import Image
import vlaec
photo, sets, repetitions = sys.argv[1], np.load(sys.argv[2])["images"], int(sys.argv[3])
try:
    from vlaec import create_archive, extract_archive
except ImportError:
    from vlaec.archive import create, extract as extract_archive
    create_archive = lambda images, model: create(images, model)
image = Image.open(photo).convert("RGB")
file = vlaec.compress(image, 50, model="small-high")
archive = create_archive(sets, model="mnist-static")
assert (extract_archive(archive) == sets).all()
jobs = {
    "compress": lambda: vlaec.compress(image, 50, model="small-high"),
    "decompress": lambda: vlaec.decompress(file, texture=1.0),
    "decompress, texture 0": lambda: vlaec.decompress(file, texture=0.0),
    "archive create": lambda: create_archive(sets, model="mnist-static"),
    "archive extract": lambda: extract_archive(archive),
}
times = {name: [] for name in jobs}
for name, job in jobs.items():
    job()
    for _ in range(repetitions):
        start = time.process_time()
        job()
        times[name].append(time.process_time() - start)
print(json.dumps({"times": times, "bytes": [len(file), len(archive)]}))
"""


def provide_models(old: Path, folder: Path) -> None:
    """The earlier weights as models of today."""
    run = adopt(old / "models" / PHOTO, folder / "run").parent
    export(run, folder / PHOTO, "Of an earlier commit", texture=1.0, default=False)
    for suffix in (".json", ".safetensors"):
        shutil.copy(old / "models" / f"{SET}{suffix}", folder)


def measure(tree: Path, models: Path, arguments: list[str]) -> Result:
    """Processor seconds by job, and sizes of the files, of one process."""
    one = {"OMP_NUM_THREADS": "1", "VLAEC_THREADS": "1"}
    paths = {"PYTHONPATH": str(tree), "VLAEC_MODELS": str(models)}
    call = [sys.executable, "-W", "ignore", "-c", JOBS, *arguments]
    out = subprocess.run(
        call, cwd=tree, env={**os.environ, **one, **paths}, capture_output=True, text=True
    )
    if out.returncode:
        raise SystemExit(out.stderr)
    result: Result = json.loads(out.stdout)
    return result


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path, help="a checkout of the earlier commit")
    parser.add_argument("--data", type=Path, required=True, help="folder with binarised MNIST")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    trees = {"before": args.old.resolve(), "now": Path(__file__).resolve().parent.parent}
    times: dict[str, dict[str, list[float]]] = {name: {} for name in trees}
    sizes = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        provide_models(trees["before"], folder)
        Image.fromarray(tiled_photo(512, 768).rgb).save(folder / "photo.png")
        test = load("mnist-static", args.data).test
        np.savez(folder / "sets.npz", images=255 * test[evenly(len(test), args.images)])
        given = [str(folder / "photo.png"), str(folder / "sets.npz"), str(args.repetitions)]
        for turn in range(args.rounds):
            for tree in sorted(trees, reverse=turn % 2 == 1):
                models = trees["before"] / "models" if tree == "before" else folder
                found = measure(trees[tree], models, given)
                sizes[tree] = found["bytes"]
                for job, seconds in found["times"].items():
                    times[tree].setdefault(job, []).extend(seconds)
    medians = {
        job: {tree: statistics.median(times[tree][job]) for tree in trees} for job in times["now"]
    }
    result = {
        "command": command("before", ["OLD", *sys.argv[2:]]),
        "machine": {**machine(), "threads": 1},
        "picture": "768x512",
        "images": args.images,
        "bytes of file and archive": sizes,
        "median processor seconds": {
            job: {tree: round(seconds, 3) for tree, seconds in both.items()}
            for job, both in medians.items()
        },
        "ratio": {job: round(both["now"] / both["before"], 3) for job, both in medians.items()},
    }
    print(json.dumps(result, indent=1))
    if args.out:
        write(args.out, result)


if __name__ == "__main__":
    main()
