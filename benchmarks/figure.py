"""Squares of photographs side by side: original, other codecs, texture 0, default texture.

    python -m benchmarks.figure FILE:X,Y ... --bpp 0.15 --out docs/photo.jpg

One row for each photograph. All files of a row are of equal size, within 1 %; the whole photograph
is compressed, and a square of it is shown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlaec.bench.codecs import make_codec
from vlaec.bench.search import bits_per_pixel, match_rate

LABEL, GAP = 22, 4  # pixels
NAMES = {"avif:best": "AVIF", "vvc": "VVC"}


def panels(image: np.ndarray, bpp: float, others: list[str]) -> dict[str, np.ndarray]:
    """Captions and pictures [H, W, 3] of one row."""

    def size(data: bytes) -> str:
        return f"{len(data) / 1000:.1f} kB, {bits_per_pixel(data, image):.2f} bpp"

    found = {"original": image}
    for name in others:
        codec = make_codec(name)
        _, theirs = match_rate(codec, image, bpp)
        found[f"{NAMES.get(name, name)}, {size(theirs)}"] = codec.decoders()[name](theirs, 1)
    vlaec = make_codec("vlaec")
    _, ours = match_rate(vlaec, image, bpp)
    plain, textured = vlaec.decoders()["vlaec texture=0"], vlaec.decoders()["vlaec"]
    found[f"vlaec, {size(ours)}, texture 0"] = plain(ours, 1)
    return found | {"the same file, with texture": textured(ours, 1)}


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", nargs="+", metavar="FILE:X,Y")
    parser.add_argument("--side", type=int, default=240, help="of the squares, in pixels")
    parser.add_argument("--bpp", type=float, default=0.15)
    parser.add_argument("--codecs", default="avif:best", help="the others, as in `vlaec bench`")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    side: int = args.side
    rows = []
    for photograph in args.photographs:
        name, _, corner = photograph.rpartition(":")
        x, y = map(int, corner.split(","))
        with Image.open(name) as image:
            row = panels(np.array(image.convert("RGB")), args.bpp, args.codecs.split(","))
        rows.append({text: p[y : y + side, x : x + side] for text, p in row.items()})
    width, height = len(rows[0]) * (side + GAP) - GAP, len(rows) * (side + LABEL)
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, row in enumerate(rows):
        for j, (caption, pixels) in enumerate(row.items()):
            left, top = j * (side + GAP), i * (side + LABEL)
            draw.text((left + 2, top + 3), caption, "black", font)
            sheet.paste(Image.fromarray(pixels), (left, top + LABEL))
    sheet.save(args.out, quality=95, subsampling=0)


if __name__ == "__main__":
    main()
