"""What the measuring scripts share: where results go, what machine made them, how they are kept."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlaec.images import Picture

Result = dict[str, Any]

RESULTS = Path(__file__).parent / "results"
PHOTO = Path(__file__).parent.parent / "examples" / "photo.png"
# Environments in which decoding must give the same latents and images.
SETTINGS: list[dict[str, str]] = [
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2"},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41"},
]


def command(module: str, arguments: Sequence[str], private: Sequence[str] = ("--data",)) -> str:
    """The call of a benchmark as a reader would repeat it.

    Args:
        module: name below `benchmarks`.
        arguments: what followed it.
        private: options whose value is a folder of this machine; DATA stands for it.
    """
    shown = ["DATA" if before in private else word for before, word in pairwise(["", *arguments])]
    return f"python -m benchmarks.{module} {shlex.join(shown)}".rstrip()


def machine() -> dict[str, Any]:
    """The processor and how much of it is used."""
    return {
        "cpu": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def write(path: Path, result: Result) -> None:
    """Write `result` as JSON, replacing an older file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.replace(path)


def evenly(total: int, count: int) -> np.ndarray:
    """`count` indices below `total` (or all), evenly spaced: sets may be ordered by class."""
    count = min(count, total)
    return np.arange(count) * total // count


def tiled_photo(height: int, width: int) -> Picture:
    """The repository's photograph, mirrored until it fills [height, width, 3]."""
    with Image.open(PHOTO) as image:
        pixels = np.asarray(image.convert("RGB"))
    grown = [
        (0, max(0, size - have))
        for size, have in zip((height, width), pixels.shape[:2], strict=True)
    ]
    return Picture(np.pad(pixels, [*grown, (0, 0)], mode="reflect")[:height, :width].copy())


def _processor() -> str:
    """The model's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = next(line for line in lines if line.startswith("model name"))
        return named.split(":", 1)[1].strip()
    except (IndexError, OSError, StopIteration):
        return platform.processor() or platform.machine()
