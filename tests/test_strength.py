"""The encoder's choice of strength: texture for photographs, none where it is dirt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlaec import zoo
from vlaec.images import Picture
from vlaec.metrics.variance import variance_distance
from vlaec.photo import codec
from vlaec.photo.container import info
from vlaec.photo.strength import EDGE, SIDE, WINDOWS, Corner, _corners, choose_strength


def strength_of(pixels: np.ndarray, quality: float = 30) -> float:
    """As the header says."""
    return info(codec.encode(Picture(pixels), quality)).header.texture


def gradient(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([40 + 150 * x / width, 60 + 100 * y / height, 200 - 80 * x / width], 2).astype(
        np.uint8
    )


def test_photographs_get_all_of_their_texture(photo: Path) -> None:
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB"))
    for quality in (10, 80):
        assert strength_of(pixels, quality) == zoo.find(quality=quality).texture == 1


@pytest.mark.parametrize("grey", [True, False])
def test_grey_photographs_get_it_too(photo: Path, grey: bool) -> None:
    """Colours that texture has are not shown in them, and do not count."""
    with Image.open(photo) as image:
        pixels = np.repeat(np.asarray(image.convert("L"))[..., None], 3, 2)
    assert info(codec.encode(Picture(pixels, grey=grey), 30)).header.texture == 1


@pytest.mark.parametrize("size", [(256, 256), (120, 500)])
def test_clean_areas_stay_clean(size: tuple[int, int]) -> None:
    """With what the encoder chose the picture is no farther from the original than with none or all
    of the texture."""
    pixels = gradient(*size)
    data = codec.encode(Picture(pixels), 30)
    assert info(data).header.texture < 1
    distances = []
    for texture in (0.0, None, 1.0):
        shown = codec.decode(data, texture=texture).rgb
        a, b = (torch.from_numpy(p).permute(2, 0, 1)[None] / 255 for p in (pixels, shown))
        distances.append(float(variance_distance(a, b)))
    assert distances[1] <= min(distances[0], distances[2])


def test_the_choice_repeats_and_leaves_random_numbers_alone() -> None:
    state = torch.random.get_rng_state()
    files = {codec.encode(Picture(gradient(160, 90)), 40) for _ in range(2)}
    assert len(files) == 1 and torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("size", [(1, 1), (16, 300), (49, 64), (64, 49)])
def test_any_size(size: tuple[int, int]) -> None:
    """A picture that is too small to be compared has the model's own strength."""
    texture = strength_of(gradient(*size))
    assert texture == 1 if min(size) <= 48 else 0 <= texture <= 1


def test_a_model_without_texture_asks_for_none() -> None:
    silent = codec.Codec(replace(zoo.find(quality=30), texture=0.0))
    assert info(silent.encode(Picture(gradient(64, 64)), 30)).header.texture == 0


def test_windows_lie_in_the_picture_and_apart() -> None:
    for height, width in [(1, 1), (8, 8), (15, 40), (32, 48), (250, 190), (7, 90)]:
        corners = _corners(height, width)
        assert 1 <= len(corners) <= WINDOWS and len(set(corners)) == len(corners)
        for top, left in corners:
            assert top + min(SIDE, height) <= height and left + min(SIDE, width) <= width
            assert top % SIDE == left % SIDE == 0
    spread = _corners(250, 190)
    assert max(top for top, _ in spread) > 200 and max(left for _, left in spread) > 100


@pytest.mark.parametrize(
    ("loss", "strength"), [(0.6, 1.0), (0.2, 0.75), (0.15, 0.5), (0.1, 0.25), (0.0, 0.0)]
)
def test_the_highest_that_does_no_harm(loss: float, strength: float) -> None:
    """The decoder's texture has 30 levels; the original has `loss` of it and a little noise."""
    random = np.random.default_rng(0)
    noise, other = (random.normal(0, 1, (96, 96, 3)).astype(np.float32) for _ in range(2))
    rgb = np.clip(128 + 2 * noise + 30 * loss * noise, 0, 255).astype(np.uint8)

    def decode(corners: list[Corner], side: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        inner = other.transpose(2, 0, 1)[None, :, EDGE:-EDGE, EDGE:-EDGE]
        return (128 + 2 * inner) / 255, 30 * inner / 255

    assert choose_strength(rgb, (6, 6), decode) == strength
