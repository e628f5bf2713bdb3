"""The command line. Only this file prints, and only here errors become messages and exit codes.

Codec and rich are imported where they are used: `--help` and `info` start without torch.
"""

from __future__ import annotations

import io
import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from .. import __version__, files
from ..errors import BadImageError, UsageError, VlaecError
from .archive import archive, show_archive
from .bench import bench
from .terminal import check_streams, force_option, json_option, progress_bar, show, source_argument


class _Program(click.Group):
    """The group of commands, with one place where every error becomes one line on stderr."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = error.exit_code
        except click.ClickException as error:
            code = _fail(error.format_message(), error.exit_code)
        except VlaecError as error:
            code = _fail(str(error), error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            code = _fail("interrupted", 130)
        except BrokenPipeError:
            # Nobody reads standard output any more; keep Python from flushing into it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = 1
        except MemoryError:
            code = _fail("out of memory; try a smaller picture", 1)
        except OSError as error:
            code = _fail(str(error), 2)
        except Exception as error:
            if os.environ.get("VLAEC_TRACEBACK"):
                raise
            reason = f"{type(error).__name__}: {error}"
            code = _fail(f"internal error, please report it ({reason})", 1)
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    click.echo("vlaec: " + " ".join(message.split()), err=True)
    return code


class _Number(click.FloatRange):
    """A float within a closed range; unlike click's own, it refuses nan."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail("nan is not a number", param, ctx)
        return number


_output = click.option("-o", "--output", metavar="OUT", help="Output file; - is standard output.")


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vlaec", message="%(prog)s %(version)s")
def cli() -> None:
    """A lossy image codec that stores structure and resamples texture."""


@cli.command()
@source_argument
@_output
@click.option(
    *("-q", "--quality"), type=_Number(0, 100), default=50, show_default=True, help="0 to 100."
)
@click.option("--model", metavar="NAME", help="Model to compress with; see `vlaec models`.")
@click.option(
    "--effort",
    type=click.IntRange(0, 9),
    default=0,
    show_default=True,
    help="Search for a better file: 2 takes about a minute per megapixel and core, 9 five.",
)
@force_option
@json_option
def compress(
    source: str,
    output: str | None,
    quality: float,
    model: str | None,
    effort: int,
    force: bool,
    as_json: bool,
) -> None:
    """Compress a picture to a .vlae file.

    IN may be - for standard input. OUT is IN with the suffix .vlae unless given.
    """
    from .. import images
    from ..photo import container

    output = output or ("-" if source == "-" else str(Path(source).with_suffix(".vlae")))
    check_streams(output, as_json)
    original = files.read_bytes(source)
    files.check_output(output, force, source)
    try:
        picture = images.read(io.BytesIO(original))
    except BadImageError as error:
        raise BadImageError(f"{show(source)}: {error}") from error

    from ..photo import codec

    start = time.perf_counter()
    with progress_bar("compressing") as progress:
        data = codec.encode(picture, quality, model, progress, effort)
    seconds = time.perf_counter() - start
    files.write_atomically(output, data, force)
    if picture.reduced:
        click.echo(f"vlaec: {show(source)} has 16 bits per channel; only 8 are kept", err=True)
    _report(container.info(data), source, output, seconds, as_json, {"reduced": picture.reduced})


@cli.command()
@source_argument
@_output
@click.option(
    "--texture",
    type=_Number(0, 1),
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
@force_option
@json_option
def decompress(
    source: str,
    output: str | None,
    texture: float | None,
    seed: int | None,
    form: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Decompress a .vlae file to a picture.

    IN may be - for standard input. OUT is IN with the suffix of the format unless given.
    """
    from .. import images
    from ..photo import container

    form = form or _format_of(output)
    suffix = images.OUTPUT_FORMATS[form][0]
    output = output or ("-" if source == "-" else str(Path(source).with_suffix(suffix)))
    check_streams(output, as_json)
    data = files.read_bytes(source)
    files.check_output(output, force, source)
    info = container.info(data)

    from ..photo import codec

    start = time.perf_counter()
    with progress_bar("decompressing") as progress:
        picture = codec.decode(data, texture, seed, progress)
    seconds = time.perf_counter() - start
    files.write_atomically(output, images.to_bytes(picture, form), force)
    used = {
        "texture": info.header.texture if texture is None else texture,
        "seed": info.header.seed if seed is None else seed,
    }
    _report(info, source, output, seconds, as_json, used)


@cli.command()
@source_argument
@json_option
def info(source: str, as_json: bool) -> None:
    """Show what a .vlae or .vlaa file holds: size, model, bytes, predicted against actual."""
    from ..photo import container
    from ..sets import container as archive_container

    data = files.read_bytes(source)
    if data.startswith(archive_container.MAGIC):
        show_archive(source, archive_container.info(data), as_json)
        return
    summary = container.info(data)
    header = summary.header
    facts = {
        "file": source,
        "format_version": summary.version,
        **_common(summary),
        "grey": header.grey,
        "texture": round(header.texture, 3),
        "seed": header.seed,
        "sizes": summary.sizes,
        "bits_back_symbols": summary.bits_back,
        "stack_bytes": summary.stack_bits // 8,
        "predicted_bytes": round(summary.predicted_bits / 8, 1),
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    sizes = ", ".join(f"{name} {size}" for name, size in summary.sizes.items())
    name = facts["model"] or "not installed"
    more = summary.stack_bits / max(summary.predicted_bits, 1) - 1
    rows = {
        "file": f"{show(source)} (format version {summary.version})",
        "picture": f"{header.width} x {header.height}, {'grey' if header.grey else 'colour'}",
        "quality": f"{header.quality:g}",
        "model": f"{name} ({header.model_id.hex()})",
        "texture": f"{header.texture:.2f}, seed {header.seed}",
        "size": f"{summary.total} bytes, {summary.bpp:.4f} bits per pixel",
        "bytes": sizes,
        "stack": f"{facts['stack_bytes']} bytes; the model predicts {facts['predicted_bytes']} "
        f"({more:+.2%})",
        "bits-back": f"{summary.bits_back} symbols",
    }
    for key, value in rows.items():
        click.echo(f"{key:<10} {value}")


@cli.command()
@json_option
def models(as_json: bool) -> None:
    """List the installed models."""
    from .. import zoo

    fields = ("name", "id", "kind", "description", "parameters", "bytes", "default", "qualities")
    cards = [{key: getattr(card, key) for key in fields} for card in zoo.list_models()]
    if as_json:
        click.echo(json.dumps(cards))
        return
    width = max((len(card["name"]) for card in cards), default=0)
    for card in cards:
        lowest, highest = card["qualities"]
        mark = f" (default for qualities {lowest:g} to {highest:g})" if card["default"] else ""
        size = f"{card['parameters'] / 1e6:.1f} M parameters, {card['bytes'] / 1e6:.1f} MB"
        click.echo(f"{card['name']:<{width}} {card['id']}  {size}{mark}: {card['description']}")


def _format_of(output: str | None) -> str:
    """The format that the suffix of the output names; png without one."""
    from .. import images

    suffix = Path(output).suffix.lower() if output else ""
    for form, suffixes in images.OUTPUT_FORMATS.items():
        if suffix in suffixes:
            return form
    if suffix and output is not None and not output.startswith("/dev/"):
        raise UsageError(f"the suffix {suffix} names no known format; choose one with --format")
    return "png"


def _common(info: Any) -> dict[str, Any]:
    """The facts that every command reports. `info` is a `container.Info`."""
    from .. import zoo

    header = info.header
    return {
        "bytes": info.total,
        "bpp": round(info.bpp, 5),
        "width": header.width,
        "height": header.height,
        "model": zoo.find_name(header.model_id),
        "model_id": header.model_id.hex(),
        "quality": header.quality,
    }


def _report(
    info: Any, source: str, output: str, seconds: float, as_json: bool, more: dict[str, Any]
) -> None:
    """JSON on stdout if asked for; else a line on a terminal and nothing in a pipe."""
    if as_json:
        facts = {"input": source, "output": output, **_common(info), **more}
        click.echo(json.dumps({**facts, "seconds": round(seconds, 3)}))
    elif sys.stderr.isatty():
        size = f"{info.total} bytes, {info.bpp:.3f} bits per pixel"
        arrow = f"{show(source)} -> {show(output)}"
        click.echo(f"{arrow}: {size}, {seconds:.1f} s", err=True)


cli.add_command(archive)
cli.add_command(bench)


def main() -> NoReturn:
    """Entry point of the console script."""

    def stop(signum: int, frame: Any) -> NoReturn:
        raise SystemExit(128 + signum)  # unlike the default action, runs the clean-up of `files`

    signal.signal(signal.SIGTERM, stop)
    cli.main(prog_name="vlaec")
