"""Results as JSON: every one names the command, the minutes and the machine that it took."""

from __future__ import annotations

import json
import platform
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

Result = dict[str, Any]


class Recorder:
    """Times a command and writes what it found; made when the command starts."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        shown = [
            "DATA" if i and arguments[i - 1] == "--data" else a for i, a in enumerate(arguments)
        ]
        self.command = "python -m benchmarks.paper " + shlex.join(shown)
        self.started = time.monotonic()

    def result(self, kind: str, **values: Any) -> Result:
        """`values` with what took how long to find them, up to now."""
        return {
            "kind": kind,
            **values,
            "command": self.command,
            "minutes": round((time.monotonic() - self.started) / 60, 1),
            "machine": machine(),
        }


def machine() -> dict[str, Any]:
    """The processor and how much of it is used."""
    return {
        "cpu": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def write(path: Path, result: Result) -> None:
    """As JSON, replacing an older result at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.replace(path)


def evenly(total: int, count: int) -> np.ndarray:
    """`count` indices below `total` (or all), evenly spaced: sets may be ordered by class."""
    count = min(count, total)
    return np.arange(count) * total // count


def _processor() -> str:
    """The model's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = next(line for line in lines if line.startswith("model name"))
        return named.split(":", 1)[1].strip()
    except (IndexError, OSError, StopIteration):
        return platform.processor() or platform.machine()
