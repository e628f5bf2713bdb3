"""What is taken out of a run: a model with its card, or a packed checkpoint to resume from."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ..networks import PhotoVLAE
from ..networks.seeded import Seeded
from .photo.recipe import Recipe
from .sets.precondition import plain
from .sets.recipe import SetRecipe


def export(
    run: Path,
    target: Path,
    description: str,
    texture: float,
    default: bool,
    qualities: tuple[float, float] | None = None,
    temperature: float | None = None,
) -> Path:
    """Write `target`.safetensors and `target`.json from a run's EMA weights; returns the card.

    A set model gets the weights with the best ELBO on the validation images. `qualities`
    are the qualities that a photo model is for, 0 to 100; by default all that it was trained on.
    `temperature` is that of its texture when decoding; by default that of training.

    Raises:
        FileNotFoundError: the run has no checkpoint.
        ValueError: a set model shall be the default, which is for photographs, or have a
            temperature; or qualities that the model was not trained on.
    """
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    recipe = _recipe(state["recipe"])
    weights = plain(state.get("best", state["ema"]))
    tensors = {k: v.half().contiguous() for k, v in weights.items()}
    kind: dict[str, Any]
    if isinstance(recipe, SetRecipe):
        if default:
            raise ValueError("a model for sets of small images cannot be the default")
        if temperature is not None:
            raise ValueError("a model for sets of small images has no texture")
        kind = {"kind": "set"}
    else:
        trained = tuple(100 * quality for quality in recipe.qualities)
        lowest, highest = qualities or trained
        if not trained[0] <= lowest <= highest <= trained[1]:
            raise ValueError(
                f"the model was trained for qualities {trained[0]:g} to {trained[1]:g}"
            )
        if temperature is not None:
            recipe = replace(recipe, model=replace(recipe.model, temperature=temperature))
        kind = {"kind": "photo", "texture": texture, "qualities": [lowest, highest]}
    data = save(tensors, metadata={"config": json.dumps(recipe.model.to_dict())})
    weights_file = target.with_suffix(".safetensors")
    weights_file.write_bytes(data)
    if isinstance(recipe, Recipe):
        kind["graphs"] = _write_graphs(recipe, tensors, weights_file)
    commands = run / "commands.txt"
    card = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "description": description,
        "parameters": sum(t.numel() for t in tensors.values()),
        "bytes": len(data),
        **kind,
        "default": default,
        "training": {
            "date": date.today().isoformat(),
            "minutes": round(state["elapsed"] / 60, 1),
            "steps": state["step"],
            "commands": commands.read_text().splitlines() if commands.exists() else [],
            "torch": torch.__version__,
            "python": sys.version.split()[0],
            "recipe": recipe.to_dict(),
        },
    }
    path = target.with_suffix(".json")
    path.write_text(json.dumps(card, indent=1) + "\n")
    return path


def _write_graphs(recipe: Recipe, tensors: dict[str, Tensor], weights: Path) -> dict[str, str]:
    """What the codec runs in addition to the weights; SHA-256 by name."""
    from .onnx_export import write_graphs, write_preview  # need a package that training does not

    model = _filled(recipe, tensors)
    return write_graphs(model, weights) | write_preview(model, weights)


def _filled(recipe: Recipe, tensors: dict[str, Tensor]) -> PhotoVLAE:
    with Seeded():
        model = PhotoVLAE(recipe.model)
    model.load_state_dict({name: value.float() for name, value in tensors.items()})
    return model.eval()


def make_graphs(model: Path) -> Path:
    """Make the graphs of `models/NAME` again, which another version may have exported; returns its
    card.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it is a set model.
    """
    path, weights = model.with_suffix(".json"), model.with_suffix(".safetensors")
    card = json.loads(path.read_text())
    if card.get("kind", "photo") != "photo":
        raise ValueError("only models for photographs have graphs")
    recipe = Recipe.from_dict(card["training"]["recipe"])
    card["graphs"] = _write_graphs(recipe, load_file(weights), weights)
    path.write_text(json.dumps(card, indent=1) + "\n")
    return path


def _recipe(values: dict[str, Any]) -> Recipe | SetRecipe:
    return SetRecipe.from_dict(values) if "dataset" in values else Recipe.from_dict(values)


def pack(run: Path, target: Path) -> Path:
    """Write the EMA weights of a run in half precision, and how far it is, as `target`.

    An eighth of a checkpoint, for machines that give little back. Renamed to checkpoint.pt next to
    the run's recipe.json it can be resumed; the optimiser then gathers its moments again, while the
    learning rate is warmed up again.

    Raises:
        FileNotFoundError: the run has no checkpoint.
    """
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    kept = {k: state[k] for k in ("recipe", "step", "elapsed", "kl_weight") if k in state}
    torch.save({**kept, "ema": {k: v.half() for k, v in state["ema"].items()}}, target)
    return target


def adopt(model: Path, run: Path) -> Path:
    """Make a run of an exported model (`models/NAME`), to train it further; returns its checkpoint.

    The inverse of `export`, with one loss: like a packed checkpoint it resumes from the EMA
    weights, at the place of the schedule where the model was exported.

    Raises:
        FileNotFoundError: there is no such model.
        FileExistsError: the run has a checkpoint already.
    """
    training = json.loads(model.with_suffix(".json").read_text())["training"]
    weights = load_file(model.with_suffix(".safetensors"))
    target = run / "checkpoint.pt"
    if target.exists():
        raise FileExistsError(f"{target} exists")
    run.mkdir(parents=True, exist_ok=True)
    (run / "recipe.json").write_text(json.dumps(training["recipe"], indent=1) + "\n")
    (run / "commands.txt").write_text("\n".join(training["commands"]) + "\n")
    progress = {"step": training["steps"], "elapsed": 60.0 * training["minutes"]}
    torch.save({"recipe": training["recipe"], **progress, "ema": weights}, target)
    return target
