"""Contact sheets: crops of the same place, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlaec.bench.crops import richest_window

WIDTH, HEIGHT = 160, 120  # of a crop
_GAP, _LINE = 4, 16
_INK, _PAPER = (20, 20, 20), (255, 255, 255)


@dataclass(frozen=True)
class Place:
    """A window of WIDTH x HEIGHT in a photograph."""

    title: str
    photo: str
    left: int
    top: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The window of [H, W, 3]."""
        window = image[self.top : self.top + HEIGHT, self.left : self.left + WIDTH]
        return np.ascontiguousarray(window)


# Kodak has no night scene and no print: those are in photographs held out for validation.
PLACES = {
    "nature": (
        Place("grass", "kodim20", 512, 380),
        Place("foliage", "kodim13", 130, 130),
        Place("water", "kodim06", 560, 190),
        Place("sky", "kodim16", 480, 30),
    ),
    "people": (
        Place("skin", "kodim04", 130, 400),
        Place("hair", "kodim04", 150, 190),
        Place("eye", "kodim15", 420, 90),
        Place("wool", "kodim15", 180, 330),
    ),
    "built": (
        Place("brick", "kodim01", 490, 150),
        Place("text", "kodim08", 540, 290),
        Place("lettering", "kodim14", 500, 345),
        Place("dark", "kodim17", 60, 110),
    ),
    "held-out": (
        Place("night sky", "2666598", 200, 60),
        Place("diver in the dark", "val_45096", 60, 80),
        Place("print", "n04118776_11235_ruler", 10, 55),
        Place("face", "test_388006", 20, 50),
        Place("signs", "n06874185_18116_traffic_light", 40, 60),
    ),
}


def places_of(photo: str) -> list[Place]:
    """The places in one photograph."""
    return [place for places in PLACES.values() for place in places if place.photo == photo]


def worst_place(original: np.ndarray, mean: np.ndarray, textured: np.ndarray) -> tuple[int, int]:
    """Left and top of the window in which texture adds most squared error; all [H, W, 3] uint8."""
    added, removed = (
        np.square(image.astype(np.float64) - original).sum(2) for image in (textured, mean)
    )
    rows, columns = richest_window(added - removed, HEIGHT, WIDTH)
    return columns.start, rows.start


def contact_sheet(
    columns: Sequence[str], rows: Sequence[tuple[str, list[np.ndarray]]]
) -> Image.Image:
    """Rows of a caption and one crop [h, w, 3] uint8 for each column, at their own pixels."""
    height = _LINE + len(rows) * (_LINE + HEIGHT + _GAP)
    sheet = Image.new("RGB", (len(columns) * (WIDTH + _GAP) - _GAP, height), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for i, column in enumerate(columns):
        draw.text((i * (WIDTH + _GAP), 1), column, _INK, font)
    for j, (caption, crops) in enumerate(rows):
        top = _LINE + j * (_LINE + HEIGHT + _GAP)
        draw.text((0, top + 1), caption, _INK, font)
        for i, crop in enumerate(crops):
            sheet.paste(Image.fromarray(crop), (i * (WIDTH + _GAP), top + _LINE))
    return sheet
