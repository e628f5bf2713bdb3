"""Whether small print can still be read: drawn pages through codecs at equal bytes, then OCR.

    python -m benchmarks.lettering --out benchmarks/results/lettering.json

Needs `tesseract` on the PATH. Pages are black serif letters of 17 pixels on white, words in random
order; the font is matplotlib's. Errors are edit distances to what tesseract reads on the original
page, so that its own mistakes do not count.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.common import RESULTS, command, write
from vlaec import zoo
from vlaec.bench.codecs import make_codec
from vlaec.bench.search import bits_per_pixel, match_rate

WIDTH, HEIGHT, MARGIN = 768, 512, 24
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSerif.ttf"
TEXT = """about above across after again against along among animal answer because become before
behind below better between bridge bring brother build carry center change children city close
common country course cover cross develop different direct distance early earth enough evening every
example family father figure follow garden great ground group happen harbour heavy history house
hundred important island journey kitchen language large letter light listen little machine market
measure minute morning mother mountain music near never night north number office often other paper
people picture place plant point present problem quarter question quickly reason record region river
school second sentence several should simple sister small sound special square station story street
strong summer system table teacher thought thousand together travel under until village voice water
weather week window winter without woman world write yellow young zero"""


def page(random: np.random.Generator) -> np.ndarray:
    """One page [H, W, 3] uint8."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(FONT, 17)
    words = TEXT.split()
    for top in range(MARGIN, HEIGHT - MARGIN - 20, 26):
        line = ""
        while True:
            longer = f"{line} {random.choice(words)}".strip()
            if font.getlength(longer) > WIDTH - 2 * MARGIN:
                break
            line = longer
        draw.text((MARGIN, top), line, "black", font)
    return np.array(image)


def read(picture: np.ndarray) -> str:
    """What tesseract reads, with single spaces."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.png"
        Image.fromarray(picture).save(file)
        done = subprocess.run(
            ["tesseract", file, "-", "--psm", "6"], capture_output=True, text=True, check=True
        )
    return " ".join(done.stdout.split())


def edits(a: str, b: str) -> int:
    """Levenshtein's distance: insertions, deletions and replacements that make b of a."""
    codes, places = np.array([ord(c) for c in b], int), np.arange(len(b) + 1)
    row = places
    for i, letter in enumerate(a, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + (codes != ord(letter)))
        # Insertions run along the row: each place is the least of all before it and their distance.
        row = np.minimum.accumulate(np.concatenate(([i], best)) - places) + places
    return int(row[-1])


def measure(pages: list[np.ndarray], rates: list[float], codecs: list[str]) -> dict[str, Any]:
    """Errors per 1 000 characters by rate and decoder, with the mean rate."""
    truth = [read(p) for p in pages]
    characters = sum(map(len, truth))
    results: dict[str, Any] = {"characters": characters, "rates": {}}
    for rate in rates:
        rows = results["rates"].setdefault(f"{rate:g}", {})
        for name in codecs:
            codec = make_codec(name)
            files = [match_rate(codec, p, rate)[1] for p in pages]
            bpp = float(np.mean([bits_per_pixel(f, p) for f, p in zip(files, pages, strict=True)]))
            for row, decode in codec.decoders().items():
                texts = [read(decode(f, 1)) for f in files]
                wrong = sum(edits(a, b) for a, b in zip(truth, texts, strict=True))
                rows[row] = {"bpp": bpp, "errors_per_1000": 1000 * wrong / characters}
                print(rate, row, f"{bpp:.3f} {1000 * wrong / characters:.2f}", flush=True)
    return results


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pages", type=int, default=4)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.2, 0.31, 0.43])
    parser.add_argument("--codecs", nargs="+", default=["vlaec", "avif:420", "avif:best", "vvc"])
    parser.add_argument("--out", type=Path, default=RESULTS / "lettering.json")
    args = parser.parse_args()
    random = np.random.default_rng(1)
    pages = [page(random) for _ in range(args.pages)]
    card = zoo.find()
    result = measure(pages, args.rates, args.codecs)
    version = subprocess.run(["tesseract", "--version"], capture_output=True, text=True, check=True)
    versions = {name: make_codec(name).version for name in args.codecs}
    versions["tesseract"] = version.stdout.split("\n")[0].removeprefix("tesseract ")
    arguments = ["--pages", str(args.pages), "--rates", *map(str, args.rates)]
    header = {"model": f"{card.name} {card.id}", "versions": versions}
    write(args.out, {"command": command("lettering", arguments), **header, **result})


if __name__ == "__main__":
    main()
