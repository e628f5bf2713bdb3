"""The numbers behind the texture page."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from benchmarks.texture import spectrum
from benchmarks.texture.measure import Coder
from benchmarks.texture.render import (
    Layers,
    SizeSearch,
    bits_per_pixel,
    read_layers,
    sample,
    sample_in_parallel,
)
from benchmarks.texture.repetition import excess, repetition
from benchmarks.texture.residuals import Tally, block_means, compare, total_variation, wasserstein
from benchmarks.texture.sheets import HEIGHT, WIDTH, Place, contact_sheet, worst_place
from vlaec import zoo
from vlaec.images import Picture
from vlaec.networks import PRESETS, PhotoVLAE
from vlaec.photo.codec import Codec
from vlaec.photo.container import unpack
from vlaec.train.onnx_export import write_graphs


def test_distances_of_histograms() -> None:
    a, b = np.array([[0, 10, 0, 0]]), np.array([[0, 0, 0, 5]])
    assert total_variation(a, a) == 0 and wasserstein(a, a) == 0
    assert total_variation(a, b) == 1
    assert wasserstein(a, b) == 2


def test_block_means_are_of_whole_blocks() -> None:
    residual = np.zeros((3, 5, 4))
    residual[1, :2, 2:] = 8
    residual[:, 4] = 99  # a row that fills no block
    assert block_means(residual, 2).tolist() == [[0] * 4, [0, 8, 0, 0], [0] * 4]


def test_outbreaks_are_counted() -> None:
    random = np.random.default_rng(0)
    true, calm, wild = Tally(), Tally(), Tally()
    for tally in (true, calm, wild):
        tally.add(random.normal(0, 5, (3, 160, 160)))
    burst = random.normal(0, 5, (3, 160, 160))
    burst[:, :16, :32] += 60  # 2 of 100 blocks
    wild.add(burst)
    assert compare(true, true)["outbreaks"] == pytest.approx(0.001, abs=0.003)
    assert compare(true, calm)["outbreaks"] < 0.02
    assert compare(true, wild)["outbreaks"] == pytest.approx(0.01, abs=0.01)
    assert compare(true, calm)["wasserstein"] == pytest.approx([0, 0, 0], abs=0.2)
    assert true.deviation == pytest.approx([5, 5, 5], rel=0.05)


def test_white_noise_has_a_flat_spectrum() -> None:
    random = np.random.default_rng(1)
    grey = random.normal(128, 20, (96, 120, 1)).repeat(3, 2).round().clip(0, 255).astype(np.uint8)
    power = spectrum.log_power(grey)
    assert power.shape == spectrum.frequencies().shape
    assert power[8:] == pytest.approx(10 * np.log10(grey.var()), abs=2)
    soft = ((grey[:, :-1].astype(int) + grey[:, 1:]) // 2).astype(np.uint8)
    assert spectrum.log_power(soft)[-1] < power[-1] - 2
    assert spectrum.distance(power, power) == 0


def test_a_flat_picture_has_no_power() -> None:
    flat = np.full((40, 50, 3), 77, np.uint8)
    assert spectrum.log_power(flat) == pytest.approx(10 * np.log10(1 / 12))


def test_a_lattice_is_an_excess_of_repetition() -> None:
    random = np.random.default_rng(1)
    first, second = random.normal(128, 9, (2, 96, 120, 3)).round().astype(np.uint8)
    grid = first + 9 * (np.indices((96, 120)).sum(0) % 4 == 0)[:, :, None].astype(np.uint8)
    assert excess(repetition(first), repetition(first)) == 0
    assert abs(excess(repetition(first), repetition(second))) < 2
    assert excess(repetition(first), repetition(grid)) > 6


@pytest.mark.parametrize("step", [1, 0.01])
@pytest.mark.parametrize("power", [0.5, 1, 3])
def test_sizes_are_found(step: float, power: float) -> None:
    def size_of(level: float) -> int:
        return round(1000 + 99000 * (level / 100) ** power)

    search = SizeSearch(lambda level: bytes(size_of(level)), 0, 100, step)
    for size in (1500, 20000, 70000):
        level, data = search(size)
        assert len(data) == size_of(level)
        neighbours = (max(0, level - step), min(100, level + step))
        best = min(abs(size_of(neighbour) - size) for neighbour in neighbours)
        assert abs(len(data) / size - 1) < 0.005 or abs(len(data) - size) <= best
    assert len(search.files) < 40  # shared by all three


def test_sizes_out_of_reach_give_the_nearest_end() -> None:
    search = SizeSearch(lambda level: bytes(int(100 + level)), 0, 100, 1)
    assert search(10)[0] == 0 and search(1000)[0] == 100
    assert len(search.files) == 2


def test_parallel_sampling_converges_to_sampling_in_order(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    torch.manual_seed(0)
    codec = Codec(zoo.find())
    features = torch.randn(PRESETS["tiny"].features, 5, 6)
    mean, detail = torch.rand(2, 3, 5, 6).unbind()
    layers = Layers(mean, detail, features, key=3, strength=1)
    expected = sample(codec, layers, 1.0)
    steps = sample_in_parallel(codec, layers, 1.0, steps=30)
    torch.testing.assert_close(steps, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(sample_in_parallel(codec, layers, 1.0, steps=1), expected)
    assert bits_per_pixel(codec, layers, expected) > 0


def test_layers_make_the_decoded_picture(
    tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    codec = Codec(zoo.find(name="tiny"))
    rgb = np.random.default_rng(2).integers(0, 256, (140, 37, 3), dtype=np.uint8)
    data = codec.encode(Picture(rgb), 60)
    layers = read_layers(codec, data)
    picture = layers.picture(sample(codec, layers, codec.sampler.temperature), layers.strength)
    difference = picture.astype(int) - codec.decode(unpack(data)).rgb
    assert np.abs(difference).max() <= 1  # bands round differently from the whole


def test_files_are_made_by_the_models_of_their_qualities(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = json.loads((tiny_models / "tiny.json").read_text())
    tensors = load_file(tiny_models / "tiny.safetensors")
    model = PhotoVLAE(PRESETS["tiny"])
    for name, qualities in (("low", (0, 60)), ("high", (60, 100))):
        tensors["to_mean.bias"] = tensors["to_mean.bias"] + 0.01  # other weights, another id
        data = save(tensors, metadata={"config": json.dumps(PRESETS["tiny"].to_dict())})
        (tmp_path / f"{name}.safetensors").write_bytes(data)
        model.load_state_dict(tensors)
        graphs = write_graphs(model, tmp_path / f"{name}.safetensors")
        own = {"sha256": hashlib.sha256(data).hexdigest(), "qualities": qualities}
        own |= {"bytes": len(data), "graphs": graphs}
        (tmp_path / f"{name}.json").write_text(json.dumps(card | own))
    monkeypatch.setenv("VLAEC_MODELS", str(tmp_path))
    coder = Coder(None)
    picture = Picture(np.zeros((20, 30, 3), np.uint8))
    for quality, name in ((0, "low"), (59.99, "low"), (60.01, "high"), (100, "high")):
        assert coder.at(quality).card.name == name
        assert coder.of(coder.at(quality).encode(picture, quality)).card.name == name
    assert [codec.card.name for codec in coder.codecs] == ["low", "high"]
    assert coder.qualities == (0, 100)
    one = Coder("high")
    assert one.qualities == (60, 100) and [codec.card.name for codec in one.codecs] == ["high"]


def test_the_worst_place_is_found() -> None:
    original = np.zeros((300, 400, 3), np.uint8)
    mean, textured = original.copy(), original.copy()
    mean[200:210, 20:30] = 200  # an error of the mean is not the texture's
    textured[150:160, 300:310] = 90
    left, top = worst_place(original, mean, textured)
    assert top <= 150 and top + HEIGHT >= 160 and left <= 300 and left + WIDTH >= 310


def test_contact_sheets_show_crops_as_they_are() -> None:
    random = np.random.default_rng(3)
    photo = random.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    crop = Place("noise", "photo", 40, 30).cut(photo)
    assert crop.shape == (HEIGHT, WIDTH, 3) and np.array_equal(crop[0, 0], photo[30, 40])
    sheet = np.asarray(contact_sheet(["a", "b"], [("noise", [crop, crop])]))
    assert np.array_equal(sheet[-HEIGHT - 4 : -4, -WIDTH:], crop)
