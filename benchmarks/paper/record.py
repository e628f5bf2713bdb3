"""Results as JSON: every one names the command, the minutes and the machine that it took."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.common import Result, command, machine


class Recorder:
    """Times a command and tells what it found; made when the command starts."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        self.command = command("paper", arguments)
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
