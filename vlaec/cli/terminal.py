"""What the commands share: options, checks of the standard streams, the progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from ..errors import UsageError

source_argument = click.argument("source", metavar="IN")
force_option = click.option("--force", is_flag=True, help="Overwrite the output if it exists.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def check_streams(output: str, as_json: bool) -> None:
    """Raise UsageError where `output` is standard output and that cannot take it."""
    if output != "-":
        return
    if as_json:
        raise UsageError("--json and -o - both want standard output")
    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal; name a file with -o")


def show(path: str) -> str:
    """A path as messages name it."""
    return "standard stream" if path == "-" else path


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float], None] | None]:
    """A bar on stderr if that is a terminal; yields the function to call with 0..1, or None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)
