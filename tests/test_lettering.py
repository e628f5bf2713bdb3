"""The benchmark of print: its distance between texts, its pages, and the photographs' folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks import photographs
from benchmarks.lettering import HEIGHT, WIDTH, edits, page

texts = st.text("ab c", max_size=9)


def by_definition(a: str, b: str) -> int:
    """Levenshtein's recursion."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        by_definition(a[1:], b) + 1,
        by_definition(a, b[1:]) + 1,
        by_definition(a[1:], b[1:]) + (a[0] != b[0]),
    )


@given(texts.filter(lambda a: len(a) < 6), texts.filter(lambda b: len(b) < 6))
def test_edits_are_levenshteins(a: str, b: str) -> None:
    assert edits(a, b) == by_definition(a, b)


@given(texts, texts, texts)
def test_edits_are_a_distance(a: str, b: str, c: str) -> None:
    assert edits(a, b) == edits(b, a) and edits(a, a) == 0
    assert edits(a, c) <= edits(a, b) + edits(b, c)


def test_pages_are_black_on_white_and_differ() -> None:
    random = np.random.default_rng(1)
    first, second = page(random), page(random)
    assert first.shape == (HEIGHT, WIDTH, 3) and not np.array_equal(first, second)
    assert first.min() == 0 and np.median(first) == 255


@pytest.mark.parametrize("name", photographs.SETS)
def test_photographs_are_found_anywhere_below(name: str, tmp_path: Path) -> None:
    wanted = photographs.SETS[name]
    for number, source in enumerate(wanted.values()):
        path = tmp_path / "deep" / str(number) / source.file
        path.parent.mkdir(parents=True)
        Image.new("RGB", (1200, 900), "teal").save(path)
    photographs.prepare(name, tmp_path / "deep", tmp_path / "out")
    for picture, source in wanted.items():
        with Image.open(tmp_path / "out" / f"{picture}.png") as made:
            if source.square:
                assert made.size == (source.square[2], source.square[2])
            else:
                assert made.width * made.height <= source.pixels + made.width
                assert made.width == pytest.approx(made.height * 4 / 3, abs=1)
                assert made.width <= 1200 / source.part
    first = next(iter(wanted.values())).file
    (tmp_path / "deep" / "0" / first).unlink()
    with pytest.raises(FileNotFoundError, match=first):
        photographs.prepare(name, tmp_path / "deep", tmp_path / "out")
