"""Eight photographs that anyone can get and that no model was trained on, for `vlaec bench`.

    python -m benchmarks.photographs SOURCE OUT

SOURCE is searched for the files, which come with scikit-image 0.26 (`skimage/data`) and
scikit-learn 1.9 (`sklearn/datasets/images`); see there for authors and licences.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

# JPEGs are halved: what a file spends on their blocks says nothing about a codec.
PHOTOGRAPHS = {
    "astronaut": ("astronaut.png", 1),
    "chelsea": ("chelsea.png", 1),
    "coffee": ("coffee.png", 1),
    "motorcycle": ("motorcycle_left.png", 1),
    "rocket": ("rocket.jpg", 2),
    "hubble": ("hubble_deep_field.jpg", 2),
    "china": ("china.jpg", 2),
    "flower": ("flower.jpg", 2),
}


def prepare(source: Path, out: Path) -> None:
    """Write them as PNG files.

    Raises:
        FileNotFoundError: a photograph is not below `source`.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, (file, part) in PHOTOGRAPHS.items():
        found = next(source.rglob(file), None)
        if found is None:
            raise FileNotFoundError(f"{file} is not below {source}")
        with Image.open(found) as image:
            picture = image.convert("RGB")
        if part > 1:
            width, height = (round(side / part) for side in picture.size)
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        picture.save(out / f"{name}.png")


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    prepare(args.source, args.out)


if __name__ == "__main__":
    main()
