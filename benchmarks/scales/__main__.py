"""Which scale the texture should have: windows of several sizes and a pyramid, on one budget.

    python -m benchmarks.scales --data DATA/photos --weights DATA/lpips --minutes 8

Every row starts from the finished model with a new sampler and trains its texture alone (stage C:
files and texture 0 stay as they are) on the same crops with the same seed, one row after the
other; then writes benchmarks/scales/table.md. A row that is interrupted resumes, a row that is
finished is kept, so the command may be repeated until the table is complete.

Evaluated are the EMA weights on 256x256 squares from the middle of photographs that were held out,
in the arithmetic of training, at the model's own temperature.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.ablations import SIDE, finished, middle_squares, table
from vlaec import zoo
from vlaec.networks import PhotoConfig, PhotoVLAE
from vlaec.networks.pixelcnn import PixelCNN, window_offsets
from vlaec.photo.sampler import TextureSampler
from vlaec.train.machine import Machine
from vlaec.train.photo.losses import Objective
from vlaec.train.photo.recipe import RECIPES, Budget
from vlaec.train.photo.trainer import Trainer

from .evaluate import Draw, evaluate, macs_per_pixel, milliseconds
from .pyramid import STRIDES, WINDOW, Pyramid, PyramidObjective


def windowed(receptive_field: str) -> Callable[[PhotoConfig], PixelCNN]:
    """A PixelCNN with any window, also such as a `PhotoConfig` does not admit."""

    def build(config: PhotoConfig) -> PixelCNN:
        cnn = PixelCNN(config)
        cnn.offsets = window_offsets(receptive_field)
        cnn.window = nn.Conv2d(3 * len(cnn.offsets), config.pixel_hidden, 1)
        return cnn

    return build


def draw_single(model: PhotoVLAE, features: Tensor, key: int) -> Tensor:
    """A sample as decoding draws it."""
    return TextureSampler(model.pixelcnn, model.config.temperature).sample(features, key)


def draw_pyramid(model: PhotoVLAE, features: Tensor, key: int) -> Tensor:
    """The same from a pyramid."""
    pyramid = model.pixelcnn
    assert isinstance(pyramid, Pyramid)
    return pyramid.draw(features, key, model.config.temperature)


@dataclass(frozen=True)
class Row:
    """One line of the tables: a sampler, how it is trained and how it samples."""

    about: str
    sampler: Callable[[PhotoConfig], nn.Module]
    objective: Callable[..., Objective] = Objective
    draw: Draw = draw_single


ROWS = {
    **{name: Row(f"one window, {name}", windowed(name)) for name in ("4x2", "5x3", "7x4", "11x6")},
    "pyramid": Row(
        f"strides {', '.join(map(str, STRIDES))} with windows {WINDOW}, one layer less each",
        Pyramid,
        PyramidObjective,
        draw_pyramid,
    ),
}

# Per quality: heading, key of a point, digits.
COLUMNS = (
    ("PSNR", "psnr", 2),
    ("LPIPS", "lpips", 4),
    ("DISTS", "dists", 4),
    ("spectrum (dB)", "spectrum", 2),
)


def with_sampler(base: PhotoVLAE, row: Row) -> Callable[[PhotoConfig], PhotoVLAE]:
    """A builder of `base` with the row's sampler, which starts anew."""

    def build(config: PhotoConfig) -> PhotoVLAE:
        model = copy.deepcopy(base).requires_grad_(True)
        model.pixelcnn = row.sampler(config)  # type: ignore[assignment]
        return model

    return build


def make_trainer(name: str, args: argparse.Namespace) -> Trainer:
    """The training of a row, or of what is left of it: stage C from beginning to end."""
    base = zoo.load(zoo.find(args.preset))
    recipe = replace(RECIPES[args.preset], model=base.config, sampler_from=0.0, structure_until=0.0)
    run: Path = args.runs / name
    run.mkdir(parents=True, exist_ok=True)
    budget, machine = Budget(args.minutes, args.steps), Machine(torch.device("cpu"))
    build, objective = with_sampler(base, ROWS[name]), ROWS[name].objective
    return Trainer(recipe, args.data, run, budget, args.weights, machine, build, objective)


def complete(name: str, args: argparse.Namespace) -> None:
    """Train a row and evaluate it; the result is kept in its run."""
    trainer = make_trainer(name, args)
    trainer.train(
        None, lambda r: print(f"{name}: step {r['step']}, loss {r['loss']:.3f}", flush=True)
    )
    model, loss, draw = trainer.model, trainer.objective.texture, ROWS[name].draw
    model.load_state_dict(trainer.ema)
    model.eval()
    squares = middle_squares(args.data, args.pictures)
    result = {
        "settings": settings(args),
        "parameters": sum(p.numel() for p in model.pixelcnn.parameters()),
        "macs": macs_per_pixel(loss, model.config.features),
        "steps": trainer.step,
        "minutes": round(trainer.elapsed / 60, 1),
        "squares": len(squares),
        "temperature": model.config.temperature,
        "milliseconds": round(milliseconds(model, draw)),
        "points": evaluate(model, loss, draw, squares, args.qualities, args.weights),
    }
    (trainer.run / "result.json").write_text(json.dumps(result, indent=1) + "\n")


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What all rows of a table must have in common."""
    budget = str(Budget(args.minutes, args.steps))
    names = ("preset", "qualities", "pictures", "threads")
    return {name: getattr(args, name) for name in names} | {"budget": budget}


def quality_table(results: dict[str, dict[str, Any]], quality: str) -> str:
    """All rows at one quality, and texture 0, which is the same for all."""
    points = {name: result["points"][quality] for name, result in results.items()}
    one = next(iter(points.values()))

    def line(name: str, nll: str, point: dict[str, float], kind: str) -> list[str]:
        values = [f"{point[f'{key}_{kind}']:.{digits}f}" for _, key, digits in COLUMNS]
        relative = point[f"spectrum_{kind}"] / point["spectrum_mean"]
        return [name, nll, *values, f"{relative:.2f}"]

    lines = [line("texture 0", "", one, "mean")]
    lines += [line(name, f"{p['nll']:.3f}", p, "sampled") for name, p in points.items()]
    heading = ["row", "NLL", *(heading for heading, _, _ in COLUMNS), "of texture 0's"]
    return table(heading, lines)


def report(results: dict[str, dict[str, Any]]) -> str:
    """All results as Markdown."""
    one = next(iter(results.values()))
    told = one["settings"]
    amount, unit = told["budget"].split()
    qualities = " ".join(f"{quality:g}" for quality in told["qualities"])
    parts = [
        "# Scales of texture\n",
        f"Model `{told['preset']}` with a new sampler: its texture alone trained for {amount} "
        f"{unit} a row (CPU threads: {told['threads']}) on the same crops with the same seed, by\n",
        f"    python -m benchmarks.scales --preset {told['preset']} --data DATA/photos "
        f"--weights DATA/lpips --{unit} {amount} --qualities {qualities} "
        f"--pictures {told['pictures']} --threads {told['threads']}\n",
        table(
            ["row", "parameters", "kMAC / pixel", "ms / sample", "steps", "minutes", "sampler"],
            [
                [
                    name,
                    f"{r['parameters']:,}",
                    f"{r['macs'] / 1000:.1f}",
                    f"{r['milliseconds']}",
                    str(r["steps"]),
                    str(r["minutes"]),
                    ROWS[name].about,
                ]
                for name, r in results.items()
            ],
        ),
        "Parameters are those of the sampler. A sample has 768x512 pixels: median of three, on "
        "one core.\n",
        f"Below, means over {one['squares']} held-out photographs ({SIDE}x{SIDE} from the "
        f"middle), samples at temperature {one['temperature']:g}. *NLL*: bits per pixel of the "
        "true residual given z and true contexts. The pyramid's is the sum over its levels, which "
        "have 1.31 times as many values as the residual, each coded in cells of one grey level: "
        "what coding by levels would cost at most. *Spectrum*: mean distance of the radially "
        "averaged log power spectrum from the original's, and as a share of texture 0's.\n",
    ]
    for quality in one["points"]:
        parts += [f"## Quality {quality}\n", quality_table(results, quality)]
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--preset", choices=sorted(RECIPES), default="small", help="model and recipe of this name"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--weights", type=Path, required=True, help="folder of LPIPS and DISTS")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="of training, for each row")
    budget.add_argument("--steps", type=int, help="the same in steps")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--qualities", nargs="+", type=float, default=[20, 50])
    parser.add_argument("--pictures", type=int, default=24, help="at most so many")
    parser.add_argument("--runs", type=Path, default=Path("runs/scales"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("table.md"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    for name, result in finished(args.runs, ROWS).items():
        if result["settings"] != settings(args):
            parser.error(f"{args.runs / name} has other settings: give another --runs")
    for name in args.rows:
        if name not in finished(args.runs, ROWS):
            complete(name, args)
            args.out.write_text(report(finished(args.runs, ROWS)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
