"""The paper's table and figures: what they are made of, and that the commands make them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from benchmarks.common import RESULTS, evenly
from benchmarks.paper import __main__ as paper
from benchmarks.paper import colour, density, flows, identity, table
from benchmarks.paper.baselines import ROWS
from benchmarks.paper.figure import GAP, LINE
from vlaec.bench.likelihood import likelihoods
from vlaec.networks.set_config import SET_PRESETS, SetConfig
from vlaec.networks.sets import SetVLAE
from vlaec.train.sets import data as sets_data
from vlaec.train.sets.data import SetData
from vlaec.train.sets.recipe import SET_RECIPES

SMALL = replace(
    SET_PRESETS["tiny-binary"], height=28, width=28, latent_channels=4, latent_stride=28
)
SMALL_COLOUR = replace(SET_PRESETS["tiny-colour"], height=32, width=32)
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


def objects(n: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy colour images [n, side, side, 3] whose class 0..9 is their hue, and the classes."""
    labels = np.arange(n, dtype=np.uint8) % 10
    hues = np.random.default_rng(1).integers(0, 226, (10, 3))
    noise = RANDOM.integers(0, 30, (n, side, side, 3))
    return (hues[labels, None, None] + noise).astype(np.uint8), labels


def write_cifar(path: Path, n: int) -> None:
    images, labels = objects(n, 32)
    rows = images.transpose(0, 3, 1, 2).reshape(n, -1)
    path.write_bytes(np.column_stack([labels, rows]).tobytes())


def write_model(folder: Path, name: str, config: SetConfig) -> None:
    """An untrained model."""
    torch.manual_seed(0)
    weights = {key: value.half() for key, value in SetVLAE(config).state_dict().items()}
    packed = save(weights, metadata={"config": json.dumps(config.to_dict())})
    card = {
        "kind": "set",
        "sha256": hashlib.sha256(packed).hexdigest(),
        "description": "untrained",
        "parameters": 1,
        "bytes": len(packed),
    }
    (folder / f"{name}.safetensors").write_bytes(packed)
    (folder / f"{name}.json").write_text(json.dumps(card))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small MNIST and CIFAR-10 in `data`; untrained models "digits", "c", "g"."""
    data, models = tmp_path / "data", tmp_path / "models"
    data.mkdir()
    models.mkdir()
    for split, (images, labels) in {"train": digits(1300), "t10k": digits(30)}.items():
        write_idx(data / f"{split}-images-idx3-ubyte", images)
        write_idx(data / f"{split}-labels-idx1-ubyte", labels)
    for i in range(1, 6):
        write_cifar(data / f"data_batch_{i}.bin", 40)
    write_cifar(data / "test_batch.bin", 20)
    write_model(models, "digits", SMALL)
    write_model(models, "c", SMALL_COLOUR)
    write_model(models, "g", replace(SMALL_COLOUR, grey_context=True))
    monkeypatch.setenv("VLAEC_MODELS", str(models))
    monkeypatch.setattr(sets_data, "MNIST_HOLD_OUT", 20)
    monkeypatch.setattr(sets_data, "CIFAR_HOLD_OUT", 10)
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


def test_commands_on_colour(workplace: Path) -> None:
    results = workplace / "results"
    data = ("--data", str(workplace / "data"))
    models = ("--models", "c", "g", *data)
    counts = ("--samples", "4", "--images", "3", "--all-samples", "2", "--dataset", "cifar10")
    out = ("--out", str(results / "likelihood.json"))
    assert paper.main(["likelihood", "--model", "g", *data, *counts, *out]) == 0
    assert paper.main(["fields", *models, "--images", "3", "--out", str(results)]) == 0
    counts = ("--images", "4", "--decompressions", "3", "--epochs", "1")
    assert paper.main(["colour", *models, *counts, "--out", str(results / "colour.json")]) == 0
    assert paper.main(["table", "--results", str(results)]) == 0

    drawn = json.loads((results / "fields.json").read_text())
    assert [m["window"] for m in drawn["models"]] == ["4x2", "4x2 grey"]
    with Image.open(results / drawn["picture"]) as picture:
        rows, columns = 1 + 2 * 2, 3
        assert picture.height == rows * (3 * 32 + GAP) - GAP + 2 * LINE
        assert picture.width > columns * (3 * 32 + GAP)

    found = json.loads((results / "colour.json").read_text())
    assert (found["images"], found["decompressions"]) == (4, 3)
    assert [m["model"] for m in found["models"]] == ["c", "g"]
    flat, other = found["references"]
    assert flat["texture_energy"] == 0 and flat["texture_correlation"] is None
    assert flat["colour_error"] < 1 < other["colour_error"]
    for measured in (*found["models"], other):
        assert measured["texture_energy"] > 0 and 0 < measured["psnr"] < 60

    text = (results / "table.md").read_text()
    likelihood = json.loads((results / "likelihood.json").read_text())
    share = -likelihood["all"]["kl"]["nats"][0] / likelihood["all"]["elbo"]["nats"][0]
    assert f"{100 * share:.1f} %" in text.split("What z has to tell")[1]
    assert "(fields.png)" in text
    assert f"| 4x2 grey, `g` | {found['models'][1]['bytes'] / 4:.1f} |" in text
    assert f"{found['models'][0]['colour_error']:.2f}" in text


@pytest.mark.parametrize("name", ["paper", "cifar10"])
def test_committed_tables_are_those_of_their_results(name: str) -> None:
    folder = RESULTS / name
    assert (folder / "table.md").read_text() == table.report(table.read_results(folder))


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


def test_the_classifier_tells_colours_apart() -> None:
    images, labels = objects(1280, 8)
    data = SetData(images, images, images, train_labels=labels, test_labels=labels)
    network = identity.train_classifier(data, epochs=3)
    originals, truth = images[:50], labels[:50]
    same = identity.agreement(network, originals, originals, truth)
    assert same["originals_recognised"] == same["decodes_recognised"] > 0.9
    assert same["same_answer"] == 1
    others = np.roll(originals, 1, 0)
    measured = colour.evaluate(network, originals, [originals, others], truth)
    assert measured["decodes_recognised"] == pytest.approx(same["decodes_recognised"] / 2, abs=0.05)
    assert measured["originals_recognised"] == same["originals_recognised"]


def test_a_classifier_needs_grey_or_colour_images_with_labels() -> None:
    images, labels = digits(10)
    for data in (
        SetData(images // 230, images, images, train_labels=labels),
        SetData(images, images, images, dynamic=True),
        SetData(objects(10, 8)[0], images, images),
    ):
        with pytest.raises(ValueError, match="labels"):
            identity.train_classifier(data, epochs=1)


def test_shifts_and_mirrors_are_all_that_varies() -> None:
    image = RANDOM.integers(0, 256, (7, 9, 3), np.uint8)
    margin = identity.CROP_MARGIN
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), "reflect")
    cuts = [padded[y : y + 7, x : x + 9] for y, x in product(range(2 * margin + 1), repeat=2)]
    allowed = {cut.tobytes() for cut in (*cuts, *(cut[:, ::-1] for cut in cuts))}
    varied = identity.shift_and_mirror(np.stack([image] * 3000), np.random.default_rng(0))
    assert varied.shape == (3000, 7, 9, 3)
    assert {one.tobytes() for one in varied} == allowed


@pytest.mark.parametrize("scales", [True, False])
def test_a_stack_of_flow_steps_is_a_density(scales: bool) -> None:
    """Against the change of variables, whose Jacobian is taken numerically."""
    torch.manual_seed(0)
    stack = flows.FlowStack(3, 16, 2, 2, scales).double()
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    z = 16 * torch.randn(4, 3, dtype=torch.float64)

    for row, found in zip(z, stack.log_density(z), strict=True):

        def vector(row: torch.Tensor) -> torch.Tensor:
            u = row[None, :, None, None] / 16
            for step in stack.steps:
                shift, log_scale = step(u)
                u = ((u - shift) * (torch.exp(-log_scale) if scales else 1)).flip(1)
            return (u[0, :, 0, 0] - stack.mean) / stack.log_scale.exp()

        jacobian = torch.autograd.functional.jacobian(vector, row)
        normal = -0.5 * (vector(row).square().sum() + 3 * np.log(2 * np.pi))
        assert float(found.detach()) == pytest.approx(
            float((normal + jacobian.det().abs().log()).detach()), abs=1e-6
        )
