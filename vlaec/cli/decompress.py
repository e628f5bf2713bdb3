"""The command `vlaec decompress`. Importing this file needs no network."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import files
from ..errors import UsageError
from ..options import SCALES, DecompressOptions
from .compress import report
from .flags import Many, Number, file_options, output_option, sources_argument
from .many import Task, is_many, run_many
from .terminal import check_streams, note, progress_bar, show, use_threads

if TYPE_CHECKING:
    from .. import images


@click.command()
@sources_argument
@output_option()
@click.option(
    "--texture",
    type=Number(0, 1),
    help="Strength of the invented texture: 0 is the most faithful picture, 1 full texture.  "
    "[default: what the file asks for]",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 255),
    help="Another seed gives another texture.  [default: the file's]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["png", "webp", "tiff", "jpeg"]),
    help="Format of the picture.  [default: by the suffix of OUT, else png]",
)
@click.option(
    "--scale",
    type=click.Choice([f"1/{scale}" for scale in SCALES[1:]]),
    help="Preview of this share of width and height, without texture.",
)
@click.option("--fit", type=click.IntRange(1), metavar="N", help="Preview with sides of N at most.")
@click.option(
    "--output-quality", type=click.IntRange(1, 100), help="Quality of a JPEG.  [default: 95]"
)
@click.option("--background", metavar="COLOUR", help="Put transparency on this colour for JPEG.")
@click.option(
    "--samples",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Pictures with N seeds, from --seed on: OUT.seed0.png, OUT.seed1.png, ...",
)
@click.option("--salvage", is_flag=True, help="Save what is whole of a damaged file.")
@file_options(".vlae.png")
def decompress(
    sources: tuple[str, ...],
    output: str | None,
    form: str | None,
    many: Many,
    force: bool,
    as_json: bool,
    threads: int | None,
    scale: str | None,
    fit: int | None,
    output_quality: int | None,
    background: str | None,
    samples: int | None,
    salvage: bool,
    **values: Any,
) -> None:
    """Decompress .vlae files to pictures.

    IN is a .vlae file, a folder of them, or - for standard input. OUT is IN with the format's
    suffix appended (photo.vlae.png) unless given. With several inputs OUT is a folder.
    """
    from .. import images

    options = DecompressOptions(**values, scale=int(scale[2:]) if scale else 1)
    if fit is not None and (scale or options.texture or options.seed is not None):
        raise UsageError("--fit excludes --scale, --texture and --seed")
    writing = images.WriteOptions(quality=output_quality, background=_colour(background))
    if is_many(sources, output, many):
        form = form or _format_of(many.suffix)
        ending = "{ext}" + images.OUTPUT_FORMATS[form][0]
        work = partial(
            decompress_bytes, options=options, form=form, writing=writing, fit=fit, salvage=salvage
        )
        if samples:
            raise UsageError("--samples takes one file, not several")
        task = Task("decompressed", work, [".vlae"], ending)
        run_many(task, sources, output, many, force, as_json, threads)
        return
    (source,) = sources
    form = form or _format_of(output or many.suffix)
    if source == "-":
        output = output or "-"
    elif many.suffix:
        output = output or str(Path(source).with_suffix("")) + many.suffix
    else:
        output = output or source + images.OUTPUT_FORMATS[form][0]
    check_streams(output, as_json)
    data = files.read_bytes(source)
    targets = {output: options}
    if samples:
        if output == "-" or fit or scale:
            raise UsageError("--samples excludes -o -, --scale and --fit")
        targets = _name_samples(output, samples, options, data)
    for target in targets:
        files.check_output(target, force, source)
    for target, how in targets.items():
        start = time.perf_counter()
        with use_threads(threads), progress_bar("decompressing") as progress:
            picture, facts = decompress_bytes(data, how, form, writing, fit, progress, salvage)
        facts["seconds"] = round(time.perf_counter() - start, 3)
        files.write_atomically(target, picture, force)
        for text in facts.pop("notes"):
            note(f"{show(target)}: {text}")
        report(source, target, facts, as_json)


def _name_samples(
    output: str, count: int, options: DecompressOptions, data: bytes
) -> dict[str, DecompressOptions]:
    """Outputs with their seeds: consecutive ones, the first being asked for or the file's own."""
    from ..photo import container

    first = container.info(data).header.seed if options.seed is None else options.seed
    stem, suffix = os.path.splitext(output)
    seeds = [(first + index) % 256 for index in range(count)]
    return {f"{stem}.seed{seed}{suffix}": replace(options, seed=seed) for seed in seeds}


def decompress_bytes(
    data: bytes,
    options: DecompressOptions,
    form: str,
    writing: images.WriteOptions,
    fit: int | None = None,
    progress: Callable[[float], None] | None = None,
    salvage: bool = False,
) -> tuple[bytes, dict[str, Any]]:
    """A picture file of a `.vlae` file, and what to report of it. Raises VlaecError."""
    from .. import api, images, preview
    from ..photo import kind

    lost: list[str] = []
    if salvage:
        data, lost = kind.salvage(data)
    info = kind.info(data)
    header = info.header
    if fit is None:
        width, height = preview.reduced_size((header.width, header.height), options.scale)
        images.check(form, width, height, "alpha" in info.sizes, writing)
        picture = api.decode(data, options, progress)
    else:
        scale = preview.scale_for((header.width, header.height), fit)
        picture = api.decode(data, replace(options, scale=scale, texture=0.0), progress)
        picture = preview.fit(picture, fit)
    facts = {
        **kind.common_facts(info),
        "texture": header.texture if options.texture is None else options.texture,
        "seed": header.seed if options.seed is None else options.seed,
    }
    encoded = images.encode(picture, form, writing)
    facts["dropped"] = list(encoded.dropped)
    facts["notes"] = [f"not kept: {name}" for name in encoded.dropped]
    if salvage:
        facts["lost"] = lost
        facts["notes"] += [f"lost: {name}" for name in lost]
    return encoded.data, facts


def _colour(name: str | None) -> tuple[int, int, int] | None:
    """Red, green and blue of a colour by its name or as #rrggbb."""
    if name is None:
        return None
    from PIL import ImageColor

    try:
        red, green, blue, *_ = ImageColor.getrgb(name)
    except ValueError as error:
        raise UsageError(f"{name!r} is no colour; it is a name or #rrggbb") from error
    return red, green, blue


def _format_of(output: str | None) -> str:
    """The format that the suffix of the output names; png without one."""
    from .. import images

    suffix = Path(output).suffix.lower() if output else ""
    for form, suffixes in images.OUTPUT_FORMATS.items():
        if suffix in suffixes:
            return form
    if suffix and output is not None and (os.path.isfile(output) or not os.path.exists(output)):
        raise UsageError(f"the suffix {suffix} names no known format; choose one with --format")
    return "png"
