"""One attempt of `bin/train-gpu`: checks, training to a deadline, a table, packed weights."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .. import checkpoint, log
from ..machine import Machine
from ..run import Budget
from . import held_out
from .checks import Checks
from .parts import read_parts, write_parts
from .recipe import RECIPES, Recipe
from .trainer import Trainer

STAGES = {"a": "one", "bc": "one-texture"}
# Seconds at the end for the last checkpoint, the table and the files.
RESERVE = {"cuda": 12.0, "cpu": 8.0}
PACK_SECONDS = 45
SAVE_SECONDS = 60


def main() -> int:
    """Entry point; returns the exit code."""
    args = _parser().parse_args()
    session = Session(args)
    session.run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=sorted(STAGES))
    for name in ("data", "run", "out", "weights", "init"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--recipe")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--deadline", type=float, required=True, help="seconds since 1970")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--crop", type=int)
    parser.add_argument("--optimiser")
    parser.add_argument("--careful", action="store_true", help="half the batch, no measuring")
    parser.add_argument("--again", action="store_true", help="a further attempt: no checks")
    return parser


def say(words: str) -> None:
    """A line with the time."""
    print(f"[{time.strftime('%H:%M:%S')}] {words}", flush=True)


class Session:
    """What one process does until the deadline."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.deadline: float = args.deadline
        self.run_folder: Path = args.run / args.stage
        self.packed = 0.0
        args.out.mkdir(parents=True, exist_ok=True)
        say(f"torch {torch.__version__}, {self.left:.0f} s left")
        cuda = args.device == "cuda"
        if cuda and not torch.cuda.is_available():
            say("NO CUDA HERE: on the CPU")
            cuda = False
        self.device = torch.device("cuda", 0) if cuda else torch.device("cpu")
        if cuda:
            free, total = torch.cuda.mem_get_info()
            name = torch.cuda.get_device_name()
            say(f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.time()

    def run(self) -> None:
        """All of it."""
        machine = Machine(self.device, counts_flops=False)
        machine.tune()
        if self.args.careful:
            torch.backends.cudnn.benchmark = False
        recipe = self._recipe()
        self.run_folder.mkdir(parents=True, exist_ok=True)
        if not self.args.again:  # an earlier command's run of this stage is over
            (self.run_folder / "checkpoint.pt").unlink(missing_ok=True)
            (self.run_folder / "log.jsonl").unlink(missing_ok=True)
        budget = Budget(minutes=max(self.left, 1) / 60)
        trainer = self._trainer(recipe, budget, machine)
        trainer.save_seconds = SAVE_SECONDS
        size = trainer.photos.pixels.numel() / 3e6
        say(f"{len(trainer.photos.sizes)} photographs, {size:.0f} MP; {self.left:.0f} s left")
        if self.args.batch:
            trainer.batch = self.args.batch
        if self.args.careful:
            trainer.batch = max(1, trainer.batch // 2)
        crops = self._attempt("held-out crops", lambda: held_out.held_out_crops(self.args.data))
        if not self.args.again:
            self._attempt("checks", lambda: Checks(trainer, say).run(choose=not self.args.batch))
            if crops is not None:
                self._table(trainer, crops, "before")
        (self.run_folder / "recipe.json").write_text(json.dumps(recipe.to_dict(), indent=1) + "\n")
        with open(self.run_folder / "commands.txt", "a") as file:
            file.write(f"bin/train-gpu {self.args.stage}\n")
        seconds = max(self.left - RESERVE[self.device.type], 1)
        trainer.budget = Budget(minutes=(trainer.elapsed + seconds) / 60)
        say(f"training for {seconds:.0f} s, batch {trainer.batch} of {recipe.crop} pixels")
        trainer.train(None, lambda row: self._report(trainer, row))
        say(f"trained: {trainer.step} steps, batch {trainer.batch}; {self.left:.0f} s left")
        self._pack(trainer)
        if crops is not None:
            self._table(trainer, crops, "after")
        if self.device.type == "cuda":
            say(f"most memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
        say(f"done, {self.left:.0f} s left")

    def _recipe(self) -> Recipe:
        args = self.args
        name = args.recipe or STAGES[args.stage]
        if name in RECIPES:
            recipe = RECIPES[name]
        else:
            recipe = Recipe.from_dict(json.loads(Path(name).read_text()))
        if args.crop:
            texture = min(args.crop, recipe.texture_crop)
            recipe = replace(recipe, crop=args.crop, texture_crop=texture)
        if args.optimiser:
            recipe = replace(recipe, optimiser=args.optimiser, learning_rate=5e-4)
        if args.stage == "bc" and not (recipe.losses & {"lpips", "wd", "vgg_lpips"}):
            say("no perceptual losses in this recipe")
        return recipe

    def _trainer(self, recipe: Recipe, budget: Budget, machine: Machine) -> Trainer:
        """At the beginning, or where an earlier attempt left off."""
        args, folder = self.args, self.run_folder
        saved = folder / "checkpoint.pt"
        if args.again and saved.exists():
            try:
                return Trainer(recipe, args.data, folder, budget, args.weights, machine)
            except Exception:
                say("the earlier attempt's checkpoint cannot be resumed: its averages are taken")
                traceback.print_exc()
                saved.rename(folder / "earlier.pt")
        trainer = Trainer(recipe, args.data, folder, budget, args.weights, machine)
        weights = self._initial(folder)
        if weights is not None:
            trainer.start_from(weights)
        return trainer

    def _initial(self, folder: Path) -> dict[str, torch.Tensor] | None:
        """The weights to begin with, unless the recipe has a start of its own."""
        earlier = folder / "earlier.pt"
        if earlier.exists():
            return dict(checkpoint.read(earlier)["ema"])
        if self.args.stage == "a":
            return None
        if self.args.init is not None:
            say(f"starts from {self.args.init}")
            return {k: v.float() for k, v in read_parts(self.args.init)[0].items()}
        before = self.args.run / "a" / "checkpoint.pt"
        say(f"starts from {before}")
        return dict(checkpoint.read(before)["ema"])

    def _report(self, trainer: Trainer, row: log.Row) -> None:
        shown = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if value)
        say(shown)
        if time.time() - self.packed > PACK_SECONDS:
            self._attempt("packing", lambda: self._pack(trainer))

    def _pack(self, trainer: Trainer) -> None:
        facts: dict[str, Any] = {
            "recipe": trainer.recipe.to_dict(),
            "step": trainer.step,
            "elapsed": trainer.elapsed,
            "texture_begun": trainer.texture_begun,
            "batch": trainer.batch,
            "commands": [f"bin/train-gpu {self.args.stage}"],
        }
        write_parts(self.args.out, trainer.ema, facts)
        logged = self.run_folder / "log.jsonl"
        if logged.exists():
            shutil.copyfile(logged, self.args.out / "log.jsonl")
        self.packed = time.time()

    def _table(self, trainer: Trainer, crops: torch.Tensor, when: str) -> None:
        def show() -> None:
            texture = self.args.stage == "bc" and when == "after"
            results = held_out.rows(trainer, crops, texture)
            say(f"{len(crops)} held-out crops, {when}:\n{held_out.table(results)}")
            (self.args.out / f"table-{when}.json").write_text(json.dumps(results, indent=1) + "\n")

        self._attempt("table", show)

    def _attempt(self, what: str, action: Callable[[], Any]) -> Any:
        """What may fail without ending the run."""
        try:
            return action()
        except Exception:
            say(f"{what} FAILED")
            traceback.print_exc()
            return None


if __name__ == "__main__":
    sys.exit(main())
