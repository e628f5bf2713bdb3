"""The report folder: a page that needs nothing else, figures, and the numbers in three forms."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from .charts import chart, colours, dashes
from .metrics import METRICS
from .results import Record
from .summary import Summary, compressai_result
from .tables import Table, all_tables, as_markdown
from .viewer import Exhibit


def write_report(
    folder: Path,
    summary: Summary,
    records: Sequence[Record],
    exhibits: Sequence[Exhibit],
    command: str,
) -> None:
    """Write everything below `folder`. Equal input gives equal files."""
    from .plots import write_plots

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page(summary, exhibits, command), encoding="utf-8")
    (folder / "summary.md").write_text(markdown(summary, command), encoding="utf-8")
    (folder / "summary.json").write_text(as_json(summary), encoding="utf-8")
    lines = [json.dumps({**asdict(record), "bpp": record.bpp}) + "\n" for record in records]
    (folder / "records.jsonl").write_text("".join(lines), encoding="utf-8")
    results = folder / "results"
    results.mkdir(exist_ok=True)
    for row in summary.curves:
        name = re.sub(r"[^\w.=-]+", "-", row)
        text = json.dumps(compressai_result(summary, row), indent=2)
        (results / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    write_plots(summary, folder / "plots")


def as_json(summary: Summary) -> str:
    """The summary as JSON, with null for what has no value."""
    return json.dumps(asdict(summary), indent=2) + "\n"


def _scope(summary: Summary) -> str:
    return (
        f"{summary.images} pictures of {summary.dataset}, {summary.megapixels:.1f} megapixels, "
        f"{len(summary.curves)} codecs"
    )


def _problems(summary: Summary) -> list[str]:
    """What is missing from the report, and why, as sentences."""
    missing = [f"{name} was not measured: {why}" for name, why in summary.unavailable.items()]
    failed = [
        f"{f.image}{f' ({f.codec}, level {f.level:g})' if f.codec and f.level is not None else ''}:"
        f" {f.reason}"
        for f in summary.failures
    ]
    short = [
        f"{row} has {curve.images} of {summary.images} pictures"
        for row, curve in summary.curves.items()
        if curve.images < summary.images
    ]
    return missing + failed + short


def markdown(summary: Summary, command: str) -> str:
    """The summary for a README or an issue."""
    parts = [f"# Codecs on {summary.dataset}\n", f"{_scope(summary)}.\n", f"    {command}\n"]
    parts += [as_markdown(table) for table in all_tables(summary)]
    parts.append("## Versions\n")
    parts.append("\n".join(f"- {row}: {version}" for row, version in summary.versions.items()))
    if problems := _problems(summary):
        parts.append("\n## Problems\n")
        parts.append("\n".join(f"- {problem}" for problem in problems))
    return "\n".join(parts).rstrip() + "\n"


def page(summary: Summary, exhibits: Sequence[Exhibit], command: str) -> str:
    """The self-contained page."""
    template = files("vlaec.bench").joinpath("report.html").read_text(encoding="utf-8")
    lossy = [curve for curve in summary.curves.values() if not curve.lossless]
    return Template(template).substitute(
        dataset=escape(summary.dataset),
        scope=escape(_scope(summary)),
        command=escape(command),
        anchor=escape(summary.anchor),
        legend=_legend([curve.codec for curve in lossy]),
        charts="".join(
            f'<figure id="chart-{name}">{svg}</figure>'
            for name in summary.metrics
            if (svg := _chart(summary, name))
        ),
        tables="".join(map(_table, all_tables(summary))),
        versions=_list(f"{row}: {version}" for row, version in summary.versions.items()),
        metrics=_list(
            f"{METRICS[name].title}: {METRICS[name].describe}" for name in summary.metrics
        ),
        problems=_problem_section(_problems(summary)),
        data=_embedded([asdict(exhibit) for exhibit in exhibits]),
    )


def _chart(summary: Summary, metric: str) -> str:
    return chart(
        metric,
        METRICS[metric].title,
        list(summary.curves.values()),
        summary.references,
        METRICS[metric].higher_is_better,
    )


def _legend(rows: Sequence[str]) -> str:
    colour = colours(rows)
    return "".join(
        f'<label style="color:{colour[row]}"><input type="checkbox" checked '
        f'data-row="{escape(row)}"><svg width="26" height="10"><line x1="0" x2="26" y1="5" y2="5" '
        f'stroke-dasharray="{dashes(row)}"/></svg><span>{escape(row)}</span></label>'
        for row in rows
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    body = "".join(
        "<tr>" + "".join(_cell(c, (i, j) in table.best) for j, c in enumerate(row)) + "</tr>"
        for i, row in enumerate(table.rows)
    )
    return (
        f"<section><h2>{escape(table.title)}</h2><div class='wide'><table><thead><tr>{head}</tr>"
        f"</thead><tbody>{body}</tbody></table></div><p class='note'>{escape(table.note)}</p>"
        "</section>"
    )


def _cell(text: str, best: bool) -> str:
    """A table cell; an interval in brackets goes below its value."""
    value, bracket, interval = escape(text).partition(" [")
    small = f"<small>[{interval}</small>" if bracket else ""
    return f"<td class='best'>{value}{small}</td>" if best else f"<td>{value}{small}</td>"


def _list(lines: Any) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _problem_section(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    return f"<section id='problems'><h2>Problems</h2>{_list(problems)}</section>"


def _embedded(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")
