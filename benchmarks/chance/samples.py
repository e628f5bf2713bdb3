"""Files of given sizes and what they decode to, by whichever vlaec Python finds.

    PYTHONPATH=CHECKOUT python benchmarks/chance/samples.py PICTURES --rates 0.15 0.3 --out FOLDER

CHECKOUT may be an earlier commit: only `compress` and `decompress` are used. Writes for each
picture and rate NAME@RATE.npz: the size of the file, and the picture with texture 0 and with the
file's own texture by two seeds.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image

import vlaec

CLOSE = 0.005  # of the rate
STEPS = 9


def main() -> None:
    """Make what is not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--rates", type=float, nargs="+", required=True, help="bits per pixel")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for path in sorted(args.pictures.glob("*.png")):
        with Image.open(path) as file:
            image = file.convert("RGB")
        files: dict[float, bytes] = {}
        for rate in args.rates:
            target = args.out / f"{path.stem}@{rate:g}.npz"
            if target.exists():
                continue
            data = nearest(image, rate * image.width * image.height / 8, files)
            plain = vlaec.decompress(data, texture=0)
            first, second = (vlaec.decompress(data, seed=seed) for seed in (0, 1))
            arrays = {"plain": plain, "first": first, "second": second}
            pixels = {name: np.asarray(picture) for name, picture in arrays.items()}
            np.savez_compressed(target, bytes=len(data), **pixels)


def nearest(image: Image.Image, size: float, files: dict[float, bytes]) -> bytes:
    """The file nearest to `size` bytes, by halving the qualities; `files` are kept."""
    low, high = 0.0, 100.0
    for _ in range(STEPS):
        known_low = [q for q, f in files.items() if len(f) <= size]
        known_high = [q for q, f in files.items() if len(f) > size]
        low, high = max([low, *known_low]), min([high, *known_high])
        quality = (low + high) / 2
        if low in files and high in files:  # the logarithm of the size is nearly straight
            a, b = math.log(len(files[low])), math.log(len(files[high]))
            share = (math.log(size) - a) / (b - a)
            quality = low + min(0.9, max(0.1, share)) * (high - low)
        if quality not in files:
            files[quality] = vlaec.compress(image, quality)
        if abs(len(files[quality]) / size - 1) <= CLOSE:
            break
    return min(files.values(), key=lambda data: abs(len(data) - size))


if __name__ == "__main__":
    main()
