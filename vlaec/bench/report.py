"""The report folder: a page that needs nothing else, figures, and the numbers in three forms."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from .charts import better, chart, colours, dashes
from .crops import QUALITY
from .curves import RESAMPLES
from .metrics import METRICS
from .references import compressai_result
from .results import Record
from .summary import Summary
from .tables import all_tables, as_markdown
from .verdict import limits, problems, reading_order, verdict
from .viewer import Exhibit


def write_report(
    folder: Path,
    summary: Summary,
    records: Iterable[Record],
    exhibits: Sequence[Exhibit],
    command: str,
    exact: bool = False,
) -> None:
    """Write everything below `folder`. Equal input gives equal files."""
    folder.mkdir(parents=True, exist_ok=True)
    images = _write_records(folder / "records.jsonl", records)
    html = page(summary, exhibits, command, images, exact)
    (folder / "index.html").write_text(html, encoding="utf-8")
    (folder / "summary.md").write_text(markdown(summary, command), encoding="utf-8")
    (folder / "summary.json").write_text(as_json(summary), encoding="utf-8")
    results, plots = folder / "results", folder / "plots"
    results.mkdir(exist_ok=True)
    for row in summary.curves:
        name = re.sub(r"[^\w.=-]+", "-", row)
        text = json.dumps(compressai_result(summary, row), indent=2)
        (results / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    plots.mkdir(exist_ok=True)
    for name in summary.metrics:
        if svg := _chart(summary, name, standalone=True):
            (plots / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")


def _write_records(path: Path, records: Iterable[Record]) -> list[str]:
    """One line for each record; returns the names of the pictures."""
    images = set()
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            images.add(record.image)
            file.write(json.dumps(_rounded({**asdict(record), "bpp": record.bpp})) + "\n")
    return sorted(images)


def _rounded(value: Any) -> Any:
    """Numbers with six digits, and no keys without a value."""
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items() if v is not None}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def as_json(summary: Summary) -> str:
    """The summary as JSON, with null for what has no value."""
    return json.dumps(asdict(summary), indent=2) + "\n"


def _scope(summary: Summary) -> str:
    return (
        f"{summary.images} pictures of {summary.dataset}, {summary.megapixels:.1f} megapixels, "
        f"{len(summary.curves)} codecs"
    )


def markdown(summary: Summary, command: str) -> str:
    """The summary for a README or an issue."""
    parts = [f"# Codecs on {summary.dataset}\n", *(f"{s}\n" for s in verdict(summary))]
    if sentences := problems(summary):
        parts.append("## Not measured as asked\n")
        parts.append("\n".join(f"- {problem}" for problem in sentences) + "\n")
    parts += [f"{_scope(summary)}.\n", f"    {command}\n"]
    parts += [as_markdown(table) for table in all_tables(summary)]
    parts.append("## Versions\n")
    parts.append("\n".join(f"- {row}: {version}" for row, version in summary.versions.items()))
    if sentences := limits(summary):
        parts.append("\n## Limits of the comparison\n")
        parts.append("\n".join(f"- {text}" for text in sentences))
    return "\n".join(parts).rstrip() + "\n"


def page(
    summary: Summary,
    exhibits: Sequence[Exhibit],
    command: str,
    images: Sequence[str],
    exact: bool = False,
) -> str:
    """The self-contained page."""
    lossy = [curve.codec for curve in summary.curves.values() if not curve.lossless]
    colour = colours(lossy)
    order = reading_order(summary.metrics)
    charts = [
        {
            "name": name,
            "title": METRICS[name].title,
            "better": better(METRICS[name].higher_is_better),
            "describe": METRICS[name].describe.split(". ")[0].rstrip(".") + ".",
            "svg": _chart(summary, name),
        }
        for name in order
    ]
    shown = "without loss" if exact else f"as AVIF of quality {QUALITY}, without a visible loss"
    return template("report.html.j2").render(
        dataset=summary.dataset,
        verdict=verdict(summary),
        problems=problems(summary),
        limits=limits(summary),
        scope=_scope(summary),
        command=command,
        anchor=summary.anchor,
        legend=[{"name": row, "colour": colour[row], "dashes": dashes(row)} for row in lossy],
        charts=[entry for entry in charts if entry["svg"]],
        references=[curve.codec for curve in summary.references],
        tables=list(all_tables(summary)),
        versions=list(summary.versions.items()),
        metrics=[(METRICS[name].title, METRICS[name].describe) for name in order],
        images=images,
        resamples=RESAMPLES,
        crop_note=f", shown {shown}",
        data=embedded([asdict(exhibit) for exhibit in exhibits]),
    )


def template(name: str) -> Any:
    """A template of this package."""
    environment = Environment(
        loader=PackageLoader("vlaec.bench", ""), autoescape=True, trim_blocks=True
    )
    return environment.get_template(name)


def _chart(summary: Summary, metric: str, standalone: bool = False) -> str:
    return chart(
        metric,
        METRICS[metric].title,
        list(summary.curves.values()),
        summary.references,
        METRICS[metric].higher_is_better,
        standalone,
    )


def embedded(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")
