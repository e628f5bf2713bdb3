"""Drawn pages: what they hold, and that the training sees them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training import RECIPE, make_trainer, write_photos

from vlaec.train.photo import trainer as loop
from vlaec.train.photo.pages import draw_pages


def test_pages_are_flat_with_sharp_edges_and_never_the_same() -> None:
    pages = draw_pages(40, 96, np.random.default_rng(0))
    assert pages.shape == (40, 96, 96, 3) and pages.dtype == np.uint8
    steps = np.abs(np.diff(pages.astype(int).sum(3), axis=2))
    assert (steps == 0).mean() > 0.3 and (steps.max((1, 2)) > 100).all()
    assert len(np.unique(pages.reshape(40, -1), axis=0)) == 40
    means = pages.mean((1, 2, 3))
    assert means.min() < 100 and means.max() > 180  # dark on light, and light on dark
    assert np.array_equal(pages, draw_pages(40, 96, np.random.default_rng(0)))


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_a_share_of_crops_is_drawn(
    share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie anywhere in the batch, in place of photographs."""

    def blank(n: int, size: int, random: np.random.Generator) -> np.ndarray:
        return np.full((n, size, size, 3), 255, np.uint8)

    monkeypatch.setattr(loop, "draw_pages", blank)
    (tmp_path / "photos").mkdir()
    recipe = replace(RECIPE, batch=8, drawn=share)
    trainer = make_trainer(write_photos(tmp_path / "photos"), tmp_path / "run", 10, recipe)
    random, where = np.random.default_rng(0), []
    for _ in range(10):
        x = trainer._batch(random)
        drawn = (x == 1).flatten(1).all(1)
        assert x.shape == (8, 3, 64, 64) and int(drawn.sum()) == 8 * share
        where += drawn.nonzero()[:, 0].tolist()
    assert len(set(where)) > 5 or not share


def test_a_share_is_at_most_a_half() -> None:
    with pytest.raises(ValueError, match="drawn"):
        replace(RECIPE, drawn=0.6)
