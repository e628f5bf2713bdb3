"""Several set models at once on one device, each in a process of its own, for some seconds.

    bin/train-gpu sets --data DATA --seconds 150 --out OUT

A GPU is not filled by one model for small images. What comes out are packed checkpoints with the
weights that are best by validation, one file per model, renewed while the training goes on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...threads import processors
from .. import checkpoint, log
from ..graph import WARM_UP
from ..machine import Machine
from ..run import Budget
from .data import SetData, load
from .recipe import SET_RECIPES, SetRecipe
from .trainer import SetTrainer

# Seconds between two packed checkpoints, and those kept back at the end for the last one.
PACK_SECONDS = 15.0
RESERVE_SECONDS = 3.0
# Seconds that a process may be late before it is ended.
GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Job:
    """One model's training."""

    recipe: SetRecipe
    # Share of all seconds: small sets are learned by heart long before the others are learned.
    share: float = 1.0
    compiled: bool = False  # worth its time where the PixelCNN is most of the work


JOBS = {
    "cifar-7x4": Job(SET_RECIPES["cifar-long"], compiled=True),
    "cifar-4x2": Job(SET_RECIPES["cifar-long-4x2"], compiled=True),
    "mnist-dynamic": Job(
        replace(SET_RECIPES["mnist-long"], dataset="mnist-dynamic", dropout=0.0), share=0.8
    ),
    "mnist-static": Job(SET_RECIPES["mnist-long"], share=0.7),
    "caltech": Job(SET_RECIPES["caltech-long"], share=0.5),
}


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 1 where a model's process failed."""
    args = _parser().parse_args(arguments)
    end = args.end or time.time() + args.seconds
    args.out.mkdir(parents=True, exist_ok=True)
    if args.only:
        train(args.only, args, end)
        return 0
    names = args.models.split(",")
    threads = max(1, processors() // len(names))
    given = sys.argv[1:] if arguments is None else arguments
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with open(args.out / "sets.log", "a") as file:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", __spec__.name, *given, "--only", name, "--end", str(end)],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
            )
            for name in names
        ]
        for process in processes:
            try:
                process.wait(max(0.0, end + GRACE_SECONDS - time.time()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return int(any(process.returncode for process in processes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bin/train-gpu sets", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the sets' files")
    parser.add_argument("--seconds", type=float, required=True, help="for all that is done")
    parser.add_argument("--out", type=Path, required=True, help="folder of the packed checkpoints")
    parser.add_argument("--init", type=Path, help="folder with NAME.pt, packed runs to start from")
    parser.add_argument("--models", default=",".join(JOBS), help="comma-separated names")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--only", choices=sorted(JOBS), help=argparse.SUPPRESS)
    parser.add_argument("--end", type=float, help=argparse.SUPPRESS)
    return parser


def train(name: str, args: argparse.Namespace, end: float) -> None:
    """Train one model until its share of the time is over, packing what is best by then."""
    job, begun = JOBS[name], time.time()
    end -= (1 - job.share) * args.seconds

    def report(row: log.Row) -> None:
        shown = "  ".join(f"{key} {value:.4g}" for key, value in row.items())
        print(f"{name:14} {time.time() - begun:5.1f}s  {shown}", flush=True)

    data = load(job.recipe.dataset, args.data)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _start(job, data, Path(folder), args, name)
        report({"ready": 1.0})
        trainer.budget = Budget(minutes=max(1.0, end - RESERVE_SECONDS - time.time()) / 60)
        done = False
        while not done:
            done = trainer.train(PACK_SECONDS / 60, report)
            _pack(trainer, args.out / f"{name}.pt")
        report({"best_elbo": trainer.best_elbo})


def _start(job: Job, data: SetData, run: Path, args: argparse.Namespace, name: str) -> SetTrainer:
    """A trainer that has compiled and captured what it will."""
    device = torch.device(args.device)
    for compiled in (True, False) if job.compiled and device.type == "cuda" else (False,):
        machine = Machine(device, compiled)
        machine.tune()
        trainer = SetTrainer(job.recipe, data, run, Budget(minutes=args.seconds / 60), machine)
        init = args.init / f"{name}.pt" if args.init else None
        if init is not None and init.exists():
            trainer.start_from(init)
        try:
            for _ in range(WARM_UP + 1):
                trainer.one_step()
                trainer.step += 1
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            return trainer
        except Exception as error:  # whatever a compiler raises
            if not compiled:
                raise
            warnings.warn(f"{name} goes on without compilation: {error}", stacklevel=2)
    raise AssertionError("unreachable")


def _pack(trainer: SetTrainer, target: Path) -> None:
    """The best weights in half precision, as a checkpoint that a run can start from."""
    state = {
        "recipe": trainer.recipe.to_dict(),
        "step": trainer.step,
        "elapsed": trainer.elapsed,
        "best_elbo": trainer.best_elbo,
        "ema": {k: v.half().cpu() for k, v in trainer.best.items()},
    }
    checkpoint.write(target, state)


if __name__ == "__main__":
    sys.exit(main())
