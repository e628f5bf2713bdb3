"""Peak memory and processor time of large pictures, each command in a process of its own.

    python -m benchmarks.memory --data DATA --threads 2 --out benchmarks/results/memory.json
    python -m benchmarks.memory --calls 10000 --out benchmarks/results/memory.json

DATA is a folder of photographs: a mosaic of them, mirrored where they end, fills each picture. It
is compressed from a PNG at the default quality and decompressed to one. The peak is that of the
whole process, interpreter, libraries and picture files included. `--calls N` measures how a process
grows that compresses and decompresses a small picture N times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES = {12: (4000, 3000), 50: (8192, 6104), 100: (11585, 8640)}


def mosaic(folder: Path, width: int, height: int, into: Path) -> None:
    """Write a picture of that size, made of photographs at their own resolution."""
    import numpy as np
    from PIL import Image

    canvas = np.empty((height, width, 3), np.uint8)
    photos = sorted(folder.glob("*.jpg"))
    side, number = 1024, 0
    for top in range(0, height, side):
        for left in range(0, width, side):
            with Image.open(photos[number % len(photos)]) as image:
                pixels = np.asarray(image.convert("RGB"))[:side, :side]
            place = canvas[top : top + side, left : left + side]
            grown = [(0, side - have) for have in pixels.shape[:2]]
            whole = np.pad(pixels, [*grown, (0, 0)], "reflect")
            place[...] = whole[: place.shape[0], : place.shape[1]]
            number += 1
    Image.fromarray(canvas).save(into, compress_level=1)


def run(arguments: list[str], folder: Path) -> dict[str, Any]:
    """Peak GB (2^30 bytes), seconds of processor and of clock of a call of `vlaec`."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "vlaec", *arguments], cwd=folder)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"vlaec {' '.join(arguments)} failed")
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return {
        "peak_gb": round(used.ru_maxrss / unit, 3),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "seconds": round(time.perf_counter() - start, 1),
    }


_CALLS = """
import json, sys
import numpy as np, vlaec
def mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
rng = np.random.default_rng(0)
for number in range(int(sys.argv[1]) + 200):
    if number == 200:  # sessions and caches are there
        before = mib()
    pixels = rng.integers(0, 256, (24, 40, 3), np.uint8)
    assert vlaec.decompress(vlaec.compress(pixels, 40)).size == (40, 24)
grown = {"before_mib": round(before, 1), "after_mib": round(mib(), 1)}
print(json.dumps({"calls": number - 199, **grown}))
"""


def main() -> None:
    """Measure each size and write the results after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--calls", type=int, help="of a small picture in one process")
    parser.add_argument("--megapixels", type=int, nargs="*", default=list(SIZES), choices=SIZES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ["VLAEC_THREADS"] = str(options.threads)
    shown = f"python -m benchmarks.memory --data DATA --threads {options.threads}"
    result: dict[str, Any] = {"command": shown, "threads": options.threads, "sizes": {}}
    if options.out and options.out.exists():
        result = json.loads(options.out.read_text()) | {"command": shown}
    if options.calls:
        call = [sys.executable, "-c", _CALLS, str(options.calls)]
        result["calls"] = json.loads(
            subprocess.run(call, stdout=subprocess.PIPE, check=True).stdout
        )
        print(result["calls"])
        if options.out:
            options.out.write_text(json.dumps(result, indent=1) + "\n")
        return
    for megapixels in options.megapixels:
        width, height = SIZES[megapixels]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            code = (
                "import sys; from pathlib import Path; from benchmarks.memory import mosaic; "
                "mosaic(Path(sys.argv[1]), *map(int, sys.argv[2:4]), Path(sys.argv[4]))"
            )
            # Of a process of its own: what starts another hands its peak on.
            made = [str(options.data), str(width), str(height), str(folder / "x.png")]
            subprocess.run([sys.executable, "-c", code, *made], check=True)
            size = {"compress": run(["compress", "x.png", "-o", "x.vlae"], folder)}
            size["decompress"] = run(["decompress", "x.vlae", "-o", "out.png"], folder)
            size["bytes"] = (folder / "x.vlae").stat().st_size
        result["sizes"][str(megapixels)] = {"width": width, "height": height, **size}
        print(json.dumps(result["sizes"][str(megapixels)]), flush=True)
        if options.out:
            options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
