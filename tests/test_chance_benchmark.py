"""What chance decides, by octave; files of a given size by any version of vlaec."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vlaec
from benchmarks.chance import __main__ as benchmark
from benchmarks.chance import samples
from benchmarks.figure import around
from benchmarks.texture import octaves


def noise(seed: int, rms: float = 8.0) -> np.ndarray:
    """[64, 96, 3] around grey, the same in all channels."""
    grain = np.random.default_rng(seed).normal(0, rms, (64, 96, 1)).repeat(3, 2)
    return (128 + grain).round().clip(0, 255).astype(np.uint8)


def test_octaves_add_up_to_the_mean_square() -> None:
    plane = np.random.default_rng(1).normal(3, 5, (48, 37))
    assert octaves.by_octave(plane).sum() == pytest.approx(np.mean(plane**2))


@pytest.mark.parametrize(("cycles", "octave"), [(0, 0), (3, 0), (6, 1), (12, 2), (20, 3), (32, 3)])
def test_a_wave_is_in_its_octave(cycles: int, octave: int) -> None:
    wave = np.cos(2 * np.pi * cycles * np.arange(64) / 64)
    energy = octaves.by_octave(np.broadcast_to(wave, (32, 64)))
    assert energy.argmax() == octave and energy[octave] == pytest.approx(energy.sum())


def test_colours_without_a_difference_have_no_chroma() -> None:
    grey = np.random.default_rng(2).normal(0, 5, (16, 16, 1)).repeat(3, 2)
    assert octaves.chroma(grey) == pytest.approx(np.zeros(4), abs=1e-9)
    assert octaves.luma(grey).sum() == pytest.approx(np.mean(grey**2), rel=1e-6)
    assert octaves.chroma(grey * [1, 0, 0]).sum() > 1


def test_share_of_chance() -> None:
    flat = np.full((64, 96, 3), 128, np.uint8)
    all_of_it = octaves.shares([octaves.chance(flat, noise(1), noise(2))])
    assert all_of_it["share"] == pytest.approx(1, abs=0.05)
    assert all_of_it["share_by_octave"][-1] == pytest.approx(1, abs=0.05)
    assert all_of_it["rms"]["texture"][-1] == pytest.approx(8, abs=0.3)
    assert octaves.shares([octaves.chance(flat, noise(1), noise(1))])["share"] == 0
    # Half of the energy is the same in both samples.
    one, two = (np.clip(noise(0).astype(int) + noise(s) - 128, 0, 255) for s in (1, 2))
    half = octaves.shares([octaves.chance(flat, one.astype(np.uint8), two.astype(np.uint8))])
    assert half["share"] == pytest.approx(0.5**0.5, abs=0.05)


def test_files_of_a_given_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def compress(image: Image.Image, quality: float) -> bytes:
        return bytes(round(300 * 2 ** (quality / 12)))

    monkeypatch.setattr(vlaec, "compress", compress)
    files: dict[float, bytes] = {}
    for size in (2000, 5000, 30000):
        data = samples.nearest(Image.new("RGB", (8, 8)), size, files)
        assert len(data) == pytest.approx(size, rel=samples.CLOSE)
    assert len(samples.nearest(Image.new("RGB", (8, 8)), 10, files)) < 310
    assert len(files) < 25


def test_the_page(data_dir: Path, tmp_path: Path) -> None:
    pictures, now, before = tmp_path / "pictures", tmp_path / "now", tmp_path / "before"
    for folder in (pictures, now, before):
        folder.mkdir()
    for name in ("a", "b"):
        original = np.random.default_rng(3).integers(0, 256, (64, 128, 3), dtype=np.uint8)
        Image.fromarray(original).save(pictures / f"{name}.png")
        for folder, seed in ((now, 2), (before, 1)):
            flat = np.full_like(original, 128)
            shots = {"plain": flat, "first": noise(1), "second": noise(seed)}
            shots = {key: np.resize(shot, original.shape) for key, shot in shots.items()}
            np.savez(folder / f"{name}@2.npz", bytes=2048, **shots)
    rest = ["--rates", "2", "--rivals", "webp", "--weights", str(data_dir / "lpips")]
    folders = ["--samples", f"now={now}", "--samples", f"before={before}"]
    keep = ["--keep", str(tmp_path / "keep"), "--out", str(tmp_path)]
    for _ in range(2):  # the second finds the rival's pictures
        benchmark.main([str(pictures), *rest, *folders, *keep])
    rows = json.loads((tmp_path / "results.json").read_text())["rates"]["2"]
    assert rows["now"]["bpp"] == 2 and rows["webp"]["bpp"] > 0
    assert rows["before"]["chance"]["share"] == 0 < rows["now"]["chance"]["share"]
    assert (tmp_path / "README.md").read_text().count("| now") >= 2
    assert len(list((tmp_path / "keep").iterdir())) == 2


def test_a_region_holds_the_square_that_is_shown() -> None:
    image = np.arange(90 * 120 * 3, dtype=np.uint32).reshape(90, 120, 3)
    for x, y in ((0, 0), (50, 30), (100, 70)):
        part, left, top = around(image, x, y, side=20, region=64)
        assert part.shape == (64, 64, 3)
        assert np.array_equal(part[top : top + 20, left : left + 20], image[y : y + 20, x : x + 20])
    whole, left, top = around(image, 50, 30, side=20, region=1 << 20)
    assert whole.shape == image.shape and (left, top) == (50, 30)
