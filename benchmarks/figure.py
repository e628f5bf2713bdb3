"""Squares of photographs side by side: original, other codecs, texture 0, default texture.

    python -m benchmarks.figure FILE:X,Y ... --bpp 0.15 --out docs/photo.jpg

One row for each photograph. All files of a row are of equal size, as far as whole levels allow; the
whole photograph, or a region of it, is compressed, and a square of it is shown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.rivals import rival
from vlaec.bench.codecs import make_codec
from vlaec.bench.search import bits_per_pixel, match_rate

LABEL, GAP = 22, 4  # pixels
NAMES = {"avif:best": "AVIF", "vvc": "VVC"}


def panels(image: np.ndarray, bpp: float, others: list[str], kept: Path) -> dict[str, np.ndarray]:
    """Captions and pictures [H, W, 3] of one row; `kept` begins the names of the others' files."""

    def size(rate: float) -> str:
        return f"{rate * image[..., 0].size / 8000:.1f} kB, {rate:.2f} bpp"

    found = {"original": image}
    for name in others:
        file = kept.with_name(f"{kept.name}@{bpp:g}.{name.replace(':', '-')}.npz")
        picture, rate = rival(name, image, bpp, {}, file)
        found[f"{NAMES.get(name, name)}, {size(rate)}"] = picture
    vlaec = make_codec("vlaec")
    _, data = match_rate(vlaec, image, bpp)
    plain, textured = vlaec.decoders()["vlaec texture=0"], vlaec.decoders()["vlaec"]
    found[f"vlaec, {size(bits_per_pixel(data, image))}, texture 0"] = plain(data, 1)
    return found | {"the same file, with texture": textured(data, 1)}


def around(
    image: np.ndarray, x: int, y: int, side: int, region: int
) -> tuple[np.ndarray, int, int]:
    """The part of a picture that is compressed, and where in it the square is."""
    spare = max(0, region - side) // 2
    top = max(0, min(y - spare, image.shape[0] - region))
    left = max(0, min(x - spare, image.shape[1] - region))
    part = image[top : top + region, left : left + region]
    return np.ascontiguousarray(part), x - left, y - top


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", nargs="+", metavar="FILE:X,Y")
    parser.add_argument("--side", type=int, default=240, help="of the squares, in pixels")
    parser.add_argument("--region", type=int, default=1 << 20, help="compress so much around it")
    parser.add_argument("--bpp", type=float, default=0.15)
    parser.add_argument("--codecs", default="avif:best", help="the others, as in `vlaec bench`")
    parser.add_argument("--keep", type=Path, default=Path("rivals"), help="of others' pictures")
    parser.add_argument("--quality", type=int, default=95, help="of the figure")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    side: int = args.side
    rows = []
    for photograph in args.photographs:
        name, _, corner = photograph.rpartition(":")
        x, y = map(int, corner.split(","))
        with Image.open(name) as file:
            image, x, y = around(np.array(file.convert("RGB")), x, y, side, args.region)
        kept = args.keep / f"{Path(name).stem}-{corner}-{args.region}"
        row = panels(image, args.bpp, args.codecs.split(","), kept)
        rows.append({text: p[y : y + side, x : x + side] for text, p in row.items()})
    width, height = len(rows[0]) * (side + GAP) - GAP, len(rows) * (side + LABEL)
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, row in enumerate(rows):
        for j, (caption, pixels) in enumerate(row.items()):
            left, top = j * (side + GAP), i * (side + LABEL)
            draw.text((left + 2, top + 3), caption, "black", font)
            sheet.paste(Image.fromarray(pixels), (left, top + LABEL))
    jpeg = {"subsampling": 0} if args.out.suffix in (".jpg", ".jpeg") else {"method": 6}
    sheet.save(args.out, quality=args.quality, **jpeg)


if __name__ == "__main__":
    main()
