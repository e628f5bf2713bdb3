"""Training set models: the loop, the commands, exporting."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from vlaec import zoo
from vlaec.cli.main import cli
from vlaec.errors import ModelWarning, UsageError
from vlaec.networks import SetVLAE
from vlaec.train import log
from vlaec.train.__main__ import main
from vlaec.train.machine import Machine
from vlaec.train.run import Budget
from vlaec.train.sets.augment import shifted, warped
from vlaec.train.sets.data import SetData
from vlaec.train.sets.precondition import plain, precondition, trained
from vlaec.train.sets.recipe import SET_RECIPES, SetRecipe
from vlaec.train.sets.trainer import SetTrainer, soft_free_bits

BINARY, COLOUR = SET_RECIPES["tiny-binary"], SET_RECIPES["tiny-colour"]
ONE_STEP = 1e-9  # minutes: a chunk ends after the step that exceeds it


def binary_data(dynamic: bool = False) -> SetData:
    """Filled boxes of random size and place."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:8, :12]
    tops, lefts = rng.integers(0, 6, 96), rng.integers(0, 9, 96)
    boxes = [
        (y >= t) & (y < t + 3) & (x >= left) & (x < left + 4)
        for t, left in zip(tops, lefts, strict=True)
    ]
    images = np.array(boxes, np.uint8) * (200 if dynamic else 1)
    return SetData(images[:64], images[64:80], images[80:], dynamic)


def colour_data() -> SetData:
    """Gradients between random colours."""
    rng = np.random.default_rng(4)
    ends = rng.integers(0, 256, (2, 96, 1, 1, 3))
    ramp = np.linspace(0, 1, 8)[:, None, None]
    images = np.broadcast_to(ends[0] * ramp + ends[1] * (1 - ramp), (96, 8, 8, 3))
    images = images.astype(np.uint8)
    return SetData(images[:64], images[64:80], images[80:])


def make_trainer(
    run: Path, steps: int, recipe: SetRecipe = BINARY, data: SetData | None = None
) -> SetTrainer:
    run.mkdir(exist_ok=True)
    if data is None:
        data = binary_data() if recipe.model.kind == "binary" else colour_data()
    return SetTrainer(recipe, data, run, Budget(steps=steps), Machine(torch.device("cpu")))


def silent(row: dict[str, float]) -> None:
    """A report for nobody."""


def state(run: Path) -> dict[str, torch.Tensor]:
    loaded = torch.load(run / "checkpoint.pt", weights_only=True)
    parts = ("model", "ema", "best")
    return {f"{part}.{k}": v for part in parts for k, v in loaded[part].items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


def write_mnist(folder: Path) -> Path:
    """A file like that of static MNIST."""
    rng = np.random.default_rng(5)
    rows = {name: rng.random((n, 784)) < 0.2 for name, n in (("train", 64), ("valid", 16))}
    packed = {k: np.packbits(v, axis=1) for k, v in (rows | {"test": rows["valid"]}).items()}
    np.savez(folder / "static_mnist.npz", **packed)
    return folder


@pytest.mark.parametrize("recipe", [BINARY, COLOUR], ids=["binary", "colour"])
def test_the_elbo_rises_on_images_not_trained_on(recipe: SetRecipe, tmp_path: Path) -> None:
    recipe = replace(recipe, learning_rate=1e-2, validations=2)
    trainer = make_trainer(tmp_path, 60, recipe)
    before = trainer.validate()["validation_elbo"]
    trainer.best_elbo = -math.inf
    assert trainer.train(None, silent)
    after = trainer.validate()["validation_elbo"]
    assert before < after < 0
    assert after > (0.7 if recipe is not COLOUR else 0.97) * before


def test_a_step_budget_repeats_and_resumes_to_the_bit(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("once", "again", "chunks")]
    recipe = replace(BINARY, validations=3, kl_target=2.0, dropout=0.1)
    chance = torch.get_rng_state()
    for run in runs[:2]:
        assert make_trainer(run, 10, recipe).train(None, silent)
    assert torch.equal(torch.get_rng_state(), chance)  # the caller's
    chunks = 0
    while not make_trainer(runs[2], 10, recipe).train(ONE_STEP, silent):
        chunks += 1
    assert chunks == 9
    once, again, resumed = (state(run) for run in runs)
    assert same(once, again) and same(once, resumed)
    make_trainer(tmp_path / "other", 10, replace(recipe, seed=2)).train(None, silent)
    assert not same(once, state(tmp_path / "other"))
    validated = [
        [row["validation_elbo"] for row in log.read(run / "log.jsonl") if "validation_elbo" in row]
        for run in runs
    ]
    assert len(validated[0]) == 3 and validated[0] == validated[1] == validated[2]


def test_a_time_budget_ends(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, 1)
    trainer.budget = Budget(minutes=1 / 60)
    assert trainer.train(None, silent) and 1 <= trainer.elapsed < 5
    rows = log.read(tmp_path / "log.jsonl")
    assert "validation_elbo" in rows[-1] and rows[-1]["images_per_second"] > 0
    assert rows[-1]["elbo"] < 0 and rows[-1]["kl"] >= 0


def test_the_best_weights_stay(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, 100)
    trainer.validate()
    best, elbo = {k: v.clone() for k, v in trainer.best.items()}, trainer.best_elbo
    for average in trainer.ema.values():
        average.add_(1)
    trainer.validate()
    assert trainer.best_elbo == elbo and same(trainer.best, best)
    for name, average in trainer.ema.items():
        average.copy_(best[name])
    assert trainer.validate()["validation_elbo"] == elbo


def test_validation_leaves_the_weights_alone(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, 100)
    trainer.one_step()
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    assert not same(before, trainer.ema)
    trainer.validate()
    assert same(before, trainer.model.state_dict())


def test_soft_free_bits_steer_the_kl(tmp_path: Path) -> None:
    recipe = replace(BINARY, kl_target=10.0)

    def next_weight(weight: float, kl: float, target: float = 10.0) -> float:
        return float(soft_free_bits(*torch.tensor([weight, kl, target]), recipe))

    assert next_weight(0.5, 10.6) == pytest.approx(0.55)
    assert next_weight(1.0, 11.0) == 1.0
    assert next_weight(0.5, 10.4) == 0.5
    assert 0.4 < next_weight(0.5, 9.9) < 0.5
    assert next_weight(1e-3, 0.0) > 0
    kls = []
    for target in (0.0, 8.0):
        run = tmp_path / str(target)
        make_trainer(
            run, 60, replace(BINARY, learning_rate=1e-2, kl_target=target, validations=1)
        ).train(None, silent)
        kls.append(log.read(run / "log.jsonl")[-1]["validation_kl"])
    assert kls[1] > max(kls[0], 4.0)


def test_the_kl_target_may_end_before_the_run(tmp_path: Path) -> None:
    recipe = replace(BINARY, kl_target=1e6, kl_until=0.5)
    trainer = make_trainer(tmp_path, 100, recipe)
    weights = []
    for trainer.step in range(0, 100, 10):
        trainer.one_step()
        weights.append(float(trainer.kl_weight))
    assert weights[:5] == sorted(weights[:5], reverse=True) and weights[4] < 0.7
    assert weights[5:] == sorted(weights[5:]) and weights[-1] == 1.0


@pytest.mark.parametrize("grey_context", [False, True])
def test_preconditioning_changes_steps_and_nothing_else(grey_context: bool, tmp_path: Path) -> None:
    config = replace(COLOUR.model, grey_context=grey_context)
    torch.manual_seed(0)
    model = SetVLAE(config)
    with torch.no_grad():
        model.pixelcnn.window.weight.normal_()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    precondition(model.pixelcnn)
    inside = model.state_dict()
    again = plain(inside)
    assert again.keys() == before.keys() and not before.keys() >= inside.keys()
    for name, value in before.items():
        torch.testing.assert_close(again[name], value)
    for name, value in trained(before, inside).items():
        torch.testing.assert_close(value, inside[name])

    trainer = make_trainer(tmp_path, 100, replace(COLOUR, model=config))
    trainer.one_step()
    trainer._save()
    start = make_trainer(tmp_path / "other", 100, replace(COLOUR, model=config))
    start.start_from(tmp_path)
    assert same(start.ema, trainer.best)


def test_an_epoch_shows_every_image_once(tmp_path: Path) -> None:
    images = np.arange(64, dtype=np.uint8)
    bits = np.unpackbits(images[:, None], axis=1)  # [64, 8]: the image's own number
    data = SetData(np.tile(bits[:, :, None], (1, 1, 12)), np.zeros((1, 8, 12), np.uint8), images)
    trainer = make_trainer(tmp_path, 100, BINARY, data)
    orders = []
    for epoch in range(2):
        seen = []
        for step in range(4):
            trainer.step = 4 * epoch + step
            trainer._choose()
            rows = trainer._batch()[:, 0, :, 0].to(torch.uint8).numpy()  # [16, 8]
            seen += np.packbits(rows, axis=1)[:, 0].tolist()
        assert sorted(seen) == list(range(64))
        orders.append(seen)
    assert orders[0] != orders[1]


def test_grey_images_are_binarised_anew_each_time(tmp_path: Path) -> None:
    grey = np.full((16, 8, 12), 64, np.uint8)
    grey[:, 0], grey[:, 1] = 0, 255
    trainer = make_trainer(tmp_path, 100, BINARY, SetData(grey, grey, grey, dynamic=True))
    draws = torch.stack([trainer._batch() for _ in range(20)])  # [20, 16, 1, 8, 12]
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert not draws[..., 0, :].any() and draws[..., 1, :].all()
    assert float(draws[..., 2:, :].mean()) == pytest.approx(64 / 255, abs=0.01)
    assert not torch.equal(draws[0], draws[1])


def test_flips_are_left_right(tmp_path: Path) -> None:
    image = colour_data().train[:1].copy()
    image[0, 0, 0] = (1, 2, 3)
    data = SetData(np.repeat(image, 64, 0), image, image)
    trainer = make_trainer(tmp_path, 100, replace(COLOUR, batch=64), data)
    x = (trainer._batch() * 255).round().to(torch.uint8)  # [64, 3, 8, 8]
    own = torch.from_numpy(image[0]).permute(2, 0, 1)
    straight = (x == own).flatten(1).all(1)
    assert ((x == own.flip(2)).flatten(1).all(1) ^ straight).all() and 10 < straight.sum() < 54


def test_shifts_move_whole_images_and_repeat_their_edges() -> None:
    torch.manual_seed(0)
    x = torch.rand(40, 2, 6, 7)
    moved = shifted(x, 2, torch.Generator().manual_seed(0))
    assert moved.shape == x.shape
    padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
    places = {(r, c): padded[:, :, r : r + 6, c : c + 7] for r in range(5) for c in range(5)}
    found = [{at for at, every in places.items() if every[i].equal(moved[i])} for i in range(40)]
    assert all(found)  # every image is where some shift takes it
    assert len(set.union(*found)) > 10 and not any(len(at) > 1 for at in found)


def test_warps_bend_images_and_keep_their_values() -> None:
    height, width = 20, 24
    rows = torch.arange(float(height))[:, None].expand(height, width)
    columns = torch.arange(float(width)).expand(height, width)
    x = torch.stack([rows, columns]).expand(200, 2, height, width).contiguous()
    bent = warped(x, 1.5, torch.Generator().manual_seed(0))
    assert bent.equal(bent.round())  # whole pixels
    moved = bent - x  # by how much, down and right
    assert 1.0 < float(moved[:, :, 5:-5, 5:-5].square().mean().sqrt()) < 2.0
    assert float(moved.diff(dim=3).abs().max()) <= 3  # smooth
    means = moved[:, :, 5:-5, 5:-5].mean((2, 3))
    assert float((moved - means[:, :, None, None])[:, :, 5:-5, 5:-5].square().mean()) > 0.3
    assert warped(x, 0.0, torch.Generator().manual_seed(0)).equal(x)


def test_images_of_another_form_are_refused(tmp_path: Path) -> None:
    for data in (colour_data(), replace(binary_data(), train=np.zeros((9, 8, 8), np.uint8))):
        with pytest.raises(ValueError, match=r"the model's \(1, 8, 12\)"):
            make_trainer(tmp_path, 1, BINARY, data)


def test_a_recipe_is_kept(tmp_path: Path) -> None:
    assert SetRecipe.from_dict(json.loads(json.dumps(COLOUR.to_dict()))) == COLOUR
    assert SetRecipe.from_dict({}) == SetRecipe()
    for wrong in ({"typo": 1}, {"dataset": "photos"}, {"model": {"typo": 1}}):
        with pytest.raises(ValueError, match=r"unknown|dataset"):
            SetRecipe.from_dict(wrong)
    make_trainer(tmp_path, 3).train(None, silent)
    with pytest.raises(ValueError, match="another recipe"):
        make_trainer(tmp_path, 3, replace(BINARY, seed=2))
    (tmp_path / "checkpoint.pt").write_bytes(b"PK")
    with pytest.raises(ValueError, match="damaged"):
        make_trainer(tmp_path, 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the MNIST shape by the command line; the data stand next to it."""
    folder = tmp_path_factory.mktemp("sets")
    write_mnist(folder)
    model = SET_RECIPES["tiny-binary"].model.to_dict()
    model |= {"height": 28, "width": 28, "latent_stride": 28}
    recipe = folder / "given.json"
    recipe.write_text(json.dumps({"model": model, "batch": 16, "validation_images": 16}))
    assert main([*command(folder, "run"), "--recipe", str(recipe), "--kl-target", "3"]) == 0
    return folder / "run"


def command(folder: Path, run: str, steps: int = 4) -> list[str]:
    shown = ["--steps", str(steps), "--run", str(folder / run), "--device", "cpu"]
    return ["set", "--data", str(folder), "--dataset", "mnist-static", *shown]


def test_a_run_by_command_can_go_on_and_start_another(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished.parent
    given = json.loads((finished / "recipe.json").read_text())
    assert given["kl_target"] == 3 and given["model"]["height"] == 28
    assert main([*command(folder, "run", 6)]) == 0  # the run's own recipe, no preset's
    assert torch.load(finished / "checkpoint.pt", weights_only=True)["step"] == 6
    assert main([*command(folder, "run", 8), "--kl-target", "4"]) == 2
    assert "another recipe" in capsys.readouterr().err

    recipe = ["--recipe", str(finished / "recipe.json")]
    init = ["--init", str(finished)]
    assert main([*command(folder, "tuned", 1), *recipe, *init]) == 0
    start, tuned = (state(folder / name) for name in ("run", "tuned"))
    moved = [(tuned[f"model.{k[5:]}"] - v).abs().max() for k, v in start.items() if "best" in k]
    assert max(moved) < 1e-3
    assert main([*command(folder, "other"), *init]) == 2  # the preset's model is another one
    assert "another one" in capsys.readouterr().err


def test_an_exported_model_is_one_that_archives_load(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "digits"
    arguments = ["export", str(finished), "--to", str(target), "--description", "a test"]
    assert main([*arguments, "--default"]) == main([*arguments, "--temperature", "1"]) == 2
    assert main(arguments) == 0
    monkeypatch.setenv("VLAEC_MODELS", str(tmp_path))
    card = zoo.find(name="digits")
    assert isinstance(card, zoo.SetCard)
    best = torch.load(finished / "checkpoint.pt", weights_only=True)["best"]
    weights = {k: v.float() for k, v in load_file(target.with_suffix(".safetensors")).items()}
    assert same(weights, {k: v.half().float() for k, v in best.items()})
    with pytest.raises(UsageError, match="vlaec archive"):
        zoo.load(card)
    values = json.loads(target.with_suffix(".json").read_text())
    assert SetRecipe.from_dict(values["training"]["recipe"]).dataset == "mnist-static"
    assert "texture" not in values
    values["kind"] = "film"
    target.with_suffix(".json").write_text(json.dumps(values))
    with pytest.warns(ModelWarning, match="newer"):
        assert "digits" not in {card.name for card in zoo.list_models()}


def test_photographs_are_not_compressed_with_a_set_model(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_models: Path,
) -> None:
    main(["export", str(finished), "--to", str(tmp_path / "digits"), "--description", "a test"])
    monkeypatch.setenv("VLAEC_MODELS", str(tmp_path))
    picture = tmp_path / "picture.png"
    Image.new("RGB", (20, 20)).save(picture)
    outcome = CliRunner().invoke(cli, ["compress", str(picture), "--model", "digits"])
    assert outcome.exit_code == UsageError.exit_code
    assert "sets of small images" in outcome.output and "archive" in outcome.output
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    with pytest.raises(UsageError, match="photographs"):
        zoo.load_set(zoo.find(name="tiny"))


def test_a_packed_checkpoint_resumes_with_a_warm_up(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    make_trainer(first, 100).train(ONE_STEP, silent)
    second.mkdir()
    assert main(["pack", str(first), "--to", str(second / "checkpoint.pt")]) == 0
    resumed = make_trainer(second, 100)
    assert resumed.step == resumed.warm_from == 1
    assert resumed._learning_rate() < 0.3 * BINARY.learning_rate
    resumed.train(ONE_STEP, silent)
    assert make_trainer(second, 100).step == 2


def test_what_a_run_logged_can_be_plotted(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    make_trainer(tmp_path, 6).train(None, silent)
    assert main(["plot", str(tmp_path)]) == 0
    with Image.open(tmp_path / "log.png") as image:
        assert image.size[0] > 100
