"""The training loop and its commands: learning, resuming, exporting."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training import RECIPE, make_trainer, silent, write_photos

from vlaec import zoo
from vlaec.photo.codec import Codec
from vlaec.train import log
from vlaec.train.__main__ import main
from vlaec.train.machine import Machine
from vlaec.train.photo.recipe import RECIPES, Recipe
from vlaec.train.photo.trainer import Trainer
from vlaec.train.run import Budget

ONE_STEP = 1e-9  # minutes: a chunk ends after the step that exceeds it


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of some 150 steps by the command line."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = folder / "given.json"
    # A dictionary of what differs from the defaults is a recipe, too.
    values = replace(RECIPE, batch=4, reduced=0.0).to_dict()
    recipe.write_text(json.dumps({k: v for k, v in values.items() if k != "seed"}))
    run = folder / "run"
    assert main(command(photos, run, "--recipe", str(recipe), "--steps", "150")) == 0
    return run


def command(photos: Path, run: Path, *rest: str) -> list[str]:
    return ["photo", "--preset", "tiny", "--data", str(photos), "--run", str(run), *rest]


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    return {f"{part}.{k}": v for part in ("model", "ema") for k, v in state[part].items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


def test_the_loss_falls(photos: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, batch=4, reduced=0.0, sampler_from=2.0)
    trainer = make_trainer(photos, tmp_path, 150, recipe)
    losses = []
    while trainer._progress() < 1:
        losses.append(float(trainer._one_step(texture=False).total.detach()))
        trainer.step += 1
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_a_step_budget_repeats_and_resumes_to_the_bit(photos: Path, tmp_path: Path) -> None:
    """Ten steps at once, again, and as ten runs of one step each: stage A and B."""
    runs = [tmp_path / name for name in ("once", "again", "chunks")]
    for run in runs[:2]:
        assert make_trainer(photos, run, 10).train(None, silent)
    chunks = 0
    while not make_trainer(photos, runs[2], 10).train(ONE_STEP, silent):
        chunks += 1
    assert chunks == 9
    once, again, resumed = (weights(run) for run in runs)
    assert same(once, again) and same(once, resumed)
    other = tmp_path / "other"
    make_trainer(photos, other, 10, replace(RECIPE, seed=2)).train(None, silent)
    assert not same(once, weights(other))


def test_runs_in_threads_are_as_alone_and_leave_the_callers_chance(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else draws random numbers at the time; all stages, from the first weights on."""
    seeds = (1, 2)
    recipe = replace(
        RECIPE.weighted(adversary=0.0), last_weights={"adversary": 1.0}, start="klt", crop=64
    )

    def run(name: str, seed: int) -> dict[str, torch.Tensor]:
        mixed = replace(recipe, seed=seed, sampler_from=0.25, structure_until=0.75)
        make_trainer(photos, tmp_path / name, 4, mixed).train(None, silent)
        return weights(tmp_path / name)

    monkeypatch.setattr("vlaec.train.photo.trainer.START_PIXELS", 100_000)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    alone = [run(f"alone-{seed}", seed) for seed in seeds]
    with ThreadPoolExecutor(len(seeds)) as pool:
        together = list(pool.map(run, [f"together-{seed}" for seed in seeds], seeds))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))
    assert not same(alone[0], alone[1])


def test_a_time_budget_ends_and_its_chunks_follow_one_schedule(
    photos: Path, tmp_path: Path
) -> None:
    trainer = make_trainer(photos, tmp_path, 1)
    trainer.budget = Budget(minutes=1.5 / 60)
    assert not trainer.train(0.5 / 60, silent)
    resumed = make_trainer(photos, tmp_path, 1)
    resumed.budget = trainer.budget
    assert resumed.elapsed == trainer.elapsed and resumed.step == trainer.step > 0
    assert resumed._learning_rate() == pytest.approx(trainer._learning_rate())
    assert resumed.train(None, silent) and 1.5 <= resumed.elapsed < 3
    rates = [row["rate"] for row in log.read(tmp_path / "log.jsonl")]
    assert rates[0] > rates[-1] >= RECIPE.final_rate


def test_the_schedule(photos: Path, tmp_path: Path) -> None:
    trainer = make_trainer(photos, tmp_path, 1000)
    rates = []
    for trainer.step in range(1000):
        rates.append(trainer._learning_rate())
    peak = int(np.argmax(rates))
    assert peak == RECIPE.warmup_steps - 1
    assert rates[peak] == pytest.approx(RECIPE.learning_rate, rel=1e-3)
    assert all(a >= b for a, b in zip(rates[peak:], rates[peak + 1 :], strict=False))
    assert rates[-1] == pytest.approx(RECIPE.final_rate, rel=0.1)


def test_stage_c_trains_the_texture_alone_on_a_schedule_of_its_own(
    photos: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE.weighted(energy=1.0), sampler_from=0.25, structure_until=0.5)
    trainer = make_trainer(photos, tmp_path, 1000, recipe)
    rates = {}
    for trainer.step in (499, 500, 750, 999):
        rates[trainer.step] = trainer._learning_rate()
    assert rates[499] == pytest.approx(recipe.final_rate, rel=0.1) == rates[999]
    assert rates[500] == pytest.approx(recipe.learning_rate)
    assert rates[500] > rates[750] > rates[999]

    trainer = make_trainer(photos, tmp_path, 20, recipe)
    trainer.step = 10
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    trainer.train(None, silent)
    changed = {
        name.split(".")[0]
        for name, p in trainer.model.named_parameters()
        if not torch.equal(p, before[name])
    }
    assert changed == {"texture_synthesis", "to_detail", "to_features", "pixelcnn"}


def test_budgets() -> None:
    assert Budget(minutes=2).spent(999, 60) == 0.5 and Budget(steps=4).spent(1, 999) == 0.25
    assert str(Budget(minutes=2.5)) == "2.5 minutes" and str(Budget(steps=7)) == "7 steps"
    for wrong in ({}, {"minutes": 1, "steps": 1}, {"minutes": 0}, {"steps": -1}):
        with pytest.raises(ValueError, match="budget"):
            Budget(**wrong)


def test_a_bad_batch_leaves_the_weights_alone(photos: Path, tmp_path: Path) -> None:
    trainer = make_trainer(photos, tmp_path, 100)
    trainer._one_step(texture=False)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    crops = trainer.photos.crops
    trainer.photos.crops = lambda *a: crops(*a) * math.nan  # type: ignore[method-assign]
    trainer._one_step(texture=False)
    assert same(before, trainer.model.state_dict())
    trainer.photos.crops = crops  # type: ignore[method-assign]
    trainer._one_step(texture=False)
    after = trainer.model.state_dict()
    assert not same(before, after) and all(v.isfinite().all() for v in after.values())


def test_the_average_follows_the_weights(photos: Path, tmp_path: Path) -> None:
    trainer = make_trainer(photos, tmp_path, 100, replace(RECIPE, ema=0.5))
    trainer.step = 1000  # past the first steps, which average over less
    before = {k: v.clone() for k, v in trainer.ema.items()}
    trainer._one_step(texture=False)
    for name, value in trainer.model.state_dict().items():
        torch.testing.assert_close(trainer.ema[name], (before[name] + value) / 2)


def test_the_log_says_how_fast_it_went(finished: Path) -> None:
    rows = log.read(finished / "log.jsonl")
    assert rows[-1]["step"] == 150 and rows[-1]["nll"] > 0
    for row in rows:
        assert row["megapixels_per_second"] > 0 and row["psnr"] > 5
        # 10 kFLOP per pixel in stage A, and twice as much with the texture.
        assert 5e3 < row["tflops"] * 1e6 / row["megapixels_per_second"] < 1e5


def test_an_exported_model_is_one_that_vlaec_loads(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "mine"
    arguments = ["export", str(finished), "--to", str(target), "--description", "a test"]
    assert main([*arguments, "--temperature", "3"]) == 2
    assert main([*arguments, "--texture", "0.5", "--temperature", "0.25", "--default"]) == 0
    monkeypatch.setenv("VLAEC_MODELS", str(tmp_path))
    card = next(c for c in zoo.list_models() if c.name == "mine")
    assert card.default and card.texture == 0.5 and card.description == "a test"
    assert card.bytes == target.with_suffix(".safetensors").stat().st_size
    values = json.loads(target.with_suffix(".json").read_text())
    assert values["training"]["steps"] == 150
    assert values["training"]["commands"][0].startswith("bin/train photo --preset tiny")
    recipe = Recipe.from_dict(values["training"]["recipe"])
    assert recipe.batch == 4 and recipe.model.temperature == 0.25
    assert Codec(card).sampler.temperature == 0.25
    average = torch.load(finished / "checkpoint.pt", weights_only=True)["ema"]
    loaded = zoo.load(card).state_dict()
    assert same(loaded, {k: v.half().float() for k, v in average.items()})


def test_a_packed_checkpoint_resumes_with_a_warm_up(photos: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    make_trainer(photos, first, 100).train(ONE_STEP, silent)
    second.mkdir()
    assert main(["pack", str(first), "--to", str(second / "checkpoint.pt")]) == 0
    sizes = [(run / "checkpoint.pt").stat().st_size for run in (first, second)]
    assert sizes[1] < sizes[0] / 4
    whole, resumed = (make_trainer(photos, run, 100) for run in (first, second))
    assert resumed.step == 1
    # Its second step by the schedule, but the first of the new warm-up.
    assert resumed._learning_rate() == pytest.approx(whole._learning_rate() / 2)
    assert same(resumed.model.state_dict(), {k: v.half().float() for k, v in whole.ema.items()})
    resumed.train(ONE_STEP, silent)
    assert make_trainer(photos, second, 100).warm_from == 1


def test_an_exported_model_can_be_trained_further(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, model, run = (tmp_path / name for name in ("first", "mine", "run"))
    make_trainer(photos, first, 100).train(ONE_STEP, silent)
    assert main(["export", str(first), "--to", str(model), "--description", "d"]) == 0
    assert main(["adopt", str(model), "--run", str(run)]) == 0
    before, after = (make_trainer(photos, folder, 100) for folder in (first, run))
    assert after.step == before.step == 1
    assert same(after.model.state_dict(), {k: v.half().float() for k, v in before.ema.items()})
    after.train(ONE_STEP, silent)
    assert main(["adopt", str(model), "--run", str(run)]) == 2
    assert "exists" in capsys.readouterr().err


def test_a_model_for_some_qualities(photos: Path, tmp_path: Path) -> None:
    run, target = tmp_path / "run", tmp_path / "mine"
    recipe = replace(RECIPE, qualities=(0.2, 0.6))
    make_trainer(photos, run, 2, recipe).train(None, silent)
    arguments = ["export", str(run), "--to", str(target), "--description", "d"]
    for given, expected in (([], [20, 60]), (["--qualities", "25", "50"], [25, 50])):
        assert main([*arguments, *given]) == 0
        card = json.loads(target.with_suffix(".json").read_text())
        assert card["qualities"] == pytest.approx(expected)
    assert main([*arguments, "--qualities", "10", "50"]) == 2


def test_a_run_keeps_its_recipe(
    photos: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(replace(RECIPE, clip_norm=2.0).to_dict()))
    assert main(command(photos, finished, "--recipe", str(other), "--steps", "151")) == 2
    assert "another recipe" in capsys.readouterr().err
    with pytest.raises(ValueError, match="another recipe"):
        make_trainer(photos, finished, 151)


def test_recipes_survive_json() -> None:
    for recipe in RECIPES.values():
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert Recipe.from_dict({}) == Recipe()
    with pytest.raises(ValueError, match="typo"):
        Recipe.from_dict({"typo": 1})
    with pytest.raises(ValueError, match="typo"):
        Recipe.from_dict({"model": {"typo": 1}})


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no photographs", "no photographs"),
        ("damaged checkpoint", "damaged"),
        ("damaged recipe", "no recipe"),
        ("no weights", "perceptual weights"),
        ("no budget", "positive"),
        ("small photographs", "pixels on both sides"),
        ("optimiser", "one of adam, soap"),
        ("qualities", "a range within 0 to 1"),
    ],
)
def test_errors_are_one_line(
    case: str,
    words: str,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("VLAEC_WEIGHTS", "VLAEC_DATA"):
        monkeypatch.delenv(name, raising=False)
    run = tmp_path / "run"
    run.mkdir()
    steps = "5"
    recipe = RECIPE
    if case == "no photographs":
        photos = tmp_path
    elif case == "damaged checkpoint":
        (run / "checkpoint.pt").write_bytes(b"PK\x03\x04 nothing")
    elif case == "no weights":
        recipe = RECIPE.weighted(lpips=1.0)
    elif case == "no budget":
        steps = "0"
    elif case == "small photographs":
        recipe = replace(RECIPE, crop=256)
    values = recipe.to_dict()
    if case == "optimiser":
        values["optimiser"] = "sgd"
    elif case == "qualities":
        values["qualities"] = [0.5, 1.5]
    given = run / "recipe.json"
    given.write_text("[1]" if case == "damaged recipe" else json.dumps(values))
    assert main(command(photos, run, "--steps", steps)) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and error.startswith("bin/train: ")


@pytest.mark.parametrize("job", ["export", "pack", "plot"])
def test_a_missing_run_is_one_line(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = {"export": ["--to", "x", "--description", "d"], "pack": ["--to", "x"], "plot": []}[job]
    assert main([job, str(tmp_path / "absent"), *rest]) == 2
    error = capsys.readouterr().err
    assert "absent" in error or "matplotlib" in error
    assert error.count("\n") == 1


def test_a_plot(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", str(finished)]) == 2
    assert "matplotlib" in capsys.readouterr().err
    monkeypatch.undo()
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    assert main(["plot", str(finished)]) == 0
    assert (finished / "log.png").stat().st_size > 1000


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_one_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(photos, tmp_path, "--steps", "1", "--device", "cuda")) == 2
    assert "CUDA" in capsys.readouterr().err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_step_on_a_gpu_does_not_wait_for_it(photos: Path, tmp_path: Path) -> None:
    machine = Machine(torch.device("cuda"))
    machine.tune()
    trainer = Trainer(RECIPE, photos, tmp_path, Budget(steps=10), None, machine)
    for texture in (False, True):  # algorithms are chosen, memory is allocated
        trainer._one_step(texture)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for texture in (False, True):
            losses = trainer._one_step(texture)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert losses.total.isfinite() and losses.likelihood > 0
