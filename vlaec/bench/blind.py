"""A comparison by eye: a page with the original and two crops whose codecs are not told.

Files are of equal size. The page records choices and gives them as CSV, which `elo` reads.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from .report import embedded, template
from .viewer import Exhibit

CLOSE = 0.1  # files further apart in size are not put side by side


def trials(exhibits: Sequence[Exhibit]) -> list[dict[str, Any]]:
    """Every pair of rows of every picture and rate whose files are nearly equal in size.

    Names are coded, so that whoever reads along does not see them by accident.
    """
    corners = []
    for number, exhibit in enumerate(exhibits):
        for rate, shots in exhibit.shots.items():
            for a, b in combinations(shots, 2):
                if abs(shots[a].bpp / shots[b].bpp - 1) <= CLOSE:
                    coded = [base64.b64encode(row.encode()).decode() for row in (a, b)]
                    corners.append({"picture": number, "rate": rate, "rows": coded})
    return corners


def write_blind(path: Path, dataset: str, exhibits: Sequence[Exhibit]) -> None:
    """Write the page, which needs nothing else."""
    pictures = [
        {
            "name": exhibit.image,
            "original": exhibit.original,
            "shots": {
                rate: {
                    base64.b64encode(row.encode()).decode(): {"source": s.source, "bpp": s.bpp}
                    for row, s in shots.items()
                }
                for rate, shots in exhibit.shots.items()
            },
        }
        for exhibit in exhibits
    ]
    data = embedded({"pictures": pictures, "trials": trials(exhibits)})
    html = template("blind.html.j2").render(dataset=dataset, data=data)
    path.write_text(html, encoding="utf-8")
