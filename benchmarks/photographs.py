"""Photographs that no model was trained on, for `vlaec bench`.

    python -m benchmarks.photographs others SOURCE OUT

SOURCE is searched for the files of a set:

- `others`: eight that anyone can get, of scikit-image 0.26 (`skimage/data`) and scikit-learn 1.9
  (`sklearn/datasets/images`); see there for authors and licences.
- `clean`: twenty modern ones. Fourteen were held out from the photographs of training. Storm is of
  Debian's mate-backgrounds, cups and lake are of its plasma-workspace-wallpapers, cheetah is of
  gradio 6.31, coaches and bus are of ultralytics 8.4.
- `crops`: lettering, faces and night, cut from both sets, from Kodak, and from scikit-image.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NamedTuple

from PIL import Image

# A clean photograph has as many pixels as one of Kodak's, at most.
PIXELS = 768 * 512


class Source(NamedTuple):
    """Where a picture comes from."""

    file: str  # the end of its path
    part: float = 1.0  # how many of its pixels become one, along one side, at least
    pixels: float = math.inf  # to which it is reduced
    square: tuple[int, int, int] | None = None  # left, top and side of what is cut out


def _clean(file: str, part: float = 1.0) -> Source:
    return Source(file, part, PIXELS)


def _crop(file: str, left: int, top: int, side: int = 256) -> Source:
    return Source(file, square=(left, top, side))


# JPEGs are reduced: what a file spends on their blocks says nothing about a codec.
SETS: dict[str, dict[str, Source]] = {
    "others": {
        "astronaut": Source("astronaut.png"),
        "chelsea": Source("chelsea.png"),
        "coffee": Source("coffee.png"),
        "motorcycle": Source("motorcycle_left.png"),
        "rocket": Source("rocket.jpg", 2),
        "hubble": Source("hubble_deep_field.jpg", 2),
        "china": Source("china.jpg", 2),
        "flower": Source("flower.jpg", 2),
    },
    "clean": {
        "night-harbour": _clean("aosc_Felix_Yan_-_Their_Prosperity_II.jpg"),
        "petals": _clean("deepin_Chrysanthemum.jpg"),
        "baseball": _clean("1661950.jpg"),
        "museum": _clean("3004909.jpg"),
        "basketball": _clean("6763758.jpg"),
        "bicycle": _clean("pexels-photo-3680501.jpg"),
        "fruits": _clean("cq100_fruits.jpg"),
        "tower": _clean("cq100_trade_fair_tower.jpg"),
        "meadow": _clean("unsplash_Boothbay.jpg"),
        "slot-canyon": _clean("027_work_759f0328_noname.jpg"),
        "canyon": _clean("167_wallpapers_c1e72b39_noname.jpg"),
        "drop": _clean("265_deepin-wallpapers_4777deef_noname.jpg"),
        "coast": _clean("372_wallpapers_68ae079c_noname.jpg"),
        "street": _clean("456_deepin-wallpapers_53efea47_noname.jpg"),
        "storm": _clean("Storm.jpg", 1.5),
        "cups": _clean("ColorfulCups/contents/images/2560x1600.jpg", 1.5),
        "lake": _clean("summer_1am/contents/images/2560x1600.jpg", 1.5),
        "cheetah": _clean("cheetah2.jpg", 1.5),
        "coaches": _clean("zidane.jpg", 1.5),
        "bus": _clean("bus.jpg", 1.5),
    },
    "crops": {
        "text-sail": _crop("kodim09.png", 256, 300),
        "text-boat": _crop("kodim06.png", 90, 190),
        "text-aeroplane": _crop("kodim20.png", 200, 180),
        "text-bus": _crop("bus.png", 279, 190),
        "text-page": _crop("page.png", 0, 0, 191),
        "text-formula": _crop("text.png", 0, 0, 172),
        "face-hat": _crop("kodim04.png", 90, 140),
        "face-girl": _crop("kodim15.png", 370, 50),
        "face-astronaut": _crop("astronaut.png", 110, 0),
        "face-coach": _crop("coaches.png", 260, 90),
        "face-other-coach": _crop("coaches.png", 520, 0),
        "night-harbour": _crop("night-harbour.png", 100, 120, 384),
        "night-street": _crop("street.png", 200, 100, 384),
        "night-rocket": _crop("rocket.png", 53, 0, 214),
        "night-sky": _crop("hubble.png", 100, 100),
    },
}


def prepare(name: str, source: Path, out: Path) -> None:
    """Write the set of this name as PNG files.

    Raises:
        FileNotFoundError: a photograph is not below `source`.
    """
    out.mkdir(parents=True, exist_ok=True)
    for picture, wanted in SETS[name].items():
        found = next(source.rglob(wanted.file), None)
        if found is None:
            raise FileNotFoundError(f"{wanted.file} is not below {source}")
        with Image.open(found) as image:
            _made(image.convert("RGB"), wanted).save(out / f"{picture}.png")


def _made(image: Image.Image, wanted: Source) -> Image.Image:
    if wanted.square:
        left, top, side = wanted.square
        return image.crop((left, top, left + side, top + side))
    scale = min(1 / wanted.part, math.sqrt(wanted.pixels / (image.width * image.height)))
    if scale == 1:
        return image
    width, height = (round(side * scale) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("set", choices=SETS)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    prepare(args.set, args.source, args.out)


if __name__ == "__main__":
    main()
