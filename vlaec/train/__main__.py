"""`python -m vlaec.train photo --preset small --data DIR --minutes N`; see docs/TRAINING.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from .loop import Trainer
from .recipe import RECIPES, Recipe


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="bin/train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    photo = commands.add_parser("photo", help="train a photo model")
    photo.add_argument("--preset", choices=sorted(RECIPES), default="small")
    photo.add_argument("--data", type=Path, required=True, help="folder of photographs")
    photo.add_argument("--minutes", type=float, required=True, help="the whole time budget")
    photo.add_argument("--chunk-minutes", type=float, help="stop earlier, to be resumed")
    photo.add_argument("--run", type=Path, help="folder of the run (default runs/PRESET)")
    photo.add_argument("--weights", type=Path, help="folder of the LPIPS weights (stage B)")
    photo.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    photo.add_argument("--threads", type=int, help="CPU threads per process")
    args = parser.parse_args(arguments)
    return _photo(args)


def _photo(args: argparse.Namespace) -> int:
    if args.threads:
        torch.set_num_threads(args.threads)
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if args.device == "cuda" else "gloo")
    device = torch.device(args.device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    run: Path = args.run or Path("runs") / args.preset
    run.mkdir(parents=True, exist_ok=True)
    recipe = _recipe(run, args.preset)
    trainer = Trainer(recipe, args.data, run, args.minutes, args.weights, device)
    done = trainer.train(args.chunk_minutes, _print_row)
    if trainer.rank == 0:
        print("finished" if done else "resume with the same command", flush=True)
    if dist.is_initialized():
        dist.destroy_process_group()
    return 0


def _recipe(run: Path, preset: str) -> Recipe:
    """The run's own recipe: written when it starts, read when it resumes."""
    path = run / "recipe.json"
    if path.exists():
        return Recipe.from_dict(json.loads(path.read_text()))
    path.write_text(json.dumps(RECIPES[preset].to_dict(), indent=1) + "\n")
    return RECIPES[preset]


def _print_row(row: dict[str, float]) -> None:
    print("  ".join(f"{name} {value:.5g}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
