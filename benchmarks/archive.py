"""Lossless archives of test images: size against -ELBO and other formats, speed, exactness.

    python -m benchmarks.archive --model mnist-static --data DATA --dataset mnist-static \\
        --images 1000 --out benchmarks/results/paper/archive-mnist-static.json

The archive is extracted once in this process and once in another one per setting of threads and
instruction sets; all must give back every bit. Other formats get one file per image, and one
montage of all.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.common import SETTINGS, command, evenly, machine, write
from benchmarks.paper.sets import load_test
from vlaec import zoo
from vlaec.bench.codecs import make_codec
from vlaec.bench.likelihood import bits_per_dim, estimate, likelihoods
from vlaec.sets import archive
from vlaec.sets import container as archive_container


def digest(images: np.ndarray) -> str:
    """SHA-256 of images."""
    return hashlib.sha256(images.tobytes()).hexdigest()


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a function gives, its seconds, and those of all processors together."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = function()
    return value, time.perf_counter() - wall, time.process_time() - cpu


def montage(images: np.ndarray) -> np.ndarray:
    """All images as one, in rows and columns without a gap."""
    n, height, width = images.shape[:3]
    columns = next(c for c in range(math.isqrt(n), 0, -1) if n % c == 0)
    grid = images.reshape(n // columns, columns, height, width, -1).swapaxes(1, 2)
    picture: np.ndarray = grid.reshape(n // columns * height, columns * width, -1)
    return picture[..., 0] if images.ndim == 3 else picture


def png(image: np.ndarray) -> bytes:
    """A PNG file; of binary pixels with one bit each."""
    if image.ndim == 3:
        return make_codec("png").encode(image, 9)
    out = io.BytesIO()
    Image.fromarray(image).convert("1").save(out, "PNG", optimize=True, compress_level=9)
    return out.getvalue()


def webp(image: np.ndarray) -> bytes:
    """A lossless WebP file."""
    return make_codec("webp:lossless").encode(image, 100)


def jxl(image: np.ndarray) -> bytes:
    """A lossless JPEG XL file; of one channel for binary pixels."""
    return make_codec("jxl:lossless").encode(image, 0)


def others(images: np.ndarray) -> dict[str, dict[str, float]]:
    """Bits/dim of other lossless formats."""
    rows = {}
    for name, encode in (("png", png), ("webp", webp), ("jxl", jxl)):
        single = sum(len(encode(image)) for image in images)
        together = len(encode(montage(images)))
        rows[name] = {
            "one_file_each": round(8 * single / images.size, 4),
            "montage": round(8 * together / images.size, 4),
        }
    return rows


def agreement(data: bytes, expected: str) -> dict[str, bool]:
    """Whether other processes extract the same images, by setting."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.vlaa"
        path.write_bytes(data)
        call = [sys.executable, "-m", "benchmarks.archive", "--extract", str(path)]
        found = {}
        for setting in SETTINGS:
            environment = {**os.environ, **setting}
            out = subprocess.run(call, env=environment, capture_output=True, text=True)
            name = " ".join("=".join(item) for item in setting.items())
            found[name] = out.stdout.strip() == expected
    return found


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Everything about one model and set."""
    _, test = load_test(args.dataset, args.data)
    seen = test[evenly(len(test), args.images)]
    images = seen * np.uint8(255) if seen.ndim == 3 else seen
    card = zoo.find(name=args.model)
    archiver = archive.load_archiver(card.id)
    archiver.extract(archive_container.unpack(archiver.create(images[:1])))  # tables, start-up

    data, encode_wall, encode_cpu = timed(lambda: archiver.create(images))
    parsed = archive_container.unpack(data)
    decoded, decode_wall, decode_cpu = timed(lambda: archiver.extract(parsed))
    if not np.array_equal(decoded, images):
        raise SystemExit("the archive does not give back its images")
    found = likelihoods(zoo.load_set(card), seen, args.samples)
    elbo = bits_per_dim(estimate(-found.elbo), images[0].size)
    info = archive_container.info(data)
    lossy = archiver.create(images, lossy=True)
    n = len(images)
    return {
        "model": args.model,
        "sha256": card.sha256,
        "dataset": args.dataset,
        "images": n,
        "bytes": len(data),
        "bits_per_dim": round(info.bits_per_dim, 5),
        "initial_bits": info.initial_bits,
        "bits_per_dim_without_initial": round(info.net_bits_per_dim, 5),
        "negative_elbo_bits_per_dim": round(elbo.mean, 5),
        "negative_elbo_error": round(elbo.error, 5),
        "elbo_samples": args.samples,
        "size_without_initial_over_elbo": round(info.net_bits_per_dim / elbo.mean, 4),
        "lossy_bytes_per_image": round(len(lossy) / n, 2),
        "encode_images_per_second": round(n / encode_wall, 1),
        "decode_images_per_second": round(n / decode_wall, 1),
        "encode_cpu_ms_per_image": round(1000 * encode_cpu / n, 2),
        "decode_cpu_ms_per_image": round(1000 * decode_cpu / n, 2),
        "same_images_in_other_processes": agreement(data, digest(images)),
        "others_bits_per_dim": others(images),
    }


def main() -> None:
    """Measure and write the results, or (--extract) hash the images of an archive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--dataset")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=8, help="of z per image, for the ELBO")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    parser.add_argument("--extract", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.extract:
        print(digest(archive.extract(args.extract.read_bytes())))
        return
    torch.set_num_threads(args.threads)
    start = time.monotonic()
    result = {"kind": "archive", **measure(args)}
    result["command"] = command("archive", sys.argv[1:])
    result["minutes"] = round((time.monotonic() - start) / 60, 1)
    result["machine"] = machine()
    print(json.dumps(result, indent=1))
    if args.out:
        write(args.out, result)
    if not all(result["same_images_in_other_processes"].values()):
        raise SystemExit("some processes extract other images")


if __name__ == "__main__":
    main()
