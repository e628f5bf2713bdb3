"""How long a photograph takes: whole commands, and calls within a process.

    python -m benchmarks.speed --out benchmarks/results/speed.json

Commands are run on the repository's photograph, that with `--effort 1` on 768x512 pixels, and the
start of Python with numpy alone, which tells machines of different speed apart; all in turn. Calls
are those of a process that has made some: 768x512, with one thread and with two. All figures are
medians. Memory, and larger pictures, are in `benchmarks.memory`.
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
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from benchmarks.common import PHOTO, command, tiled_photo, write
from vlaec import zoo
from vlaec.photo import codec, container

QUALITY = 50
# Calls before the first that is measured: memory is still being taken in them.
WARM_UP = 2
VLAEC = [sys.executable, "-m", "vlaec"]

Seconds = dict[str, float]  # of the processor, and of the clock


def processes(rounds: int) -> dict[str, Seconds]:
    """Of whole commands."""
    with tempfile.TemporaryDirectory() as folder:
        file, picture = Path(folder, "photo.vlae"), Path(folder, "photo.png")
        larger = Path(folder, "larger.png")
        Image.fromarray(tiled_photo(512, 768).rgb).save(larger)
        commands = {
            "numpy": [sys.executable, "-c", "import numpy"],
            "compress": [*VLAEC, "compress", "--force", str(PHOTO), "-o", str(file)],
            "effort 1": [*VLAEC, "compress", "--force", "--effort", "1", str(larger)],
            "info": [*VLAEC, "info", str(file)],
            "decompress": [*VLAEC, "decompress", "--force", str(file), "-o", str(picture)],
        }
        taken: dict[str, list[Seconds]] = {name: [] for name in commands}
        for round_ in range(rounds + 1):
            for name, words in commands.items():
                seconds = _process(words)
                if round_:  # the first finds files that are not cached
                    taken[name].append(seconds)
    return {name: _medians(times) for name, times in taken.items()}


def _process(words: list[str]) -> Seconds:
    start = time.perf_counter()
    # As after an installation: modules are compiled once.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(words, stdout=quiet, stderr=quiet, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return {"cpu": used.ru_utime + used.ru_stime, "clock": time.perf_counter() - start}


def calls(rounds: int) -> dict[str, dict[str, Seconds]]:
    """Of calls in a process, by the number of its threads."""
    taken: dict[str, list[dict[str, Seconds]]] = {"1": [], "2": []}
    for _ in range(rounds):  # in turn: a machine's speed changes
        for threads, found in taken.items():
            out = subprocess.run(
                [sys.executable, "-m", "benchmarks.speed", "--inside"],
                env={**os.environ, "VLAEC_THREADS": threads},
                capture_output=True,
                text=True,
                check=True,
            )
            found.append(json.loads(out.stdout))
    return {
        threads: {name: _medians([row[name] for row in found]) for name in found[0]}
        for threads, found in taken.items()
    }


def inside(repetitions: int) -> dict[str, Seconds]:
    """Of calls in this process."""
    own, picture = codec.load_codec(zoo.find(quality=QUALITY).id), tiled_photo(512, 768)
    parsed = container.unpack(own.encode(picture, QUALITY))
    jobs: dict[str, Callable[[], object]] = {
        "compress": lambda: own.encode(picture, QUALITY),
        "decompress": lambda: own.decode(parsed, texture=1.0),
        "texture 0": lambda: own.decode(parsed, texture=0.0),
    }
    return {name: _call(job, repetitions) for name, job in jobs.items()}


def _call(job: Callable[[], object], repetitions: int) -> Seconds:
    times: list[Seconds] = []
    for _ in range(WARM_UP + repetitions):
        cpu, clock = time.process_time(), time.perf_counter()
        job()
        times.append({"cpu": time.process_time() - cpu, "clock": time.perf_counter() - clock})
    return _medians(times[WARM_UP:])


def _medians(times: list[Seconds]) -> Seconds:
    return {kind: round(statistics.median(t[kind] for t in times), 3) for kind in times[0]}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        print(json.dumps(inside(args.rounds)))
        return
    result = {
        "command": command("speed", sys.argv[1:]),
        "model": zoo.find(quality=QUALITY).name,
        "commands": processes(args.rounds),
        "threads": calls(args.rounds),
    }
    print(json.dumps(result, indent=1))
    if args.out:
        write(args.out, result)


if __name__ == "__main__":
    main()
