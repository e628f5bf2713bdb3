"""Typefaces for drawn pages, and the alphabets that each of them can write."""

from __future__ import annotations

import string
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import ImageFont

FOLDER = "fonts"
SUFFIXES = (".ttf", ".otf")
SIGNS = string.digits + ".,:;-+?!()%&"
LATIN = string.ascii_letters
ALPHABETS = (
    LATIN,
    "àâäåçèéêëìíîñòóôöùúûüßÀÂÄÅÇÈÉÊËÌÍÎÑÒÓÔÖÙÚÛÜ" + LATIN,
    "αβγδεζηθικλμνξοπρστυφχψωΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
    "абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ",
    "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆ",
    "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ",
    "अआइईउऊएऐओऔकखगघचछजझटठडढणतथदधनपफबभमयरलवशषसह",
    "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん",
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可",
)
# A letter that no typeface has.
MISSING = "\uffff"
# Some typefaces draw a box for each letter of a script. The least share of different shapes.
DISTINCT = 0.8


class Typeface(NamedTuple):
    """One font file."""

    path: Path | None  # None: Pillow's own
    alphabets: tuple[str, ...]

    def font(self, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        """At `size` pixels."""
        return _font(self.path, size)


def typefaces(folder: Path) -> list[Typeface]:
    """Pillow's own typeface, and those in `folder`, if there is one, that know an alphabet."""
    paths: list[Path | None] = [None]
    if folder.is_dir():
        paths += sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    faces = [Typeface(path, tuple(a for a in ALPHABETS if _writes(path, a))) for path in paths]
    return [face for face in faces if face.alphabets]


def _writes(path: Path | None, alphabet: str) -> bool:
    """Whether no letter looks like a missing one, and few like each other."""
    font = _font(path, 16)
    shapes = {bytes(font.getmask(letter)) for letter in alphabet}
    return bytes(font.getmask(MISSING)) not in shapes and len(shapes) > DISTINCT * len(alphabet)


@lru_cache(maxsize=64)
def _font(path: Path | None, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)
