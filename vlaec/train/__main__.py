"""`bin/train`: train, export and plot models. See docs/TRAINING.md for the commands in use."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from .. import files
from ..errors import VlaecError
from . import checkpoint, log
from .export import adopt, export, make_graphs, pack
from .machine import Machine
from .photo.recipe import RECIPES, Recipe
from .photo.trainer import Trainer
from .plot import plot
from .run import Budget, Report
from .sets.data import DATASETS, load
from .sets.recipe import SET_RECIPES, SetRecipe
from .sets.trainer import SetTrainer

AnyRecipe = TypeVar("AnyRecipe", Recipe, SetRecipe)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = _parser().parse_args(arguments)
    try:
        if args.command == "photo":
            _photo(args, arguments)
        elif args.command == "set":
            _set(args, arguments)
        elif args.command == "export":
            qualities = args.qualities and (args.qualities[0], args.qualities[1])
            print(
                export(
                    args.run,
                    args.to,
                    args.description,
                    args.texture,
                    args.default,
                    qualities,
                    args.temperature,
                )
            )
        elif args.command == "pack":
            print(pack(args.run, args.to))
        elif args.command == "adopt":
            print(adopt(args.model, args.run))
        elif args.command == "graphs":
            print(make_graphs(args.model))
        else:
            print(plot(args.run))
    except (OSError, ValueError, ImportError, VlaecError) as error:
        print(f"bin/train: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bin/train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    photo = commands.add_parser("photo", help="train a photo model")
    photo.add_argument("--data", type=Path, required=True, help="folder of photographs")
    photo.add_argument("--weights", type=Path, help="folder of the LPIPS weights")
    _add_run_arguments(photo, sorted(RECIPES), "small")
    photo.add_argument("--compile", action="store_true", help="use torch.compile (on GPUs)")
    photo.add_argument(
        "--peak-tflops", type=float, help="of one device at bfloat16: logs the share achieved"
    )

    small = commands.add_parser("set", help="train a model for sets of small images")
    small.add_argument("--data", type=Path, required=True, help="folder with the set's files")
    small.add_argument("--dataset", choices=DATASETS, help="default: the recipe's")
    small.add_argument("--kl-target", type=float, help="soft free bits: nats per image")
    _add_run_arguments(small, sorted(SET_RECIPES), "mnist")

    out = commands.add_parser("export", help="make a model of a run's EMA weights")
    out.add_argument("run", type=Path)
    out.add_argument("--to", type=Path, required=True, help="e.g. models/mine")
    out.add_argument("--description", required=True)
    out.add_argument("--texture", type=float, default=1.0, help="default strength of the texture")
    out.add_argument(
        "--temperature", type=float, help="of the texture when decoding; default: of training"
    )
    out.add_argument(
        "--qualities",
        nargs=2,
        type=float,
        metavar=("LOWEST", "HIGHEST"),
        help="what a photo model is for, 0 to 100; default: all that it was trained on",
    )
    out.add_argument("--default", action="store_true", help="what compress uses unless told")

    adopted = commands.add_parser("adopt", help="make a run of an exported model, to train it on")
    adopted.add_argument("model", type=Path, help="e.g. models/mine")
    adopted.add_argument("--run", type=Path, required=True)

    graphs = commands.add_parser("graphs", help="make the graphs of an older model again")
    graphs.add_argument("model", type=Path, help="e.g. models/mine")

    packed = commands.add_parser("pack", help="make a small checkpoint, to resume elsewhere")
    packed.add_argument("run", type=Path)
    packed.add_argument("--to", type=Path, required=True, help="e.g. packed.pt")

    picture = commands.add_parser("plot", help="draw a run's log as RUN/log.png")
    picture.add_argument("run", type=Path)
    return parser


def _add_run_arguments(command: argparse.ArgumentParser, presets: list[str], usual: str) -> None:
    """What every kind of run is told."""
    command.add_argument("--preset", choices=presets, default=usual)
    command.add_argument("--recipe", type=Path, help="a recipe.json in place of a preset's recipe")
    command.add_argument("--init", type=Path, help="a run whose averaged weights to start from")
    budget = command.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="the whole budget, over all chunks")
    budget.add_argument("--steps", type=int, help="the same in steps: results can be repeated")
    command.add_argument("--chunk-minutes", type=float, help="stop earlier, to be resumed")
    command.add_argument("--run", type=Path, help="folder of the run (default runs/PRESET)")
    command.add_argument(
        "--device", choices=("cpu", "cuda"), help="default: cuda where there is one"
    )
    command.add_argument("--threads", type=int, help="CPU threads per process")


def _photo(args: argparse.Namespace, arguments: list[str]) -> None:
    if args.threads:
        torch.set_num_threads(args.threads)
    machine = Machine(_device(args.device), args.compile, args.peak_tflops)
    machine.tune()
    if "RANK" in os.environ:  # started by torchrun
        dist.init_process_group("nccl" if machine.device.type == "cuda" else "gloo")
    try:
        run: Path = args.run or Path("runs") / args.preset
        run.mkdir(parents=True, exist_ok=True)
        recipe = _own_recipe(run, Recipe, args.recipe, RECIPES[args.preset])
        budget = Budget(args.minutes, args.steps)
        trainer = Trainer(recipe, args.data, run, budget, args.weights, machine)
        if args.init is not None and not trainer.step:
            trainer.start_from(checkpoint.read(args.init / "checkpoint.pt")["ema"])
        if trainer.rank == 0:
            with open(run / "commands.txt", "a") as file:
                file.write("bin/train " + shlex.join(arguments) + "\n")
        with _reporter(budget) as report:
            done = trainer.train(args.chunk_minutes, report)
        if trainer.rank == 0:
            print("finished" if done else "resume with the same command", flush=True)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _set(args: argparse.Namespace, arguments: list[str]) -> None:
    if args.threads:
        torch.set_num_threads(args.threads)
    machine = Machine(_device(args.device))
    machine.tune()
    run: Path = args.run or Path("runs") / args.preset
    run.mkdir(parents=True, exist_ok=True)
    given = {"dataset": args.dataset, "kl_target": args.kl_target}
    changes = {name: value for name, value in given.items() if value is not None}
    recipe = _own_recipe(run, SetRecipe, args.recipe, SET_RECIPES[args.preset], **changes)
    budget = Budget(args.minutes, args.steps)
    trainer = SetTrainer(recipe, load(recipe.dataset, args.data), run, budget, machine)
    if args.init is not None:
        trainer.start_from(args.init)
    with open(run / "commands.txt", "a") as file:
        file.write("bin/train " + shlex.join(arguments) + "\n")
    with _reporter(budget) as report:
        done = trainer.train(args.chunk_minutes, report)
    print("finished" if done else "resume with the same command", flush=True)


def _device(name: str | None) -> torch.device:
    """The device of this process."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("this machine has no CUDA device that torch can use")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    return device


def _own_recipe(
    run: Path, kind: type[AnyRecipe], given: Path | None, preset: AnyRecipe, **changes: Any
) -> AnyRecipe:
    """The run's own recipe: written when it starts, read when it resumes.

    A run that starts takes the file `given` or else the preset, with `changes`.
    """
    path = run / "recipe.json"
    source = given or (path if path.exists() else None)
    recipe = replace(_read_recipe(kind, source) if source else preset, **changes)
    if not path.exists():
        text = json.dumps(recipe.to_dict(), indent=1) + "\n"
        files.write_atomically(str(path), text.encode(), force=True)
    if recipe != _read_recipe(kind, path):
        raise ValueError(f"{run} was started with another recipe")
    return recipe


def _read_recipe(kind: type[AnyRecipe], path: Path) -> AnyRecipe:
    try:
        return kind.from_dict(json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no recipe: {error}") from error


@contextmanager
def _reporter(budget: Budget) -> Iterator[Report]:
    """A live line on a terminal where rich is installed, plain lines elsewhere."""

    def line(row: log.Row) -> str:
        shown = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if value)
        return f"{shown}  of {budget}"

    if sys.stdout.isatty():
        try:
            from rich.console import Console
        except ImportError:
            pass
        else:
            with Console().status("training") as status:
                yield lambda row: status.update(line(row))
            return
    yield lambda row: print(line(row), flush=True)


if __name__ == "__main__":
    sys.exit(main())
