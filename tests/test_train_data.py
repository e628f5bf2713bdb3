"""Crops: the right pixels, from the right photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlaec.train.photo.data import HOLD_OUT, PhotoSet, photo_paths

CPU = torch.device("cpu")


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def coordinates(height: int, width: int, mark: int) -> np.ndarray:
    """Pixels that say where they are: row, column, and which picture."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, np.full_like(y, mark)], 2).astype(np.uint8)


def test_held_out_photographs_are_never_trained_on(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for i in range(HOLD_OUT + 2):
        (tmp_path / ("sub" if i % 2 else "") / f"{i:03}.JPG").touch()
    (tmp_path / "notes.txt").touch()
    trained, held_out = (photo_paths(tmp_path, held_out=h) for h in (False, True))
    assert len(held_out) == 2 and len(trained) == HOLD_OUT
    assert not set(trained) & set(held_out)
    assert photo_paths(tmp_path, held_out=True) == held_out


def test_a_folder_without_photographs_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        photo_paths(tmp_path, held_out=False)


def test_crops_are_whole_pieces_of_one_photograph(tmp_path: Path) -> None:
    sizes = [(40, 60), (70, 33), (33, 32)]
    paths = [save(tmp_path / f"{i}.png", coordinates(*s, i)) for i, s in enumerate(sizes)]
    crops = PhotoSet(paths, CPU).crops(200, 32, 1.0, np.random.default_rng(0))
    assert crops.shape == (200, 3, 32, 32) and crops.dtype == torch.float32
    places = (crops * 255).round().int().numpy()
    flipped, corners = 0, set()
    for y, x, mark in places:
        i = int(mark[0, 0])
        assert (mark == i).all()
        if x[0, 0] > x[0, 1]:
            x, flipped = x[:, ::-1], flipped + 1
        top, left = int(y[0, 0]), int(x[0, 0])
        assert (y == np.arange(top, top + 32)[:, None]).all() and top + 32 <= sizes[i][0]
        assert (x == np.arange(left, left + 32)).all() and left + 32 <= sizes[i][1]
        corners.add((i, top, left))
    assert 60 < flipped < 140
    assert {i for i, _, _ in corners} == {0, 1, 2} and len(corners) > 100


def test_reduced_crops(tmp_path: Path) -> None:
    flat = save(tmp_path / "flat.png", np.full((80, 90, 3), (10, 100, 200), np.uint8))
    crops = PhotoSet([flat], CPU).crops(3, 32, 0.55, np.random.default_rng(0))
    assert crops.shape == (3, 3, 32, 32)
    expected = torch.tensor([10.0, 100.0, 200.0])[None, :, None, None].expand_as(crops) / 255
    torch.testing.assert_close(crops, expected, atol=1e-5, rtol=0)


def test_the_generator_decides(tmp_path: Path) -> None:
    photos = PhotoSet([save(tmp_path / "a.png", coordinates(90, 90, 1))], CPU)
    a, b, c = (photos.crops(4, 32, 0.7, np.random.default_rng(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_photographs_that_are_too_small_are_left_out(tmp_path: Path) -> None:
    small = save(tmp_path / "small.png", coordinates(31, 90, 1))
    large = save(tmp_path / "large.png", coordinates(32, 40, 2))
    crops = PhotoSet([small, large], CPU).crops(20, 32, 1.0, np.random.default_rng(0))
    assert ((crops[:, 2] * 255).round() == 2).all()
    with pytest.raises(ValueError, match="64 pixels"):
        PhotoSet([small, large], CPU).crops(1, 32, 0.5, np.random.default_rng(0))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", (32, 32), (51, 51, 51)).convert(mode).save(path)
    crop = PhotoSet([path], CPU).crops(1, 32, 1.0, np.random.default_rng(0))
    torch.testing.assert_close(crop * 255, torch.full((1, 3, 32, 32), 51.0), atol=1, rtol=0)


def test_a_damaged_photograph_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(OSError, match=r"broken\.png"):
        PhotoSet([path], CPU)
