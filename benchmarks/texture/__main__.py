"""Measure and draw what resampled texture is worth.

    python -m benchmarks.texture --data DIR [--model NAME] [--out FOLDER]

DIR holds `kodak`, `photos` and `lpips` (metric weights). Writes `README.md`, `results.json`,
contact sheets and figures; needs the `bench` extra. 24 photographs take a quarter of an hour on
one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import RESULTS
from vlaec.train.photo.data import photo_paths

from .figures import write_figures
from .measure import AVIF, DEFAULT, FULL, MEAN, Coder, Original, Sampling, Scorer, Shot, Study
from .page import write_page
from .sheets import PLACES, Place, contact_sheet, places_of, worst_place
from .summary import summarise

RATES = (0.1, 0.15, 0.2, 0.3)
SAMPLING_RATE = 0.2  # of residuals, and of the gap between free and parallel samples
SHEET_RATE = 0.15
SHEET_ROWS = (AVIF, MEAN, "texture 0.5", FULL, DEFAULT)
WORST = 4  # photographs on the sheet of worst cases


class Album:
    """Crops for the contact sheets, cut and measured while the pictures are there."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.crops: dict[Place, list[np.ndarray]] = {}  # original, then SHEET_ROWS
        self.worst: dict[str, tuple[float, Place]] = {}  # LPIPS that texture adds, by photograph
        # By place, rate and row.
        self.scores: dict[str, dict[float, dict[str, dict[str, float]]]] = {}

    def score(self, original: Original, rate: float, pictures: dict[str, np.ndarray]) -> None:
        """Measure the places of one photograph."""
        for place in places_of(original.name):
            self.scores.setdefault(f"{place.title} ({place.photo})", {})[rate] = {
                row: self.scorer.crop(place.cut(original.rgb), place.cut(pictures[row]))
                for row in (AVIF, MEAN, DEFAULT)
            }

    def add(self, original: Original, shot: Shot, pictures: dict[str, np.ndarray]) -> None:
        """Cut the places of one photograph, and the one where texture goes most wrong."""
        for place in places_of(original.name):
            self._cut(place, original, pictures)
        before, after = (shot.scores[row].values["lpips"] for row in (MEAN, DEFAULT))
        corner = worst_place(original.rgb, pictures[MEAN], pictures[FULL])
        place = Place(f"LPIPS {before:.3f} to {after:.3f}", original.name, *corner)
        self.worst[original.name] = (after - before, place)
        self._cut(place, original, pictures)

    def _cut(self, place: Place, original: Original, pictures: dict[str, np.ndarray]) -> None:
        shown = [original.rgb, *(pictures[row] for row in SHEET_ROWS)]
        self.crops[place] = [place.cut(picture) for picture in shown]

    def write(self, folder: Path) -> dict[str, list[str]]:
        """Write `sheet-*.png`; returns the captions of each sheet's rows."""
        ranked = sorted(self.worst.values(), key=lambda entry: -entry[0])
        groups = {
            name: [place for place in places if place in self.crops]
            for name, places in PLACES.items()
        } | {"worst": [place for _, place in ranked[:WORST]]}
        captions = {}
        for name, places in groups.items():
            if not places:
                continue
            rows = [(f"{place.photo}: {place.title}", self.crops[place]) for place in places]
            sheet = contact_sheet(("original", *SHEET_ROWS), rows)
            sheet.save(folder / f"sheet-{name}.png", optimize=True)
            captions[name] = [place.title for place in places]
        return captions


def main() -> None:
    """Measure, then write everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.texture", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="a name from `vlaec models` (default: by quality)")
    parser.add_argument("--out", type=Path, default=RESULTS / "texture-report")
    parser.add_argument("--photos", choices=["kodak", "validation"], default="kodak")
    parser.add_argument("--limit", type=int, help="use only the first photographs")
    parser.add_argument("--only", nargs="+", help="use only photographs of these names")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="bits per pixel")
    parser.add_argument("--whole", action="store_true", help="deep metrics on whole pictures")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    if args.photos == "kodak":
        paths = sorted((args.data / "kodak").glob("*.png"))
    else:
        paths = photo_paths(args.data / "photos", held_out=True)
    if args.only:
        paths = [path for path in paths if path.stem in args.only]
    coder = Coder(args.model)
    scorer = Scorer(args.data / "lpips", args.whole)
    sampling_rate, sheet_rate = (
        min(args.rates, key=lambda rate: abs(rate - wanted))
        for wanted in (SAMPLING_RATE, SHEET_RATE)
    )
    album, sampling = Album(scorer), Sampling()
    originals: list[Original] = []
    shots: dict[str, dict[float, Shot]] = {}
    for path in paths[: args.limit]:
        original = scorer.original(path)
        originals.append(original)
        shots[original.name] = {}
        study = Study(coder, scorer, original)
        for rate, shot, pictures in study.shots(args.rates, sampling, sampling_rate):
            shots[original.name][rate] = shot
            album.score(original, rate, pictures)
            if rate == sheet_rate:
                album.add(original, shot, pictures)
        print(f"{len(originals)}/{len(paths[: args.limit])} {path.name}", file=sys.stderr)

    args.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {
        "models": [
            {
                "name": codec.card.name,
                "id": codec.card.id,
                "qualities": codec.card.qualities,
                "temperature": codec.sampler.temperature,
                "texture": codec.card.texture,
            }
            for codec in coder.codecs
        ],
        "set": args.photos,
        "whole": args.whole,
        "sampling_rate": sampling_rate,
        "sheet_rate": sheet_rate,
        "sheets": album.write(args.out),
        "places": album.scores,
        **summarise(originals, shots, sampling),
    }
    (args.out / "results.json").write_text(json.dumps(results, separators=(",", ":")) + "\n")
    write_figures(results, args.out)
    (args.out / "README.md").write_text(write_page(results, _command(args)))


def _command(args: argparse.Namespace) -> str:
    """How to make this page again, without the paths of one machine."""
    parts = [f"python -m benchmarks.texture --data DIR --photos {args.photos}"]
    if args.model:
        parts.append(f"--model {args.model}")
    if args.limit:
        parts.append(f"--limit {args.limit}")
    if args.only:
        parts.append("--only " + " ".join(args.only))
    if tuple(args.rates) != RATES:
        parts.append("--rates " + " ".join(f"{rate:g}" for rate in args.rates))
    if args.whole:
        parts.append("--whole")
    return " ".join(parts)


if __name__ == "__main__":
    main()
