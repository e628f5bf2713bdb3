"""What the commands share: standard streams, notes, the progress bar, paths in messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .streams import say

if TYPE_CHECKING:
    from rich.progress import Progress

QUIET, NORMAL, VERBOSE = -1, 0, 1
_KEY = "vlaec.verbosity"


def set_verbosity(level: int) -> None:
    """How much the command that runs says."""
    click.get_current_context().find_root().meta[_KEY] = level


def verbosity() -> int:
    """QUIET, NORMAL or VERBOSE."""
    level: int = click.get_current_context().find_root().meta.get(_KEY, NORMAL)
    return level


def note(text: str) -> None:
    """A line on stderr that no user should miss, except one who asked for quiet."""
    if verbosity() > QUIET:
        say(f"vlaec: {text}")


def remark(text: str) -> None:
    """A line on stderr for who watches a terminal, or asked for it."""
    if verbosity() == VERBOSE or (verbosity() == NORMAL and sys.stderr.isatty()):
        say(text)


def has_bar() -> bool:
    """Whether progress is drawn: on a terminal that nobody asked to be quiet."""
    return verbosity() > QUIET and sys.stderr.isatty()


def check_streams(output: str, as_json: bool) -> None:
    """Raise UsageError where `output` is standard output and that cannot take it."""
    if output != "-":
        return
    if as_json:
        raise UsageError("--json and -o - both want standard output")
    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal; name a file with -o")


@contextmanager
def use_threads(count: int | None) -> Iterator[None]:
    """Let the codec use `count` threads, or what it finds itself for None."""
    if count is None:
        yield
        return
    from .. import threads

    names = (threads.VARIABLE, "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def check_names(*names: str | None) -> None:
    """Raise UsageError for an empty name of a file, which no path can be made of."""
    if "" in names:
        raise UsageError("the name of a file is empty")


def show(path: str) -> str:
    """A path as messages name it."""
    return "standard stream" if path == "-" else path


def show_bytes(size: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
        size /= 1000
    return f"{size:.3g} GB"


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float], None] | None]:
    """A bar on stderr if that is a terminal; yields the function to call with 0..1, or None."""
    if not has_bar():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)


@contextmanager
def counting_bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar over `total` files with the time that is left; yields what to call after each."""
    if not has_bar():
        yield lambda: None
        return
    with _counting() as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def stage_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for stages; yields what to call with the stage, its count of done ones and of all."""
    if not has_bar():
        yield lambda stage, done, total: None
        return
    with _counting() as bar:
        task = bar.add_task("starting", total=None)
        stages: list[str] = []

        def progress(stage: str, done: int, total: int) -> None:
            if stages[-1:] != [stage]:  # what was fast before says nothing about what comes
                stages.append(stage)
                bar.reset(task)
            bar.update(task, description=stage, completed=done, total=total)

        yield progress


def _counting() -> Progress:
    """A bar that counts, and says how long it took and will take."""
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
