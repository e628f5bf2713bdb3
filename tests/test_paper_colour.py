"""What colour images keep: the measures' laws, and the drawings of figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.paper import colour
from benchmarks.paper.figure import GAP, LINE, labelled, sheet

RANDOM = np.random.default_rng(0)


def pictures(seed: int, *shape: int) -> np.ndarray:
    """Random colour images [*shape, H, W, 3] whose sides are multiples of 4."""
    random = np.random.default_rng(seed)
    height, width = 4 * random.integers(1, 4, 2)
    return random.integers(0, 256, (*shape, height, width, 3), np.uint8)


@given(seed=st.integers(0, 1000))
def test_means_of_constant_blocks_are_exact(seed: int) -> None:
    means = pictures(seed, 2)
    flat = colour.spread(means)
    assert flat.shape == (2, 4 * means.shape[1], 4 * means.shape[2], 3)
    np.testing.assert_array_equal(colour.block_means(flat), means)
    np.testing.assert_array_equal(colour.without_texture(flat), flat)
    # Each block is where it belongs: a pixel's mean is that of the block it lies in.
    np.testing.assert_array_equal(flat[:, 3::4, 0::4], means)


@given(seed=st.integers(0, 1000))
def test_nothing_differs_from_itself(seed: int) -> None:
    images = pictures(seed, 3)
    same = colour.fidelity(images, images[None])
    assert same["psnr"] is None and same["psnr_of_means"] is None
    assert same["colour_error"] == same["luma_error"] == 0
    assert same["texture_energy"] == pytest.approx(1)
    assert same["texture_correlation"] == pytest.approx(1)


@given(seed=st.integers(0, 1000), change=st.integers(1, 40))
def test_a_change_of_grey_is_no_change_of_colour(seed: int, change: int) -> None:
    images = pictures(seed, 2) // 2
    found = colour.fidelity(images, (images + np.uint8(change))[None])
    assert found["colour_error"] == pytest.approx(0, abs=1e-9)
    assert found["luma_error"] == pytest.approx(change)
    decibels = 20 * np.log10(255 / change)
    assert found["psnr"] == pytest.approx(decibels)
    assert found["psnr_of_means"] == pytest.approx(decibels)
    assert found["texture_correlation"] == pytest.approx(1)


@given(seed=st.integers(0, 1000))
def test_texture_moves_within_blocks(seed: int) -> None:
    images = pictures(seed, 2)
    n, height, width, _ = images.shape
    blocks = images.reshape(n, height // 4, 4, width // 4, 4, 3)[:, :, ::-1].reshape(images.shape)
    found = colour.fidelity(images, blocks[None])
    assert found["psnr_of_means"] is None and found["luma_error"] == found["colour_error"] == 0
    assert found["texture_energy"] == pytest.approx(1)
    assert found["texture_correlation"] < 0.9
    flat = colour.fidelity(images, colour.without_texture(images)[None])
    assert flat["texture_energy"] == 0 and flat["texture_correlation"] is None
    assert flat["luma_error"] <= 0.5 and flat["colour_error"] <= 1


@given(seed=st.integers(0, 1000))
def test_decodes_count_alike(seed: int) -> None:
    images, *decodes = pictures(seed, 4, 2)
    errors = [10 ** (-colour.fidelity(images, one[None])["psnr"] / 10) for one in decodes]
    together = colour.fidelity(images, np.stack(decodes))["psnr"]
    assert together == pytest.approx(-10 * np.log10(np.mean(errors)))


def test_luma_and_colour_are_those_of_jpeg() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    luma, chroma = colour.ycbcr(image.astype(float))
    expected = np.asarray(Image.fromarray(image).convert("YCbCr")).astype(float)
    found = np.concatenate([luma[..., None], chroma + 128], -1)
    # Pillow cuts fractions off, of sums from tables that err by up to 0.05.
    assert np.abs(found - expected - 0.5).max() < 0.55


def test_labels_stand_beside_their_blocks() -> None:
    rows = [RANDOM.integers(0, 255, (3, 16, 16, 3), np.uint8) for _ in range(4)]
    blocks, scale = [rows[:1], rows[1:3], rows[3:]], 3
    pictures = np.asarray(sheet(blocks, scale))
    drawn = np.asarray(labelled(blocks, ["original", "7x4 grey\n123 bytes", ""], scale))
    margin = drawn.shape[1] - pictures.shape[1]
    np.testing.assert_array_equal(drawn[:, margin:], pictures)
    rise = 3 * 16 + GAP
    inked = (drawn[:, :margin] < 128).any((1, 2))
    assert inked[: rise - GAP].any() and not inked[rise - GAP : rise + LINE].any()
    second = inked[rise + LINE :]
    assert second[: 2 * rise - GAP].any() and not second[2 * rise - GAP :].any()
    above, below = (half.sum() for half in np.split(second[: 2 * rise - GAP], 2))
    assert abs(int(above) - int(below)) <= 4  # two lines, half-way down
    assert not (drawn[:, margin - GAP : margin] < 128).any()


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 5, 4, 3)])
def test_a_sheet_shows_every_pixel(shape: tuple[int, ...]) -> None:
    rows = [RANDOM.integers(0, 255, shape, np.uint8) for _ in range(4)]
    scale = 2
    drawn = np.asarray(sheet([rows[:1], rows[1:3], rows[3:]], scale))
    for i, row in enumerate(rows):
        top = i * (scale * 5 + GAP) + (0, 1, 1, 2)[i] * LINE
        for j, image in enumerate(row):
            left = j * (scale * 4 + GAP)
            cut = drawn[top : top + scale * 5, left : left + scale * 4]
            for dy, dx in np.ndindex(scale, scale):
                np.testing.assert_array_equal(cut[dy::scale, dx::scale], image)
    assert drawn.shape[:2] == (4 * (scale * 5 + GAP) - GAP + 2 * LINE, 3 * (scale * 4 + GAP) - GAP)
