"""Drawn pages: what they hold, and that the training sees them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from training import RECIPE, make_trainer, write_photos

from vlaec.train.photo import trainer as loop
from vlaec.train.photo.pages import HALO, PLANES, draw_pages, lay_over
from vlaec.train.photo.typefaces import ALPHABETS, LATIN, typefaces


def test_pages_are_flat_with_sharp_edges_and_never_the_same() -> None:
    drawn = draw_pages(60, 96, np.random.default_rng(0))
    assert drawn.shape == (60, 96, 96, PLANES) and drawn.dtype == np.uint8
    pages = drawn[(drawn[..., 3] == 255).all((1, 2)), ..., :3]
    assert 24 < len(pages) < 48
    steps = np.abs(np.diff(pages.astype(int).sum(3), axis=2))
    assert (steps == 0).mean() > 0.3 and (steps.max((1, 2)) > 100).all()
    assert len(np.unique(drawn.reshape(60, -1), axis=0)) == 60
    means = pages.mean((1, 2, 3))
    assert means.min() < 100 and means.max() > 180  # dark on light, and light on dark
    assert np.array_equal(drawn, draw_pages(60, 96, np.random.default_rng(0)))


def test_lettering_is_where_letters_are_laid_on_photographs() -> None:
    pages = torch.from_numpy(draw_pages(40, 96, np.random.default_rng(1)))
    bare = pages[(pages[..., 3] < 255).flatten(1).any(1)]
    photographs = torch.full((len(bare), 3, 96, 96), 0.5)
    pictures, lettering = lay_over(bare, photographs)
    changed = (pictures - photographs).abs().amax(1, keepdim=True) > 0
    assert len(bare) > 5 and changed.any() and not changed.all()
    assert (lettering[changed] > 0).all()
    # And a little around it, no more.
    near = F.max_pool2d(changed.float(), 2 * HALO + 1, 1, HALO)
    assert (lettering[near == 0] == 0).all() and (lettering[~changed] > 0).any()
    # A page with paper hides the photograph.
    paper = pages[(pages[..., 3] == 255).flatten(1).all(1)]
    pictures, _ = lay_over(paper, torch.rand(len(paper), 3, 96, 96))
    assert torch.equal((pictures * 255).round().byte(), paper[..., :3].permute(0, 3, 1, 2))


def test_typefaces_write_what_they_can(tmp_path: Path) -> None:
    (own,) = typefaces(tmp_path / "absent")
    assert own.path is None and LATIN in own.alphabets and len(own.alphabets) < len(ALPHABETS)
    matplotlib = pytest.importorskip("matplotlib")
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in ("DejaVuSans.ttf", "DejaVuSansDisplay.ttf"):
        shutil.copy(fonts / name, tmp_path / name)
    faces = typefaces(tmp_path)  # the second has signs alone
    assert [face.path and face.path.name for face in faces] == [None, "DejaVuSans.ttf"]
    assert any("ж" in alphabet for alphabet in faces[1].alphabets)
    one = draw_pages(4, 48, np.random.default_rng(0), faces[1:])
    assert not np.array_equal(one, draw_pages(4, 48, np.random.default_rng(0)))


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_a_share_of_crops_is_drawn(
    share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie anywhere in the batch, in place of photographs."""

    def blank(n: int, size: int, random: np.random.Generator, faces: object) -> np.ndarray:
        return np.full((n, size, size, PLANES), 255, np.uint8)

    monkeypatch.setattr(loop, "draw_pages", blank)
    (tmp_path / "photos").mkdir()
    recipe = replace(RECIPE, batch=8, drawn=share)
    trainer = make_trainer(write_photos(tmp_path / "photos"), tmp_path / "run", 10, recipe)
    random, where = np.random.default_rng(0), []
    for _ in range(10):
        x, lettering = trainer._batch(random)
        drawn = (x == 1).flatten(1).all(1)
        assert x.shape == (8, 3, 64, 64) and int(drawn.sum()) == 8 * share
        if lettering is None:
            assert not share
        else:
            assert torch.equal(lettering.flatten(1).all(1), drawn)
        where += drawn.nonzero()[:, 0].tolist()
    assert len(set(where)) > 5 or not share


def test_a_share_is_at_most_a_half() -> None:
    with pytest.raises(ValueError, match="drawn"):
        replace(RECIPE, drawn=0.6)
