"""Standard streams that the caller has closed, as daemons and `2>&-` do, and warnings.

A file that is opened while descriptor 2 is free becomes descriptor 2, and whatever a library says
goes into it. So the null device takes the place of each closed stream, before anything is opened.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import click

from ..errors import ModelWarning


def fill_closed() -> None:
    """Open the null device in place of each standard stream that is closed."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
            # `files` asks for it: what was to go through a closed stream must not vanish.
            stream.closed_by_caller = True  # type: ignore[attr-defined]
            setattr(sys, name, stream)


def abandon(number: int) -> None:
    """Let what is still written to a standard stream that fails vanish, at exit, too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def say(line: str) -> None:
    """A line on stderr. Where that cannot be written, the work and the exit code say enough."""
    try:
        click.echo(line, err=True)
    except OSError:
        abandon(2)


def plain_warnings() -> None:
    """Show this package's warnings as one line each, once, and none of libraries."""
    told: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        line = " ".join(str(message).split())
        if line not in told:
            told.add(line)
            say(f"vlaec: {line}")

    warnings.simplefilter("ignore")
    warnings.simplefilter("always", ModelWarning)
    warnings.showwarning = show
