"""The commands `vlaec archive create` and `extract`. Importing this file needs no torch."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click

from .. import files
from ..errors import UsageError
from .flags import force_option, json_option, quiet_option, source_argument, verbose_option
from .terminal import check_names, check_streams, note, progress_bar, remark, show

_SEEDS = click.IntRange(0, 2**32 - 1)


@click.group()
def archive() -> None:
    """Sets of small images of one size as one file."""


@archive.command()
@source_argument
@click.option("-o", "--output", metavar="OUT", help="Output file; - is standard output.")
@click.option(
    "--model", required=True, metavar="NAME", help="Model for such images; see `vlaec models`."
)
@click.option(
    "--lossy", is_flag=True, help="Keep what the latent says of the images; resample the rest."
)
@click.option(
    "--seed", type=_SEEDS, help="Seed for resampling (lossy archives only).  [default: 0]"
)
@force_option
@json_option
@quiet_option
@verbose_option
def create(
    source: str,
    output: str | None,
    model: str,
    lossy: bool,
    seed: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Put a set of images into a .vlaa file: without loss, unless --lossy.

    IN is a folder of pictures (PNG, WebP, TIFF) of one size, or an .npz file with the array
    `images`, uint8 [N, H, W] of 0 and 255 or [N, H, W, 3]; - is such a file on standard input. OUT
    is IN with the suffix .vlaa unless given.
    """
    check_names(source, output)
    if seed is not None and not lossy:
        raise UsageError("a lossless archive has nothing to resample: --seed is for --lossy")
    output = output or ("-" if source == "-" else _beside(source, ".vlaa"))
    check_streams(output, as_json)
    files.check_output(output, force, source)

    from .. import zoo
    from ..sets import archive, kind
    from ..sets import images as image_sets

    archiver = archive.load_archiver(zoo.find(name=model).id)
    images, names, notes = image_sets.read(source, archiver.config.kind == "colour")
    start = time.perf_counter()
    with progress_bar("archiving") as progress:
        data = archiver.create(images, lossy, seed or 0, names, progress)
    seconds = time.perf_counter() - start
    files.write_atomically(output, data, force)
    for text in notes:
        note(f"{show(source)}: {text}")
    facts = kind.facts(kind.info(data))
    if as_json:
        more = {"input": source, "output": output, "seconds": round(seconds, 3), "notes": notes}
        click.echo(json.dumps({**more, **facts}))
        return
    remark(f"{show(source)} -> {show(output)}: {_sentence(facts)}, {seconds:.1f} s")


@archive.command()
@source_argument
@click.option(
    *("-o", "--output"),
    metavar="OUT",
    help="An .npz file, - for one on standard output, or else a folder of pictures.",
)
@click.option(
    "--seed",
    type=_SEEDS,
    help="Seed for another sample (lossy archives only).  [default: the file's]",
)
@click.option("--salvage", is_flag=True, help="Save what is whole of a damaged archive.")
@force_option
@json_option
@quiet_option
@verbose_option
def extract(
    source: str, output: str | None, seed: int | None, salvage: bool, force: bool, as_json: bool
) -> None:
    """Take the images out of a .vlaa file.

    IN may be - for standard input. OUT is IN with the suffix .npz, or, where the archive was made
    from a folder, IN without its suffix, unless given.
    """
    from ..sets import container, kind

    check_names(source, output)
    data = files.read_bytes(source)
    lost: list[str] = []
    if salvage:
        data, lost = kind.salvage(data)
    names = container.unpack(data).names
    if output is None:
        output = "-" if source == "-" else _beside(source, "" if names else ".npz")
    check_streams(output, as_json)
    to_folder = output != "-" and not output.lower().endswith(".npz")
    if to_folder:
        files.check_folder(output, force)
    else:
        files.check_output(output, force, source)

    from ..sets import archive
    from ..sets import images as image_sets

    start = time.perf_counter()
    with progress_bar("extracting") as progress:
        images = archive.extract(data, seed, progress)
    seconds = time.perf_counter() - start
    if to_folder:
        files.write_folder(output, image_sets.to_pictures(images, names), force)
    else:
        files.write_atomically(output, image_sets.to_npz(images), force)
    for name in lost:
        note(f"{show(source)}: lost: {name}")
    if as_json:
        facts = kind.facts(kind.info(data))
        more = {"input": source, "output": output, "seconds": round(seconds, 3)}
        click.echo(json.dumps({**more, **facts}))


def _sentence(facts: dict[str, Any]) -> str:
    rest = ""
    if facts["initial_bits"]:
        net = facts["bits_per_dim_without_initial"]
        rest = f" ({net:.4f} without the {facts['initial_bits']} initial bits)"
    images = f"{facts['images']} image{'s' if facts['images'] > 1 else ''}"
    return f"{images}, {facts['bytes']} bytes, {facts['bits_per_dim']:.4f} bits/dim{rest}"


def _beside(source: str, suffix: str) -> str:
    """`source` with another suffix. The suffix of a folder is part of its name."""
    path = Path(os.path.normpath(source))
    return f"{path}{suffix}" if path.is_dir() else str(path.with_suffix(suffix))
