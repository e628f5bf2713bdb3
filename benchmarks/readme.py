"""README.md and docs/results.md, with every measured number read from the committed results.

    python -m benchmarks.readme           # write both from the templates in benchmarks/pages
    python -m benchmarks.readme --check   # exit 1 if either differs from what would be written

A template says `{{ ... }}` where a number goes; the names that it may use are those of `Results`.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vlaec import zoo
from vlaec.bench.search import CLOSE

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = {"README.md": ROOT / "README.md", "results.md": ROOT / "docs" / "results.md"}
DIGITS = {"psnr": 2, "fd": 1}  # all else has three


class Results:
    """What templates can ask for. A codec is named as in the bench's summary."""

    @cached_property
    def kodak(self) -> dict[str, Any]:
        """The summary of `vlaec bench` on the Kodak photographs."""
        return self.read("kodak/summary.json")

    @property
    def current(self) -> bool:
        """Whether the shipped models are the ones that were measured."""
        shipped = (card.id for card in zoo.list_models() if isinstance(card, zoo.PhotoCard))
        return all(model in self.kodak["versions"]["vlaec"] for model in shipped)

    def earlier(self, *models: str) -> str:
        """A remark where a result names models that are no longer shipped, else nothing."""
        shipped = {card.name for card in zoo.list_models()}
        return "" if shipped.issuperset(models) else " (measured with an earlier version)"

    def read(self, name: str) -> Any:
        """A result file as it is."""
        return json.loads((RESULTS / name).read_text())

    def bpp(self, level: float, codec: str = "vlaec") -> float:
        """Mean bits per pixel at a quality."""
        curve = self.kodak["curves"][codec]
        return float(curve["bpp"][curve["levels"].index(level)])

    @cached_property
    def realism(self) -> dict[str, Any]:
        """The same with the metrics that compare texture, at fewer levels; empty if unmeasured."""
        name = "kodak-realism/summary.json"
        return self.read(name) if (RESULTS / name).exists() else {}

    def _with(self, metric: str) -> dict[str, Any]:
        """The summary of the Kodak photographs that has a metric."""
        return self.kodak if metric in self.kodak["metrics"] else self.realism

    def value(
        self, codec: str, metric: str, bpp: float, summary: dict[str, Any] | None = None
    ) -> str:
        """A codec's metric at a rate, linear in the rate's logarithm; a dash beyond its ends, where
        rates that count as equal are within.
        """
        summary = summary or self._with(metric)
        curve = summary["curves"][codec]
        rates, values = curve["bpp"], curve["metrics"][metric]
        if not rates[0] / (1 + CLOSE) <= bpp <= rates[-1] * (1 + CLOSE):
            return "-"
        value = float(np.interp(np.log(bpp), np.log(rates), values))
        return f"{value:.{DIGITS.get(metric, 3)}f}"

    def percent(self, ours: float | str, theirs: float | str) -> str:
        """By how many per cent the first number is below (or above: negative) the second."""
        return f"{100 * (1 - float(ours) / float(theirs)):.0f}"

    def bd_rate(
        self,
        codec: str,
        metric: str,
        anchor: str | None = None,
        summary: dict[str, Any] | None = None,
    ) -> str:
        """BD-rate against an anchor, with sign and interval: `-43 % (-47 to -39)`."""
        summary = summary or self._with(metric)
        rate = summary["bd_rates"][anchor or summary["anchor"]][metric].get(codec)
        if rate is None or rate["value"] is None:
            return "-"
        if rate["low"] is None:
            return f"{rate['value']:+.0f} %"
        return f"{rate['value']:+.0f} % ({rate['low']:+.0f} to {rate['high']:+.0f})"

    def lead(
        self, codec: str, metric: str, anchor: str, summary: dict[str, Any] | None = None
    ) -> str:
        """The BD-rate alone, in italics where its interval has zero in it."""
        rate = (summary or self._with(metric))["bd_rates"][anchor][metric][codec]
        text = f"{rate['value']:+.0f} %"
        return f"*{text}*" if rate["low"] <= 0 <= rate["high"] else text

    def crops(self, metric: str) -> dict[str, list[str]]:
        """By kind of crop, for each level: of how many of the kind texture made a metric worse than
        it is without, and by how much all changed, in per cent: `1 of 5, -8 %`."""
        lines = (RESULTS / "crops" / "records.jsonl").read_text().splitlines()
        values: dict[str, dict[float, dict[str, list[float]]]] = {}
        for row in sorted(map(json.loads, lines), key=lambda row: str(row["image"])):
            kind = values.setdefault(row["image"].partition("-")[0], {})
            level = kind.setdefault(row["level"], {})
            level.setdefault(row["codec"], []).append(row["metrics"][metric])
        return {
            kind: [
                _worse(np.array(of["vlaec"]), np.array(of["vlaec texture=0"]))
                for _, of in sorted(levels.items())
            ]
            for kind, levels in values.items()
        }


def _worse(texture: np.ndarray, none: np.ndarray) -> str:
    share = float(np.exp(np.log(texture / none).mean()) - 1)
    return f"{int((texture > none).sum())} of {len(none)}, {share:+.0%}".replace("%", " %")


def render(name: str) -> str:
    """The text of a page."""
    environment = Environment(
        loader=FileSystemLoader(ROOT / "benchmarks" / "pages"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    return environment.get_template(name).render(r=Results())


def main(arguments: list[str] | None = None) -> int:
    """Write or check both pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args(arguments)
    stale = [path for name, path in PAGES.items() if path.read_text() != render(name)]
    if not args.check:
        for name, path in PAGES.items():
            path.write_text(render(name))
        return 0
    for path in stale:
        print(
            f"{path.relative_to(ROOT)}: not what its template and the results say", file=sys.stderr
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
