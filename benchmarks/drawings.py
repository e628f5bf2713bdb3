"""What the encoder's choice of texture strength is worth: on drawings, and on photographs.

    python -m benchmarks.drawings --data DATA/photos --weights DATA/lpips

Drawings are made here; the photographs are those held out and some that were trained on, 256x256
from the middle. Beside the strength that a file names, what one for each region would be worth, if
it cost nothing. Writes benchmarks/drawings.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from benchmarks.ablations import middle_square, middle_squares, table, to_tensor
from vlaec.bench.metrics import METRICS, Compare
from vlaec.images import Picture
from vlaec.metrics.variance import SHARES, WINDOW, log_variances
from vlaec.photo import codec
from vlaec.photo.container import info
from vlaec.photo.strength import STRENGTHS
from vlaec.train.photo.data import photo_paths
from vlaec.train.photo.pages import draw_pages

SIDE = 256
COMPARED = ("lpips", "dists")
SHOWN = ("texture 0", "as chosen", "by region", "texture 1")
REGION = 64  # pixels on a side
WORST = 10


def drawings() -> dict[str, np.ndarray]:
    """Pictures [SIDE, SIDE, 3] uint8 by name."""
    y, x = np.mgrid[:SIDE, :SIDE]
    random = np.random.default_rng(0)
    grey = {
        "squares": 255 * ((x // 8 + y // 8) % 2),
        "stripes": 200 * (x // 3 % 2),
        "rings": 127 * (np.cos((x**2 + y**2) / 600) + 1),
    }
    pages = draw_pages(4, SIDE, random)
    return {
        "one colour": np.full((SIDE, SIDE, 3), (90, 140, 200), np.uint8),
        "gradient": np.stack([x * 0.6 + 40, y * 0.5 + 60, 200 - x * 0.3], 2).astype(np.uint8),
        **{name: np.repeat(v[:, :, None], 3, 2).astype(np.uint8) for name, v in grey.items()},
        "chart": _chart(),
        "menu": _menu(),
        "terminal": _terminal(),
        **{f"page {i + 1}": page for i, page in enumerate(pages)},
        "noise": random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8),
    }


def _chart() -> np.ndarray:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    for i, colour in enumerate(("crimson", "teal", "orange", "navy", "olive", "plum", "peru")):
        draw.rectangle((24 + 30 * i, 230 - 25 * i, 46 + 30 * i, 240), colour)
    draw.line((12, 10, 12, 240, 250, 240), "black", 2)
    return np.array(image)


def _menu() -> np.ndarray:
    image = Image.new("RGB", (SIDE, SIDE), (30, 30, 40))
    draw = ImageDraw.Draw(image)
    for i in range(12):
        draw.rounded_rectangle((10, 10 + 20 * i, 120 + 9 * i, 24 + 20 * i), 4, (60, 90, 160))
        draw.text((14, 11 + 20 * i), f"Menu entry {i}", "white")
    return np.array(image)


def _terminal() -> np.ndarray:
    """Letters of pixels, in a typeface that training has not seen."""
    font = ImageFont.load_default_imagefont()
    image = Image.new("RGB", (SIDE // 2, SIDE // 2), "black")
    draw = ImageDraw.Draw(image)
    for i, colour in enumerate(("white", "lime", "silver", "yellow", "white", "cyan")):
        text = f"$ list --line {i}\n  done in {i}{i} ms"
        draw.text((4, 4 + 20 * i), text, colour, font, spacing=0)
    return np.array(image.resize((SIDE, SIDE), Image.Resampling.NEAREST))


class Choice:
    """Of one picture at one quality: the strength that its file names, and how far the decoded
    pictures are from it, by metric and SHOWN."""

    def __init__(self, pixels: np.ndarray, quality: float, metrics: dict[str, Compare]) -> None:
        data = codec.encode(Picture(pixels), quality)
        self.strength = info(data).header.texture
        by_strength = {s: codec.decode(data, s).rgb for s in (*STRENGTHS, 0.0)}
        decoded = {
            "texture 0": by_strength[0.0],
            "as chosen": codec.decode(data).rgb,
            "by region": by_region(pixels, by_strength),
            "texture 1": by_strength[1.0],
        }
        self.distances = {
            metric: {name: _value(compare, pixels, decoded[name]) for name in SHOWN}
            for metric, compare in metrics.items()
        }

    def excess(self, metric: str) -> float:
        """What the chosen strength adds to the distance without texture, as a share of that."""
        found = self.distances[metric]
        return found["as chosen"] / max(found["texture 0"], 1e-6) - 1


def by_region(original: np.ndarray, pictures: dict[float, np.ndarray]) -> np.ndarray:
    """Each region with a strength of its own, chosen as that of a file is.

    Args:
        original: [H, W, 3] uint8, sides multiples of REGION.
        pictures: the same by strength of texture, the most first.

    Returns:
        [H, W, 3] uint8.
    """
    shares = torch.tensor(SHARES)[:, None, None]
    wanted = log_variances(to_tensor(original))
    distances = []
    for picture in pictures.values():
        each = ((log_variances(to_tensor(picture)) - wanted).abs() * shares).sum(1)
        each = F.pad(each[None], (WINDOW // 2,) * 4, mode="replicate")  # [1, 1, H, W]
        distances.append(F.avg_pool2d(each, REGION)[0, 0])
    far = np.stack(distances)  # [strengths, H / REGION, W / REGION]
    chosen = (far <= far[list(pictures).index(0.0)]).argmax(0)  # the first of those
    places = chosen.repeat(REGION, 0).repeat(REGION, 1)
    stacked = np.stack(list(pictures.values()))
    return np.take_along_axis(stacked, places[None, :, :, None], 0)[0]


def _value(compare: Compare, original: np.ndarray, picture: np.ndarray) -> float:
    value = compare(original, picture)
    assert value is not None  # no picture here is too small
    return value


def trained_squares(folder: Path, count: int) -> dict[str, np.ndarray]:
    """[256, 256, 3] uint8 from the middle of at most `count` photographs that are trained on, by
    file name; spread over all of them."""
    paths = photo_paths(folder, held_out=False)
    some = paths[:: max(1, len(paths) // max(1, count))][:count]
    squares = {path.name: middle_square(path) for path in some}
    return {name: square for name, square in squares.items() if square is not None}


Choices = dict[str, list[Choice]]  # by picture, one for each quality
Row = tuple[str, float, Choice]  # picture, quality


def report(qualities: Sequence[float], drawn: Choices, held_out: Choices, trained: Choices) -> str:
    """All sets as Markdown."""
    sets = {"drawings": drawn, "held-out photographs": held_out, "trained photographs": trained}
    summary = []
    for title, pictures in sets.items():
        every = [choice for choices in pictures.values() for choice in choices]
        for metric in COMPARED if every else ():
            means = [np.mean([c.distances[metric][name] for c in every]) for name in SHOWN]
            summary.append(
                [
                    f"{title}, {metric.upper()}",
                    *(f"{mean:.4f}" for mean in means),
                    f"{sum(c.excess(metric) > 0 for c in every)} of {len(every)}",
                    f"{sum(c.strength < 1 for c in every)}",
                ]
            )
    photographs = _rows(qualities, held_out) + _rows(qualities, trained)
    worst = sorted(photographs, key=lambda row: -row[2].excess("dists"))[:WORST]
    compared = (f"{metric.upper()}: {' / '.join(SHOWN)}" for metric in COMPARED)
    columns = ["picture", "quality", "chosen", *compared]
    return "\n".join(
        [
            "# The encoder's choice of texture strength\n",
            f"{len(drawn)} drawings, {len(held_out)} held-out photographs and {len(trained)} that "
            f"were trained on, at qualities {', '.join(f'{q:g}' for q in qualities)}, by\n",
            "    python -m benchmarks.drawings --data DATA/photos --weights DATA/lpips\n",
            "Means; pictures that are worse as chosen than without texture; those that got less "
            f"than all of it. *By region*: every {REGION}x{REGION} with a strength of its own, "
            "chosen as that of a file is; the bytes that it would take are not counted.\n",
            table(["", *SHOWN, "worse", "less than 1"], summary),
            "## The photographs to which the chosen strength did the least good\n",
            "By DISTS.\n",
            table(columns, _cells(worst)),
            "## Drawings\n",
            table(columns, _cells(_rows(qualities, drawn))),
        ]
    )


def _rows(qualities: Sequence[float], pictures: Choices) -> list[Row]:
    return [
        (name, quality, choice)
        for name, choices in pictures.items()
        for quality, choice in zip(qualities, choices, strict=True)
    ]


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    return [
        [
            name,
            f"{quality:g}",
            f"{choice.strength:.2g}",
            *(" / ".join(f"{v:.3f}" for v in choice.distances[m].values()) for m in COMPARED),
        ]
        for name, quality, choice in rows
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--weights", type=Path, required=True, help="folder of LPIPS and DISTS")
    parser.add_argument("--qualities", nargs="+", type=float, default=[12, 30, 60])
    parser.add_argument("--pictures", type=int, default=24, help="held-out photographs, at most")
    parser.add_argument("--trained", type=int, default=60, help="trained ones, at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    metrics = {name: METRICS[name].load(args.weights) for name in COMPARED}
    held_out = enumerate(middle_squares(args.data, args.pictures), 1)
    sets = (
        drawings(),
        {f"held out {number}": square for number, square in held_out},
        trained_squares(args.data, args.trained),
    )
    drawn, unseen, trained = (
        {name: [Choice(x, q, metrics) for q in args.qualities] for name, x in some.items()}
        for some in sets
    )
    args.out.write_text(report(args.qualities, drawn, unseen, trained))
    return 0


if __name__ == "__main__":
    sys.exit(main())
