"""Drawn pages for training: lettering, lines and flat areas, of which photographs hold few.

A model that has seen none draws dirt around letters, and its texture makes more of it.
"""

from __future__ import annotations

import string

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

# Drawn larger, turned and reduced: no two letters meet the pixels alike.
ENLARGED = 2
LETTERS = string.ascii_letters + string.digits + ".,:;-+?!"


def draw_pages(n: int, size: int, random: np.random.Generator) -> np.ndarray:
    """`n` pieces of pages [n, size, size, 3] uint8."""
    return np.stack([_page(size, random) for _ in range(n)])


def _page(size: int, random: np.random.Generator) -> np.ndarray:
    side = ENLARGED * size
    dark = random.random() < 0.3
    paper = _colour(random, *((0, 90) if dark else (180, 256)))
    # Large enough to be cut from its middle after any turn.
    page = Image.new("RGB", (2 * side, 2 * side), paper)
    draw = ImageDraw.Draw(page)
    for _ in range(random.integers(0, 4)):
        _shape(draw, side, random)
    inks = [_colour(random, *((150, 256) if dark else (0, 110))) for _ in range(3)]
    _lettering(draw, 2 * side, inks, random)
    if random.random() < 0.3:
        page = page.rotate(random.uniform(-30, 30), Image.Resampling.BICUBIC, fillcolor=paper)
    corner = side // 2
    cut = page.crop((corner, corner, corner + side, corner + side))
    return np.asarray(cut.resize((size, size), Image.Resampling.LANCZOS))


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
    draw: ImageDraw.ImageDraw, side: int, inks: list[Colour], random: np.random.Generator
) -> None:
    """Lines of words, in one size."""
    height = ENLARGED * float(np.exp(random.uniform(np.log(8), np.log(40))))
    font = ImageFont.load_default(height)
    pitch = float(random.uniform(1.2, 2.0)) * height
    bold = int(random.random() < 0.3)
    for line in range(int(side / pitch)):
        words = ("".join(random.choice(list(LETTERS), random.integers(1, 10))) for _ in range(16))
        ink = inks[int(random.integers(len(inks)))]
        draw.text((0, line * pitch), " ".join(words), ink, font, stroke_width=bold)


def _colour(random: np.random.Generator, low: int, high: int) -> Colour:
    """Half the time grey; of values from `low` to `high` - 1."""
    red, green, blue = random.integers(low, high, 3).tolist()
    return (red, red, red) if random.random() < 0.5 else (red, green, blue)
