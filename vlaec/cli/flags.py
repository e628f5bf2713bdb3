"""Options that several commands have."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

from ..limits import MAX_PIXELS
from .terminal import QUIET, VERBOSE, set_verbosity

F = TypeVar("F", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A float within a closed range; unlike click's own, it refuses nan."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail("nan is not a number", param, ctx)
        return number


def _verbosity(level: int) -> Callable[[click.Context, click.Parameter, bool], None]:
    def set_level(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            set_verbosity(level)

    return set_level


source_argument = click.argument("source", metavar="IN")
sources_argument = click.argument("sources", metavar="IN...", nargs=-1, required=True)
force_option = click.option("--force", is_flag=True, help="Replace outputs that exist.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")
quiet_option = click.option(
    "--quiet",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_verbosity(QUIET),
    help="Say nothing but errors.",
)
verbose_option = click.option(
    *("-v", "--verbose"),
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_verbosity(VERBOSE),
    help="Say what was done for every file, also in a pipe.",
)


def output_option(folder: bool = True) -> Callable[[F], F]:
    """-o, for a file or a folder."""
    more = ", or a folder to put outputs in" if folder else ""
    text = f"Output file{more}; - is standard output."
    return click.option("-o", "--output", metavar="OUT", help=text)


@dataclass(frozen=True)
class Many:
    """How a command treats many files; see `file_options`."""

    recursive: bool
    jobs: int | None
    suffix: str | None
    skip_existing: bool
    dry_run: bool
    ray: str | None

    @property
    def asked(self) -> bool:
        """Whether anything was asked that the way for one file does not know."""
        return self.recursive or self.skip_existing or self.dry_run or bool(self.ray)


threads_option = click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="Threads.  [default: all processors]"
)
jobs_option = click.option(
    *("-j", "--jobs"),
    type=click.IntRange(1),
    metavar="N",
    help="Processes, each with one thread or --threads.  [default: one per processor]",
)
recursive_option = click.option(
    *("-r", "--recursive"), is_flag=True, help="Take the files below folders, too."
)
ray_option = click.option("--ray", metavar="ADDRESS", help="Work on this Ray cluster (vlaec[ray]).")


def file_options(suffix: str) -> Callable[[F], F]:
    """The options of commands that turn files into files; those for many files are handed to the
    command as one argument `many`.

    suffix: usual end of an output's name, for the help.
    """
    options = (
        click.option(
            "--max-pixels",
            type=click.IntRange(1, MAX_PIXELS),
            default=MAX_PIXELS,
            metavar="N",
            help="Refuse larger pictures.  [default: 268435456]",
        ),
        click.option(
            "--max-memory",
            metavar="BYTES",
            help="Refuse pictures that need more, as in 800M or 2G.",
        ),
        recursive_option,
        jobs_option,
        click.option(
            "--suffix",
            metavar="TEXT",
            help="End of an output's name in place of the input's suffix, which {ext} stands for."
            f"  [default: {suffix}]",
        ),
        click.option("--skip-existing", is_flag=True, help="Leave outputs that exist: go on."),
        click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
        ray_option,
        force_option,
        json_option,
        quiet_option,
        verbose_option,
        threads_option,
    )

    def decorate(function: F) -> F:
        names = Many.__dataclass_fields__

        @wraps(function)
        def command(**values: Any) -> Any:
            many = Many(**{name: values.pop(name) for name in names})
            return function(many=many, **values)

        for option in reversed(options):
            command = option(command)
        return command  # type: ignore[return-value]

    return decorate
