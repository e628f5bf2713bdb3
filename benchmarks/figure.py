"""The README's picture: original, texture 0 and default texture of one file, side by side.

python -m benchmarks.figure examples/photo.png --quality 30 --out docs/photo.png
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import vlaec

LABEL = 26  # height of a caption, pixels


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("--quality", type=float, default=30)
    parser.add_argument("--crop", type=int, nargs=4, metavar=("X", "Y", "W", "H"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    with Image.open(args.image) as image:
        original = image.convert("RGB")
    data = vlaec.compress(original, quality=args.quality)
    png = io.BytesIO()
    original.save(png, "png")
    bpp = 8 * len(data) / (original.width * original.height)
    panels = {
        f"original, PNG {len(png.getvalue()) / 1024:.0f} KiB": original,
        f"{len(data) / 1024:.1f} KiB ({bpp:.2f} bpp), texture 0": vlaec.decompress(data, texture=0),
        "the same file, default texture": vlaec.decompress(data),
    }
    x, y, w, h = args.crop or (0, 0, original.width, original.height)
    sheet = Image.new("RGB", (len(panels) * (w + 4) - 4, h + LABEL), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for i, (caption, picture) in enumerate(panels.items()):
        left = i * (w + 4)
        sheet.paste(picture.crop((x, y, x + w, y + h)), (left, LABEL))
        draw.text((left + 4, 5), caption, "black", font)
    sheet.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
