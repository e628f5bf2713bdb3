"""Drawn pages for training: lettering, lines and flat areas, of which photographs hold few.

A model that has seen none draws dirt around letters, and its texture makes more of it. Some pages
have no paper: their letters lie on photographs, as captions and signs do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from .typefaces import LATIN, SIGNS, Typeface

Colour = tuple[int, int, int]

OWN = Typeface(None, (LATIN,))
# Of a page: red, green, blue, opacity, and where lettering is.
PLANES = 5
# Share of pages without paper.
BARE = 0.4
# Drawn larger, turned and reduced: no two letters meet the pixels alike.
ENLARGED = 2
# Pixels around a letter that count as lettering: errors ring there.
HALO = 2


def draw_pages(
    n: int, size: int, random: np.random.Generator, faces: Sequence[Typeface] = (OWN,)
) -> np.ndarray:
    """`n` pieces of pages [n, size, size, PLANES] uint8, lettered in any of `faces`."""
    return np.stack([_page(size, random, faces) for _ in range(n)])


def lay_over(pages: Tensor, photographs: Tensor) -> tuple[Tensor, Tensor]:
    """Pages on photographs.

    Args:
        pages: [N, S, S, PLANES] uint8, from `draw_pages`.
        photographs: [N, 3, S, S] in [0, 1].

    Returns:
        pictures [N, 3, S, S] in [0, 1], and where lettering is, [N, 1, S, S] in [0, 1].
    """
    planes = pages.permute(0, 3, 1, 2).float() / 255
    return photographs.lerp(planes[:, :3], planes[:, 3:4]), planes[:, 4:]


def _page(size: int, random: np.random.Generator, faces: Sequence[Typeface]) -> np.ndarray:
    side = ENLARGED * size
    bare, dark = random.random() < BARE, random.random() < 0.3
    paper = _colour(random, *((0, 90) if dark else (180, 256)))
    # Large enough to be cut from its middle after any turn.
    whole = (2 * side, 2 * side)
    page = Image.new("RGB", whole, paper)
    draw = ImageDraw.Draw(page)
    for _ in range(random.integers(0, 4)):
        _shape(draw, side, random)
    inks, letters = Image.new("RGB", whole), Image.new("L", whole)
    face = faces[int(random.integers(len(faces)))]
    _lettering(inks, letters, (150, 256) if dark else (0, 110), face, random)
    page.paste(inks, mask=None if bare else letters)
    angle = random.uniform(-30, 30) if random.random() < 0.3 else 0.0
    corner = side // 2
    box = (corner, corner, corner + side, corner + side)

    def cut(image: Image.Image, fill: Colour | int) -> Image.Image:
        if angle:
            image = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=fill)
        return image.crop(box).resize((size, size), Image.Resampling.LANCZOS)

    colour, ink = cut(page, paper), cut(letters, 0)
    opacity = np.asarray(ink) if bare else np.full((size, size), 255, np.uint8)
    around = ink.filter(ImageFilter.MaxFilter(2 * HALO + 1))
    return np.dstack([np.asarray(colour), opacity, np.asarray(around)])


def _shape(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """A box, an ellipse or a line, somewhere on the page."""
    (left, right), (top, bottom) = np.sort(random.integers(0, 2 * side, (2, 2))).tolist()
    colour, width = _colour(random, 0, 256), int(random.integers(1, 9))
    match int(random.integers(3)):
        case 0:
            draw.rectangle((left, top, right, bottom), colour)
        case 1:
            draw.ellipse((left, top, right, bottom), colour)
        case _:
            draw.line((left, top, right, bottom), colour, width)


def _lettering(
    inks: Image.Image,
    letters: Image.Image,
    shades: tuple[int, int],
    face: Typeface,
    random: np.random.Generator,
) -> None:
    """Lines of words in one size: where ink is onto `letters`, its colours onto `inks`."""
    side = letters.height
    height = ENLARGED * float(np.exp(random.uniform(np.log(8), np.log(40))))
    font = face.font(height)
    pitch = float(random.uniform(1.2, 2.0)) * height
    bold = int(random.random() < 0.3)
    colours = [_colour(random, *shades) for _ in range(3)]
    alphabet = list(face.alphabets[int(random.integers(len(face.alphabets)))] + SIGNS)
    on_letters, on_inks = ImageDraw.Draw(letters), ImageDraw.Draw(inks)
    for line in range(int(side / pitch) + 1):
        top = line * pitch
        on_inks.rectangle((0, top, side, top + pitch), colours[int(random.integers(3))])
        words = ("".join(random.choice(alphabet, random.integers(1, 10))) for _ in range(16))
        on_letters.text((0, top), " ".join(words), 255, font, stroke_width=bold)


def _colour(random: np.random.Generator, low: int, high: int) -> Colour:
    """Half the time grey; of values from `low` to `high` - 1."""
    red, green, blue = random.integers(low, high, 3).tolist()
    return (red, red, red) if random.random() < 0.5 else (red, green, blue)
