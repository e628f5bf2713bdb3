"""What chance decides in the texture, and what it is worth beside other codecs at equal bytes.

    PYTHONPATH=CHECKOUT python benchmarks/chance/samples.py PICTURES --rates 0.15 0.3 --out FOLDER
    python -m benchmarks.chance PICTURES --samples now=FOLDER --samples before=FOLDER \\
        --weights DATA/lpips --out benchmarks/results/chance

The first command is for each version of vlaec that is compared. PICTURES is a folder of PNG files
whose sides are at least 64 pixels. Writes `results.json` and `README.md`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import Result, write
from benchmarks.rivals import rival
from benchmarks.texture import octaves
from vlaec.bench.metrics import PAIRS, load_patch_features
from vlaec.metrics.perceptual import frechet_distance

from .page import page

METRICS = ("psnr", "lpips", "dists", "wd")


class Scorer:
    """The metrics, loaded once."""

    def __init__(self, weights: Path | None) -> None:
        self.compare = {name: PAIRS[name].load(weights) for name in METRICS}
        self.patches = load_patch_features(weights)

    def score(self, original: np.ndarray, picture: np.ndarray, bpp: float) -> Result:
        """Metrics of a picture, and features for the Frechet distance."""
        values = {name: metric(original, picture) for name, metric in self.compare.items()}
        return {"bpp": bpp, **values, "patches": self.patches(picture)}


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--samples", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--rivals", default="avif:best,vvc")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.15, 0.2, 0.3])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--keep", type=Path, default=Path("rivals"), help="of rivals' pictures")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    folders = {name: Path(folder) for name, folder in (s.split("=", 1) for s in args.samples)}
    rivals = [name for name in args.rivals.split(",") if name]
    paths = sorted(args.pictures.glob("*.png"))
    scorer = Scorer(args.weights)
    cells: dict[float, dict[str, list[Result]]] = {rate: {} for rate in args.rates}
    originals = []
    for path in paths:
        with Image.open(path) as file:
            original = np.ascontiguousarray(file.convert("RGB"))
        originals.append(scorer.patches(original))
        files: dict[str, dict[float, bytes]] = {name: {} for name in rivals}
        for rate in args.rates:
            rows = cells[rate]
            for name, folder in folders.items():
                with np.load(folder / f"{path.stem}@{rate:g}.npz") as sample:
                    arrays = {key: sample[key] for key in sample.files}
                bpp = 8 * int(arrays.pop("bytes")) / original[..., 0].size
                seeds = octaves.chance(**arrays)
                for row, picture in ((name, "first"), (f"{name}, texture 0", "plain")):
                    cell = scorer.score(original, arrays[picture], bpp)
                    rows.setdefault(row, []).append(cell)
                rows[name][-1] |= seeds | _missing(original, arrays)
            for name in rivals:
                kept = args.keep / f"{path.stem}@{rate:g}.{name.replace(':', '-')}.npz"
                picture, bpp = rival(name, original, rate, files[name], kept)
                rows.setdefault(name, []).append(scorer.score(original, picture, bpp))
        print(path.name, file=sys.stderr)
    result: Result = {
        "pictures": [path.name for path in paths],
        "rates": {f"{rate:g}": _means(rows, originals) for rate, rows in cells.items()},
    }
    write(args.out / "results.json", result)
    (args.out / "README.md").write_text(page(result))


def _missing(original: np.ndarray, arrays: Mapping[str, np.ndarray]) -> Result:
    """Mean squares by octave of what texture 0 lacks, and of chroma, lacking and put back."""
    flat = arrays["plain"].astype(np.float64)
    lacking, texture = original - flat, arrays["first"] - flat
    return {
        "missing": octaves.luma(lacking),
        "missing_chroma": octaves.chroma(lacking),
        "texture_chroma": octaves.chroma(texture),
    }


def _means(rows: Mapping[str, list[Result]], originals: list[np.ndarray]) -> Result:
    """Means over pictures by row."""
    found: Result = {}
    for row, cells in rows.items():
        scalars = {key: float(np.mean([c[key] for c in cells])) for key in ("bpp", *METRICS)}
        patches = np.concatenate([cell["patches"] for cell in cells])
        scalars["fd"] = frechet_distance(np.concatenate(originals), patches)
        found[row] = {key: round(value, 4) for key, value in scalars.items()}
        if "texture" in cells[0]:
            found[row] |= _shares(cells)
    return found


def _shares(cells: list[Result]) -> Result:
    """What chance decides by octave, and how much of the fine chroma that is missing comes back."""
    luma = [{key: cell[key] for key in ("missing", "texture", "chance")} for cell in cells]
    lacking, back = (
        float(np.mean([cell[key][-1] for cell in cells]))
        for key in ("missing_chroma", "texture_chroma")
    )
    return {
        "chance": octaves.shares(luma),
        "fine_chroma_put_back": round(math.sqrt(back / lacking), 3),
    }


if __name__ == "__main__":
    main()
