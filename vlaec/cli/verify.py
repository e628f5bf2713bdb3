"""The command `vlaec verify`. Importing this file needs no network."""

from __future__ import annotations

import json
from typing import Any

import click

from .. import files
from ..errors import UsageError
from .flags import (
    jobs_option,
    json_option,
    quiet_option,
    ray_option,
    recursive_option,
    sources_argument,
    threads_option,
    verbose_option,
)
from .many import Task, run_jobs
from .terminal import QUIET, check_names, use_threads, verbosity

SUFFIXES = (".vlae", ".vlaa")


@click.command()
@sources_argument
@recursive_option
@jobs_option
@ray_option
@json_option
@quiet_option
@verbose_option
@threads_option
def verify(
    sources: tuple[str, ...],
    recursive: bool,
    jobs: int | None,
    ray: str | None,
    as_json: bool,
    threads: int | None,
) -> None:
    """Check that .vlae and .vlaa files are whole.

    IN is such a file, a folder of them, or - for standard input. Checksums, metadata and latents
    are checked; the exit code is 4 when a file is damaged.
    """
    check_names(*sources)
    if sources == ("-",):
        with use_threads(threads):
            _, facts = verify_bytes(files.read_bytes("-"))
        if as_json:
            click.echo(json.dumps({"input": "-", **facts}))
        return
    if "-" in sources:
        raise UsageError("standard input is one file: it cannot be one of many")
    from .. import batch

    work = [batch.Job(s.path, None) for s in batch.find_sources(sources, SUFFIXES, recursive)]
    task = Task("sound", verify_bytes, SUFFIXES, "")
    run_jobs(task, work, jobs, ray, False, as_json, threads)
    if not as_json and verbosity() > QUIET:
        click.echo(f"{len(work)} file{'s are' if len(work) > 1 else ' is'} sound")


def verify_bytes(data: bytes) -> tuple[bytes, dict[str, Any]]:
    """Nothing to write, and what a sound file holds. Raises VlaecError."""
    from ..kinds import kind_of

    return b"", kind_of(data).verify(data)
