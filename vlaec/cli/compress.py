"""The command `vlaec compress`. Importing this file needs no network."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from .. import files
from ..errors import BadImageError, UsageError
from ..options import MAX_EFFORT, STRIPPABLE, TUNES, CompressOptions
from ..target import METRICS
from .flags import Many, Number, file_options, output_option, sources_argument
from .many import Task, is_many, run_many
from .terminal import check_streams, note, progress_bar, remark, show, use_threads

SUFFIX = ".vlae"


@click.command()
@sources_argument
@output_option()
@click.option(
    *("-q", "--quality"), type=Number(0, 100), default=50, show_default=True, help="0 to 100."
)
@click.option("--model", metavar="NAME", help="Model to compress with; see `vlaec models`.")
@click.option(
    "--effort",
    type=click.IntRange(0, MAX_EFFORT),
    default=0,
    show_default=True,
    help="Encoder search effort (1: 10 seconds per megapixel, 2: a minute, 9: 4).",
)
@click.option(
    "--tune", type=click.Choice(TUNES), help="Metric to search for, with --effort.  [default: both]"
)
@click.option("--size", metavar="BYTES", help="Most bytes of the file, as in 40k: finds -q.")
@click.option("--bpp", type=float, help="Most bits per pixel of the file: finds -q.")
@click.option(
    "--target",
    metavar="METRIC=VALUE",
    help=f"Fidelity to reach: finds -q. Metrics: {', '.join(METRICS)}.",
)
@click.option(
    "--strip",
    is_flag=False,
    flag_value="all",
    default="",
    metavar="NAMES",
    help=f"Metadata to leave out: {', '.join(sorted(STRIPPABLE))}.  [alone: all]",
)
@click.option("--frame", type=click.IntRange(0), help="Frame or page to take, from 0.")
@click.option("--tone-map", is_flag=True, help="Turn HDR into SDR instead of refusing it.")
@click.option("--upright", is_flag=True, help="Turn the picture as its EXIF block says.")
@file_options(SUFFIX)
def compress(
    sources: tuple[str, ...],
    output: str | None,
    many: Many,
    force: bool,
    as_json: bool,
    threads: int | None,
    **values: Any,
) -> None:
    """Compress pictures to .vlae files.

    IN is a picture, a folder of pictures, or - for standard input. OUT is IN with the suffix .vlae
    unless given. With several inputs OUT is a folder.
    """
    values["strip"] = [name for name in values["strip"].split(",") if name]
    options = CompressOptions(**values)
    given = click.get_current_context().get_parameter_source("quality")
    if options.searches and given is not click.core.ParameterSource.DEFAULT:
        raise UsageError("--quality excludes --size, --bpp and --target, which find it")
    if is_many(sources, output, many):
        from ..api import check_model
        from ..images import INPUT_SUFFIXES

        check_model(options)
        work = partial(compress_bytes, options=options)
        task = Task("compressed", work, INPUT_SUFFIXES, SUFFIX)
        run_many(task, sources, output, many, force, as_json, threads)
        return
    (source,) = sources
    suffix = many.suffix or SUFFIX
    output = output or ("-" if source == "-" else str(Path(source).with_suffix("")) + suffix)
    check_streams(output, as_json)
    original = files.read_bytes(source)
    _check_new(original, source)
    files.check_output(output, force, source)
    start = time.perf_counter()
    try:
        with use_threads(threads), progress_bar("compressing") as progress:
            data, facts = compress_bytes(original, options, progress)
    except BadImageError as error:
        raise BadImageError(f"{show(source)}: {error}") from error
    facts["seconds"] = round(time.perf_counter() - start, 3)
    files.write_atomically(output, data, force)
    if options.searches:
        note(f"chose quality {facts['quality']:g} of {facts['model']}: {facts['bytes']} bytes")
    for text in facts.pop("notes"):
        note(f"{show(source)}: {text}")
    report(source, output, facts, as_json)


def _check_new(original: bytes, source: str) -> None:
    """Raise BadImageError for what is compressed already, which no decoder of pictures says."""
    from ..photo import container

    if original.startswith(container.MAGIC):
        raise BadImageError(f"{show(source)} is a .vlae file already")


def compress_bytes(
    original: bytes, options: CompressOptions, progress: Callable[[float], None] | None = None
) -> tuple[bytes, dict[str, Any]]:
    """A `.vlae` file of a picture file, and what to report of it. Raises VlaecError."""
    from .. import api
    from ..inputs import as_picture, read_options
    from ..photo import kind

    api.check_model(options)
    picture = as_picture(original, read_options(options))
    data = api.encode(picture, options, progress)
    dropped = [f"not kept: {', '.join(picture.dropped)}"] if picture.dropped else []
    facts = {
        **kind.common_facts(kind.info(data)),
        "reduced": picture.reduced,
        "dropped": list(picture.dropped),
        "notes": [*picture.notes, *dropped],
    }
    return data, facts


def report(source: str, output: str, facts: dict[str, Any], as_json: bool) -> None:
    """One file's result: JSON on stdout if asked for, else a line for who watches."""
    if as_json:
        click.echo(json.dumps({"input": source, "output": output, **facts}))
        return
    size = f"{facts['bytes']} bytes, {facts['bpp']:.3f} bits per pixel"
    remark(f"{show(source)} -> {show(output)}: {size}, {facts['seconds']:.1f} s")
