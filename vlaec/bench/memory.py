"""Peak memory of a codec: measured in a process of its own, since a peak never goes down."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from .codecs import make_codec

T = TypeVar("T")


def peak_memory(
    codec: str, textures: tuple[float, ...], image: np.ndarray, level: float
) -> dict[str, float]:
    """Most memory in MiB that a fresh Python process had in use, by what it did.

    The keys are "encode" (it coded `image`, `[H, W, 3]` uint8) and the names of the codec's rows
    (it decoded the file). The interpreter and numpy are in the numbers: about 60 MiB.
    """
    data, peaks = _fresh(_encode, codec, textures, image, level)
    result = {"encode": peaks}
    for row in make_codec(codec, textures).decoders():
        result[row] = _fresh(_decode, codec, textures, data, row)[1]
    return result


def _fresh(function: Callable[..., T], *arguments: object) -> T:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def _encode(
    codec: str, textures: tuple[float, ...], image: np.ndarray, level: float
) -> tuple[bytes, float]:
    return make_codec(codec, textures).encode(image, level), _peak()


def _decode(codec: str, textures: tuple[float, ...], data: bytes, row: str) -> tuple[None, float]:
    make_codec(codec, textures).decoders()[row](data, 1)
    return None, _peak()


def _peak() -> float:
    """Peak resident memory of this process in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux hands ru_maxrss on from the parent, VmHWM not
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource  # which Windows does not have

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1024**2 if sys.platform == "darwin" else 1024)
