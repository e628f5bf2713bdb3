"""The command `vlaec bench`. Importing this file needs neither torch nor the other parts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError, VlaecError
from .streams import say
from .terminal import stage_bar

if TYPE_CHECKING:
    from ..bench.summary import Summary
    from ..bench.tables import Table


class IncompleteError(VlaecError):
    """Something that was asked for was not measured; the report is there all the same."""


def _words(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in value.split(",") if word.strip()))


def _numbers(value: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in value.split(",") if word.strip())
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of numbers") from error


def _positive(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    numbers = _numbers(value)
    if not numbers or not all(number > 0 for number in numbers):
        raise click.BadParameter("expects numbers above 0, with commas between them")
    return numbers


def _rates(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    return _positive(context, parameter, value) if value else ()


def _strengths(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    numbers = _numbers(value)
    if not all(0 <= number <= 1 for number in numbers):
        raise click.BadParameter("expects numbers from 0 to 1, with commas between them")
    return numbers


def _levels(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, tuple[float, ...]]:
    levels = {}
    for value in values:
        name, equals, numbers = value.rpartition("=")  # vlaec:effort=2=10,20
        if not equals or not _numbers(numbers):
            raise click.BadParameter(f"{value!r} is not of the form CODEC=LEVEL,LEVEL,...")
        levels[name] = _numbers(numbers)
    return levels


def _references(
    context: click.Context, parameter: click.Parameter, values: tuple[Path, ...]
) -> tuple[Path, ...]:
    return tuple(
        path
        for value in values
        for path in (sorted(value.glob("*.json")) if value.is_dir() else [value])
    )


_FOLDER = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument(
    "folder",
    metavar="DIR",
    required=False,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--codecs",
    default="vlaec,jpeg,webp,avif,jxl",
    show_default=True,
    callback=_words,
    help="vlaec[:MODEL], jpeg[:444|baseline|progressive], jpegli, webp[:lossless], "
    "avif[:420|best], jxl[:lossless], hevc, vvc[:psnr], png.",
)
@click.option(
    "--metrics",
    default="psnr,ms-ssim,lpips,wd,fd",
    show_default=True,
    callback=_words,
    help="psnr, ms-ssim, lpips, lpips-vgg, dists, wd, wd-4 (Wasserstein distortion), ssimulacra2, "
    "fd (Frechet distance over patches), seeds (chance in vlaec's texture).",
)
@click.option(
    *("-o", "--output"),
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder of the report and of its cache; an interrupted run resumes from it.",
)
@click.option(
    "--levels",
    multiple=True,
    metavar="CODEC=L,L,...",
    callback=_levels,
    help="Levels of a codec: qualities; distances for jxl, QPs for vvc. May be repeated.",
)
@click.option(
    "--at",
    default="",
    metavar="BPP,BPP,...",
    callback=_rates,
    help="Bits per pixel at which every picture gets files of equal size, within 1 % where a "
    "codec's levels allow it.",
)
@click.option(
    "--textures",
    default="0",
    show_default=True,
    callback=_strengths,
    help="More texture strengths to decode vlaec's files with; the file's own is always measured.",
)
@click.option(
    "--rates",
    default="0.15,0.4",
    show_default=True,
    callback=_positive,
    help="Bits per pixel of the pictures and of interpolated numbers.",
)
@click.option(
    "--anchor",
    "anchors",
    default="avif",
    show_default=True,
    callback=_words,
    help="Codecs that BD-rates are measured against.",
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    type=_FOLDER,
    callback=_references,
    help="CompressAI result file, or a folder of them, to draw behind the curves.",
)
@click.option("--weights", type=_FOLDER, help="Folder of bin/get-weights.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--limit", type=click.IntRange(1), help="Take only the first N pictures.")
@click.option(
    "--pictures",
    type=click.IntRange(0),
    default=4,
    show_default=True,
    help="Pictures in the report's viewer.",
)
@click.option("--exact-pictures", "exact", is_flag=True, help="Show them without loss (larger).")
@click.option("--blind", is_flag=True, help="Also write blind.html, for a comparison by eye.")
@click.option(
    "--elo",
    "votes",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Print Elo ratings from the choices saved on blind.html; may be repeated, without DIR.",
)
@click.option("--keep-going", is_flag=True, help="Accept that something cannot be measured.")
@click.option("--ray", metavar="ADDRESS", help="Run on this Ray cluster (needs vlaec[ray]).")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def bench(
    folder: Path | None,
    codecs: tuple[str, ...],
    metrics: tuple[str, ...],
    output: Path,
    levels: dict[str, tuple[float, ...]],
    at: tuple[float, ...],
    textures: tuple[float, ...],
    rates: tuple[float, ...],
    anchors: tuple[str, ...],
    references: tuple[Path, ...],
    weights: Path | None,
    jobs: int,
    limit: int | None,
    pictures: int,
    exact: bool,
    blind: bool,
    votes: tuple[Path, ...],
    keep_going: bool,
    ray: str | None,
    as_json: bool,
) -> None:
    """Compare codecs on the pictures below DIR: rate against perceptual distortion.

    Writes a self-contained page, plots and the numbers. An interrupted run resumes. Exits with 1
    if anything that was named cannot be measured. Times count only with --jobs 1 on an idle
    machine.
    """
    if bool(votes) == (folder is not None):
        raise UsageError("give either a folder of pictures or --elo FILE")
    try:
        if votes:
            _print_elo(votes)
            return
        from ..bench.pipeline import Request, benchmark
        from ..bench.report import as_json as to_json
        from ..bench.tables import bd_table, level_table
    except ModuleNotFoundError as error:
        raise UsageError(f"{error}; the benchmark needs: pip install 'vlaec[bench]'") from error
    assert folder is not None
    for name in levels:
        if name not in codecs:
            raise UsageError(f"--levels {name}: not among --codecs")
    request = Request(
        folder=folder,
        output=output,
        codecs=codecs,
        metrics=metrics,
        levels=levels,
        textures=textures,
        rates=rates,
        at=at,
        anchors=anchors,
        references=references,
        weights=weights,
        jobs=jobs,
        limit=limit,
        pictures=pictures,
        exact=exact,
        blind=blind,
        ray=ray,
        command=_command(click.get_current_context()),
    )
    with stage_bar() as progress:
        summary = benchmark(request, progress)
    for name, reason in summary.unavailable.items():
        say(f"vlaec: {name} was not measured: {' '.join(reason.split())}")
    for failure in summary.failures:
        where = f" ({failure.codec}, level {failure.level:g})" if failure.level is not None else ""
        reason = " ".join(failure.reason.split())
        say(f"vlaec: {failure.image}{where}: {reason}")
    if as_json:
        click.echo(to_json(summary), nl=False)
    else:
        compared = [bd_table(summary, anchor) for anchor in summary.bd_rates]
        for table in [table for table in compared if table.rows] or [level_table(summary)]:
            _print_table(table)
        click.echo(f"report: {output / 'index.html'}")
    if (missing := _asked_for(click.get_current_context(), summary)) and not keep_going:
        raise IncompleteError(f"not measured: {', '.join(missing)} (--keep-going accepts that)")


def _asked_for(context: click.Context, summary: Summary) -> list[str]:
    """What was named by the user and is missing: codecs, metrics, and every picture."""
    default = click.core.ParameterSource.DEFAULT
    named = {
        kind
        for kind, option in (("codec", "codecs"), ("metric", "metrics"))
        if context.get_parameter_source(option) is not default
    }
    missing = [name for name in summary.unavailable if name.split(" ")[0] in named]
    return missing + list(dict.fromkeys(failure.image for failure in summary.failures))


def _print_elo(paths: tuple[Path, ...]) -> None:
    from ..bench.elo import ratings, read_votes

    votes = read_votes(paths)
    people = len({vote.rater for vote in votes})
    click.echo(f"Elo from {len(votes)} choices by {people} raters, with 95 % intervals")
    for codec, rating in ratings(votes).items():
        click.echo(f"{rating.value:6.0f}  [{rating.low:.0f}, {rating.high:.0f}]  {codec}")


def _print_table(table: Table) -> None:
    """A table in columns."""
    click.echo(table.title)
    widths = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
    for row in [table.header, *table.rows]:
        click.echo("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def _command(context: click.Context) -> str:
    """The call that makes the same report, without folders of this machine and what only speeds
    it up."""
    silent = {"folder", "output", "weights", "jobs", "ray", "as_json", "references", "levels"}
    silent |= {"votes", "keep_going"}
    words = ["vlaec", "bench", context.params["folder"].resolve().name]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params[str(parameter.name)]
        if name in silent or value is None:
            continue
        source = context.get_parameter_source(name)
        if source is click.core.ParameterSource.DEFAULT and name not in ("codecs", "metrics"):
            continue
        if value is True:
            words.append(parameter.opts[-1])
            continue
        text = ",".join(map(_plain, value)) if isinstance(value, tuple) else _plain(value)
        words += [parameter.opts[-1], text]
    for codec, numbers in context.params["levels"].items():
        words += ["--levels", f"{codec}={','.join(map(_plain, numbers))}"]
    return shlex.join(words)


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
