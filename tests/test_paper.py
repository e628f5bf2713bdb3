"""The paper's table and figures: what they are made of, and that the commands make them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from benchmarks.paper import __main__ as paper
from benchmarks.paper import density, identity
from benchmarks.paper.baselines import ROWS
from benchmarks.paper.figure import GAP, LINE, sheet
from benchmarks.paper.record import evenly
from vlaec.bench.likelihood import likelihoods
from vlaec.model.set_config import SET_PRESETS
from vlaec.model.sets import SetVLAE
from vlaec.train import sets_data
from vlaec.train.sets_data import SetData
from vlaec.train.sets_recipe import SET_RECIPES

SMALL = replace(
    SET_PRESETS["tiny-binary"], height=28, width=28, latent_channels=4, latent_stride=28
)
RANDOM = np.random.default_rng(0)


def digits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey images [n, 28, 28] that tell their class 0..9 by where the ink is, and the classes."""
    labels = np.arange(n, dtype=np.uint8) % 10
    images = np.zeros((n, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4 + 10 * (label // 5) :][:8, 1 + 5 * (label % 5) :][:, :5] = 230
    return images, labels


def write_idx(path: Path, values: np.ndarray) -> None:
    shape = np.array(values.shape, ">u4").tobytes()
    path.write_bytes(b"\0\0\x08" + bytes([values.ndim]) + shape + values.tobytes())


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small MNIST in `data`, and an untrained model named "digits"."""
    data, models = tmp_path / "data", tmp_path / "models"
    data.mkdir()
    models.mkdir()
    for split, (images, labels) in {"train": digits(1300), "t10k": digits(30)}.items():
        write_idx(data / f"{split}-images-idx3-ubyte", images)
        write_idx(data / f"{split}-labels-idx1-ubyte", labels)
    torch.manual_seed(0)
    weights = {key: value.half() for key, value in SetVLAE(SMALL).state_dict().items()}
    packed = save(weights, metadata={"config": json.dumps(SMALL.to_dict())})
    card = {
        "kind": "set",
        "sha256": hashlib.sha256(packed).hexdigest(),
        "description": "untrained",
        "parameters": 1,
        "bytes": len(packed),
    }
    (models / "digits.safetensors").write_bytes(packed)
    (models / "digits.json").write_text(json.dumps(card))
    monkeypatch.setenv("VLAEC_MODELS", str(models))
    monkeypatch.setattr(sets_data, "MNIST_HOLD_OUT", 20)
    recipe = replace(SET_RECIPES["tiny-binary"], model=SMALL)
    monkeypatch.setitem(SET_RECIPES, "tiny-binary", recipe)
    return tmp_path


def run(workplace: Path, command: str, *options: str) -> int:
    data = ["--data", str(workplace / "data"), "--dataset", "mnist-dynamic"]
    return paper.main([command, *data, *options])


def test_commands(workplace: Path) -> None:
    results = workplace / "results"
    results.mkdir()
    model = ("--model", "digits")
    likelihood = results / "likelihood.json"
    counts = ("--samples", "8", "--images", "3", "--all-samples", "2")
    assert run(workplace, "likelihood", *model, *counts, "--out", str(likelihood)) == 0
    assert run(workplace, "figure", *model, "--images", "4", "--out", str(results)) == 0
    counts = ("--images", "5", "--epochs", "1")
    assert run(workplace, "identity", *model, *counts, "--out", str(results / "i.json")) == 0
    assert paper.main(["table", "--results", str(results)]) == 0

    found = json.loads(likelihood.read_text())
    assert (found["some"]["images"], found["some"]["samples"]) == (3, 8)
    assert (found["all"]["images"], found["all"]["samples"]) == (30, 2)
    assert found["command"].startswith("python -m benchmarks.paper likelihood --data")
    assert found["machine"]["threads"] == 1 and found["minutes"] >= 0
    text = (results / "table.md").read_text()
    assert f"{found['corrected']['nats'][0]:.2f}" in text
    assert "78.53" in text  # the paper's
    assert "(figure-digits.png)" in text and (results / "figure-digits.png").exists()
    assert "What a lossy archive keeps of a digit" in text


def test_baselines_resume_and_keep_what_is_finished(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = workplace / "baselines.json"
    runs = ("--preset", "tiny-binary", "--runs", str(workplace / "runs"), "--out", str(out))
    counts = ("--steps", "2", "--images", "3", "--samples", "2")
    assert run(workplace, "baselines", *runs, *counts, "--rows", "gaussian") == 0
    first = json.loads(out.read_text())["rows"]
    assert list(first) == ["gaussian"]
    assert run(workplace, "baselines", *runs, *counts) == 0
    rows = json.loads(out.read_text())["rows"]
    assert list(rows) == list(ROWS)
    assert rows["gaussian"] == first["gaussian"]
    assert rows["pixelcnn"]["kl"]["nats"] == [0, 0]
    assert all(row["steps"] == 2 for row in rows.values())
    assert run(workplace, "baselines", *runs, *counts[:-1], "3") == 2
    assert "other arguments" in capsys.readouterr().err
    assert paper.main(["table", "--results", str(workplace)]) == 0
    text = (workplace / "table.md").read_text()
    assert all(row["about"] in text for row in rows.values())


def test_every_baseline_is_another_model() -> None:
    configs = [row.change(SMALL) for row in ROWS.values()]
    assert all(a != b for a, b in combinations(configs, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "absent"), "no model named"),
        (("--model", "digits", "--data", "/nowhere"), "no train-images"),
    ],
)
def test_what_cannot_be_measured_is_an_error(
    workplace: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert run(workplace, "likelihood", "--out", str(workplace / "a.json"), *options) == 2
    assert message in capsys.readouterr().err


def test_the_table_refuses_what_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "foreign.json").write_text("[]")
    assert paper.main(["table", "--results", str(tmp_path)]) == 2
    assert not (tmp_path / "table.md").exists()


def test_few_samples_of_all_images_are_corrected_by_many_of_some() -> None:
    torch.manual_seed(0)
    model = SetVLAE(SET_PRESETS["tiny-binary"]).requires_grad_(False)
    torch.nn.init.normal_(model.pixelcnn.head.weight, std=0.2)
    torch.nn.init.constant_(model.pixelcnn.head.bias, -1.0)
    shares = RANDOM.random((60, 1, 1))  # of ones, so that images differ in what they cost
    images = (RANDOM.random((60, 8, 12)) < shares).astype(np.uint8)
    measured = density.measure(model, images, 128, 20, 4, 0, lambda done: None)
    best = likelihoods(model, images, 128).nll.mean()
    mean, error = measured["corrected"]["nats"]
    assert abs(mean - best) < 4 * error
    # What it is for: closer than either part, whose gap or error it removes.
    assert error < 0.2 * measured["some"]["nll"]["nats"][1]
    assert abs(mean - best) < abs(measured["all"]["nll"]["nats"][0] - best)


@given(total=st.integers(1, 500), count=st.integers(1, 600))
def test_evenly_spaced_indices(total: int, count: int) -> None:
    chosen = evenly(total, count)
    assert len(chosen) == min(total, count)
    assert chosen[0] == 0 and chosen[-1] < total
    steps = np.diff(chosen)
    assert not len(steps) or (steps.min() >= 1 and steps.max() - steps.min() <= 1)


def test_the_classifier_tells_digits_apart() -> None:
    images, labels = digits(1280)
    data = SetData(images, images, images, dynamic=True, train_labels=labels, test_labels=labels)
    network = identity.train_classifier(data, epochs=3)
    originals, truth = (images[:100] > 0).astype(np.uint8), labels[:100]
    same = identity.compare(network, originals, originals, truth)
    assert same["originals_recognised"] == same["decodes_recognised"] == same["same_answer"] == 1
    assert same["pixels_that_differ"] == same["digits_that_differ"] == 0
    flipped = originals.copy()
    flipped[:, 0, 0] ^= 1
    nearly = identity.compare(network, originals, flipped, truth)
    assert nearly["decodes_recognised"] > 0.9 and nearly["digits_that_differ"] == 1
    assert nearly["pixels_that_differ"] == pytest.approx(1 / 784)
    others = identity.compare(network, originals, np.roll(originals, 1, 0), truth)
    assert others["decodes_recognised"] == 0


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 5, 4, 3)])
def test_a_sheet_shows_every_pixel(shape: tuple[int, ...]) -> None:
    rows = [RANDOM.integers(0, 255, shape, np.uint8) for _ in range(3)]
    scale = 2
    drawn = np.asarray(sheet(rows[0], rows[1:], scale))
    for i, row in enumerate(rows):
        top = i * (scale * 5 + GAP) + (LINE if i else 0)
        for j, image in enumerate(row):
            left = j * (scale * 4 + GAP)
            cut = drawn[top : top + scale * 5, left : left + scale * 4]
            for dy, dx in np.ndindex(scale, scale):
                np.testing.assert_array_equal(cut[dy::scale, dx::scale], image)
    assert drawn.shape[:2] == (3 * (scale * 5 + GAP) - GAP + LINE, 3 * (scale * 4 + GAP) - GAP)
