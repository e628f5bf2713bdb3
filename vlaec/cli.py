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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from vlaec import __version__, files
from vlaec.bench.cli import bench
from vlaec.errors import BadImageError, UsageError, VlaecError


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


_source = click.argument("source", metavar="IN")
_output = click.option("-o", "--output", metavar="OUT", help="Output file; - is standard output.")
_force = click.option("--force", is_flag=True, help="Overwrite the output if it exists.")
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vlaec", message="%(prog)s %(version)s")
def cli() -> None:
    """A lossy image codec that stores structure and resamples texture."""


@cli.command()
@_source
@_output
@click.option(
    *("-q", "--quality"), type=_Number(0, 100), default=50, show_default=True, help="0 to 100."
)
@click.option("--model", metavar="NAME", help="Model to compress with; see `vlaec models`.")
@_force
@_json
def compress(
    source: str, output: str | None, quality: float, model: str | None, force: bool, as_json: bool
) -> None:
    """Compress a picture to a .vlae file.

    IN may be - for standard input. OUT is IN with the suffix .vlae unless given.
    """
    from vlaec import container, images

    output = output or ("-" if source == "-" else str(Path(source).with_suffix(".vlae")))
    _check_streams(output, as_json)
    original = files.read_bytes(source)
    files.check_output(output, force, source)
    try:
        picture = images.read(io.BytesIO(original))
    except BadImageError as error:
        raise BadImageError(f"{_show(source)}: {error}") from error

    from vlaec import codec

    start = time.perf_counter()
    with _progress("compressing") as progress:
        data = codec.encode(picture, quality, model, progress)
    seconds = time.perf_counter() - start
    files.write_atomically(output, data, force)
    if picture.reduced:
        click.echo(f"vlaec: {_show(source)} has 16 bits per channel; only 8 are kept", err=True)
    _report(container.info(data), source, output, seconds, as_json, {"reduced": picture.reduced})


@cli.command()
@_source
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
@_force
@_json
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
    from vlaec import container, images

    form = form or _format_of(output)
    suffix = images.OUTPUT_FORMATS[form][0]
    output = output or ("-" if source == "-" else str(Path(source).with_suffix(suffix)))
    _check_streams(output, as_json)
    data = files.read_bytes(source)
    files.check_output(output, force, source)
    info = container.info(data)

    from vlaec import codec

    start = time.perf_counter()
    with _progress("decompressing") as progress:
        picture = codec.decode(data, texture, seed, progress)
    seconds = time.perf_counter() - start
    files.write_atomically(output, images.to_bytes(picture, form), force)
    used = {
        "texture": info.header.texture if texture is None else texture,
        "seed": info.header.seed if seed is None else seed,
    }
    _report(info, source, output, seconds, as_json, used)


@cli.command()
@_source
@_json
def info(source: str, as_json: bool) -> None:
    """Show what a .vlae file holds: size, model, bytes per stream, predicted against actual."""
    from vlaec import container

    summary = container.info(files.read_bytes(source))
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
        "file": f"{_show(source)} (format version {summary.version})",
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
@_json
def models(as_json: bool) -> None:
    """List the installed models."""
    from vlaec import zoo

    fields = ("name", "id", "description", "parameters", "bytes", "default")
    cards = [{key: getattr(card, key) for key in fields} for card in zoo.list_models()]
    if as_json:
        click.echo(json.dumps(cards))
        return
    for card in cards:
        mark = " (default)" if card["default"] else ""
        size = f"{card['parameters'] / 1e6:.1f} M parameters, {card['bytes'] / 1e6:.1f} MB"
        click.echo(f"{card['name']:<10} {card['id']}  {size}{mark}: {card['description']}")


def _format_of(output: str | None) -> str:
    """The format that the suffix of the output names; png without one."""
    from vlaec import images

    suffix = Path(output).suffix.lower() if output else ""
    for form, suffixes in images.OUTPUT_FORMATS.items():
        if suffix in suffixes:
            return form
    if suffix and output is not None and not output.startswith("/dev/"):
        raise UsageError(f"the suffix {suffix} names no known format; choose one with --format")
    return "png"


def _check_streams(output: str, as_json: bool) -> None:
    if output != "-":
        return
    if as_json:
        raise UsageError("--json and -o - both want standard output")
    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal; name a file with -o")


def _common(info: Any) -> dict[str, Any]:
    """The facts that every command reports. `info` is a `container.Info`."""
    from vlaec import zoo

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
        arrow = f"{_show(source)} -> {_show(output)}"
        click.echo(f"{arrow}: {size}, {seconds:.1f} s", err=True)


def _show(path: str) -> str:
    return "standard stream" if path == "-" else path


@contextmanager
def _progress(title: str) -> Iterator[Callable[[float], None] | None]:
    """A bar on stderr if that is a terminal; yields the function to call with 0..1, or None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)


cli.add_command(bench)


def main() -> NoReturn:
    """Entry point of the console script."""

    def stop(signum: int, frame: Any) -> NoReturn:
        raise SystemExit(128 + signum)  # unlike the default action, runs the clean-up of `files`

    signal.signal(signal.SIGTERM, stop)
    cli.main(prog_name="vlaec")


if __name__ == "__main__":
    main()
