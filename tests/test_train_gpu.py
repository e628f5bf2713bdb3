"""`bin/train-gpu`, on a CPU: checks, stages, files that come back, faults."""

from __future__ import annotations

import json
import tarfile
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from training import RECIPE, make_trainer, silent, write_photos

from vlaec.train import log
from vlaec.train.__main__ import main as train
from vlaec.train.gpu import main
from vlaec.train.photo import held_out, session
from vlaec.train.photo.data import photo_paths
from vlaec.train.photo.pages import OWN, PLANES
from vlaec.train.photo.parts import read_parts, write_parts
from vlaec.train.photo.pool import PagePool
from vlaec.train.photo.recipe import Recipe
from vlaec.train.photo.start import start_texture
from vlaec.train.photo.typefaces import typefaces

TINY = replace(
    RECIPE,
    model=replace(RECIPE.model, level_path=True),
    start="klt",
    optimiser="soap",
    sampler_from=1.0,
)
TEXTURE = replace(TINY, sampler_from=0.0, structure_until=0.5, texture_start="mean")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "held-out").mkdir()
    write_photos(folder / "held-out", count=2, side=256)
    return write_photos(folder)


def attempt(stage: str, photos: Path, folder: Path, recipe: Recipe, **given: object) -> Path:
    """One worker's run of some seconds; returns what it sent back."""
    file = folder / f"{stage}.json"
    file.write_text(json.dumps(recipe.to_dict()))
    out = folder / f"out-{stage}"
    arguments = {"data": photos, "run": folder / "run", "out": out, "recipe": str(file)}
    none = dict.fromkeys(["weights", "init", "batch", "crop", "optimiser"])
    flags = {"careful": False, "again": False, "device": "cpu", "deadline": time.time() + 3}
    settings = {**none, **flags, **arguments, **given}
    session.Session(Namespace(stage=stage, **settings)).run()
    return out


@pytest.fixture(scope="module")
def stage_a(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lent")
    attempt("a", photos, folder, TINY)
    return folder


def test_a_stage_comes_back_in_small_files(stage_a: Path) -> None:
    out = stage_a / "out-a"
    weights, facts = read_parts(out)
    state = torch.load(stage_a / "run" / "a" / "checkpoint.pt", weights_only=True)
    assert facts["step"] == state["step"] > 0 and Recipe.from_dict(facts["recipe"]) == TINY
    assert weights.keys() == state["ema"].keys()
    for name, value in weights.items():
        assert torch.equal(value, state["ema"][name].half())
    assert log.read(out / "log.jsonl")[-1]["step"] == state["step"]
    before, after = (json.loads((out / f"table-{w}.json").read_text()) for w in ("before", "after"))
    assert [row["level"] for row in before] == list(held_out.LEVELS)
    assert sum(row["J"] for row in after) != sum(row["J"] for row in before)


def test_the_checks_leave_no_trace(stage_a: Path, photos: Path, tmp_path: Path) -> None:
    # What stage A began with is what a run without checks begins with.
    trainer = make_trainer(photos, tmp_path / "run", 1, TINY)
    rows = held_out.rows(trainer, held_out.held_out_crops(photos), texture=False)
    logged = json.loads((stage_a / "out-a" / "table-before.json").read_text())
    assert [row["J"] for row in rows] == pytest.approx([row["J"] for row in logged], rel=1e-4)


def test_the_texture_follows_and_is_exported(stage_a: Path, photos: Path, tmp_path: Path) -> None:
    out = attempt("bc", photos, tmp_path, TEXTURE, init=stage_a / "out-a")
    rows = json.loads((out / "table-after.json").read_text())
    assert all(row["texture_rms"] > 0 and 0 < row["chance"] < 2 for row in rows)
    logged = log.read(out / "log.jsonl")[-1]
    assert logged["nll"] > 0
    run = tmp_path / "again"
    assert main(["unpack", str(out), "--run", str(run)]) == 0
    assert main(["unpack", str(out), "--run", str(run)]) == 2
    target = tmp_path / "one"
    assert train(["export", str(run), "--to", str(target), "--description", "d"]) == 0
    assert json.loads(target.with_suffix(".json").read_text())["training"]["recipe"]


def test_an_attempt_goes_on_where_one_before_it_broke_off(stage_a: Path, photos: Path) -> None:
    before = torch.load(stage_a / "run" / "a" / "checkpoint.pt", weights_only=True)
    attempt("a", photos, stage_a, TINY, again=True)
    after = torch.load(stage_a / "run" / "a" / "checkpoint.pt", weights_only=True)
    assert after["step"] > before["step"] and after["elapsed"] > before["elapsed"]
    # With Adam in place of SOAP the averages are what is left.
    attempt("a", photos, stage_a, TINY, again=True, careful=True, optimiser="adam")
    rate = log.read(stage_a / "run" / "a" / "log.jsonl")[-1]["rate"]
    assert 0 < rate <= 5e-4


def test_parts_are_small_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlaec.train.photo.parts.LARGEST", 1000)
    weights = {f"w{i}": torch.randn(20, 10) for i in range(5)}
    paths = write_parts(tmp_path, weights, {"step": 3})
    assert len(paths) == 3 and all(path.stat().st_size < 1500 for path in paths)
    read, facts = read_parts(tmp_path)
    assert facts == {"step": 3}
    assert all(torch.equal(read[k], v.half()) for k, v in weights.items())
    paths[1].unlink()
    with pytest.raises(FileNotFoundError, match="not all parts"):
        read_parts(tmp_path)


def test_too_little_memory_halves_the_batch(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(photos, tmp_path, 3, replace(RECIPE, batch=8))
    step, failed = trainer._one_step, []

    def small(*arguments: bool) -> object:
        if trainer.batch > 2:
            failed.append(trainer.batch)
            raise torch.cuda.OutOfMemoryError("too large")
        return step(*arguments)

    monkeypatch.setattr(trainer, "_one_step", small)
    assert trainer.train(None, silent)
    assert failed == [8, 4] and trainer.batch == 2 and trainer.step == 3


def test_the_archive_of_photographs(tmp_path: Path) -> None:
    for name in ("first", "then", "other"):
        (tmp_path / "all" / name).mkdir(parents=True)
        write_photos(tmp_path / "all" / name, count=20, side=270)
    archive = tmp_path / "photos.tar"
    command = ["stage", "--data", str(tmp_path / "all"), "--to", str(archive)]
    face = ImageFont.load_default(10)
    assert isinstance(face, ImageFont.FreeTypeFont)
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "own.ttf").write_bytes(face.font_bytes)
    (tmp_path / "faces" / "note.txt").touch()
    whole = [*command, "--first", "first", "--then", "then", "--fonts", str(tmp_path / "faces")]
    assert main([*whole, "--megabytes", "1"]) == 0
    assert archive.stat().st_size <= 1e6
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path / "sent", filter="data")
    held = photo_paths(tmp_path / "all", held_out=True)
    taken = {Path(name).with_suffix("").as_posix() for name in names}
    assert not {f"{p.parent.name}/{p.stem}" for p in held} & taken
    assert not any(name.startswith("other") for name in names)
    assert sum(name.startswith("first") for name in names) > 2
    assert [name for name in names if name.startswith("fonts/")] == ["fonts/own.ttf"]
    assert len(typefaces(tmp_path / "sent" / "fonts")) == 2
    crops = photo_paths(tmp_path / "sent", held_out=True)
    with Image.open(crops[0]) as crop:
        assert len(crops) == 2 and crop.size == (256, 256)
    assert not set(crops) & set(photo_paths(tmp_path / "sent", held_out=False))


def test_a_model_that_starts_as_components_beats_one_that_starts_at_random(
    photos: Path, tmp_path: Path
) -> None:
    crops = held_out.held_out_crops(photos)
    losses = {}
    for start in ("klt", "isometries"):
        trainer = make_trainer(photos, tmp_path / start, 1, replace(TINY, start=start))
        rows = held_out.rows(trainer, crops, texture=False)
        losses[start] = [row["J"] for row in rows]
    for good, bad in zip(losses["klt"], losses["isometries"], strict=True):
        assert good < 0.5 * bad


def test_the_second_network_starts_as_the_first(photos: Path, tmp_path: Path) -> None:
    trainer = make_trainer(photos, tmp_path, 1, TINY)
    start_texture(trainer.model)
    first, second = (
        network.state_dict()
        for network in (trainer.model.synthesis, trainer.model.texture_synthesis)
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    known = torch.randn(1, RECIPE.model.latent_channels + RECIPE.model.levels, 2, 2)
    texture = trainer.model.texture(trainer.model.texture_synthesis.trunk(known))
    assert not texture.detail.any()


def test_a_worker_that_dies_is_followed_by_another(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # The first attempt finds no such recipe, nor does the second.
    monkeypatch.setattr("vlaec.train.gpu.LEAST", 1)
    monkeypatch.setattr("vlaec.train.gpu.ATTEMPTS", ([], ["--careful"]))
    arguments = ["--data", str(photos), "--seconds", "60", "--device", "cpu", "--recipe", "absent"]
    folders = ["--out", str(tmp_path / "out"), "--run", str(tmp_path / "run")]
    assert main(["a", *arguments, *folders]) == 1
    assert "attempt 2 ended" in capfd.readouterr().out


def test_pages_drawn_ahead(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pool = PagePool(10, 32, (1, 2), torch.device("cpu"), [OWN])
    crops = pool.crops(50, random)
    assert crops.shape == (50, 32, 32, PLANES) and crops.dtype == torch.uint8
    assert pool.pages is not None and pool.pages.shape == (10, 40, 40, PLANES)
    everywhere = pool.pages.unfold(1, 32, 1).unfold(2, 32, 1).flatten(0, 2)  # [.., PLANES, 32, 32]
    for crop in crops:
        assert bool((everywhere == crop.permute(2, 0, 1)).flatten(1).all(1).any())
    assert len(crops.flatten(1).unique(dim=0)) > 20
    again = PagePool(10, 32, (1, 2), torch.device("cpu"), [OWN])
    assert torch.equal(again.crops(50, np.random.default_rng(0)), crops)
