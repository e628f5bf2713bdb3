"""The gallery of the documentation: free pictures, whole files of equal size, squares to compare.

    python -m benchmarks.gallery FOLDER      # writes docs/gallery/ and docs/gallery.md

FOLDER holds the pictures of scikit-image (`skimage/data`) and those of scikit-learn. All are in the
public domain or under a Creative Commons licence that allows this; `pages/gallery.json` names their
authors.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

import vlaec
from benchmarks.figure import panels

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = Path(__file__).resolve().parent / "pages"
KINDS = ("original", "avif", "structure", "texture")
# The file whose samples move, the part of it, and how many samples.
SAMPLED, PART, SEEDS = "grass.png", (36, 100, 336, 300), 8


@dataclass(frozen=True)
class Item:
    """A picture, the part of it that is shown, and what one sees there."""

    file: str
    left: int
    top: int
    bpp: float
    title: str
    by: str
    seen: str


def items() -> list[Item]:
    """What the gallery shows, in its order."""
    rows = json.loads((PAGES / "gallery.json").read_text())
    return [Item(**row) for row in rows]


def make(item: Item, folder: Path, side: tuple[int, int]) -> dict[str, str]:
    """Write the parts of one picture; returns their captions by kind."""
    with Image.open(folder / item.file) as image:
        pixels = np.array(image.convert("RGB"))
    width, height = side
    captions = {}
    kept = Path("rivals") / Path(item.file).stem
    row = panels(pixels, item.bpp, ["avif:best"], kept)
    for kind, (caption, picture) in zip(KINDS, row.items(), strict=True):
        part = picture[item.top : item.top + height, item.left : item.left + width]
        name = f"{Path(item.file).stem}-{kind}.webp"
        Image.fromarray(part).save(DOCS / "gallery" / name, quality=92, method=6)
        captions[kind] = caption
    return captions


def write_seeds(file: Path, out: Path) -> None:
    """An animation of one file's samples, a part of the picture each."""
    with Image.open(file) as image:
        data = vlaec.compress(image.convert("RGB"), bpp=0.2)
    frames = [vlaec.decompress(data, seed=seed).crop(PART) for seed in range(SEEDS)]
    frames[0].save(
        out, save_all=True, append_images=frames[1:], duration=400, loop=0, quality=80, method=6
    )


def main() -> None:
    """Write the pictures and the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(440, 300), metavar=("W", "H"))
    parser.add_argument("--only", nargs="*", help="files that are made again")
    args = parser.parse_args()
    (DOCS / "gallery").mkdir(exist_ok=True)
    known = DOCS / "gallery" / "captions.json"
    captions = json.loads(known.read_text()) if known.exists() else {}
    for item in items():
        if not args.only or item.file in args.only:
            captions[item.file] = make(item, args.folder, tuple(args.size))
            known.write_text(json.dumps(captions, indent=1) + "\n")
    if not args.only or SAMPLED in args.only:
        write_seeds(args.folder / SAMPLED, DOCS / "gallery" / "seeds.webp")
    (DOCS / "gallery.md").write_text(page(captions))


def page(captions: dict[str, dict[str, str]]) -> str:
    """The text of `docs/gallery.md`, from captions by kind by file."""
    environment = Environment(
        loader=FileSystemLoader(PAGES),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template("gallery.md").render(
        items=items(), captions=captions, stem=lambda file: Path(file).stem
    )


if __name__ == "__main__":
    main()
