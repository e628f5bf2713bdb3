"""What each part of the model and of its objective is worth, on one budget.

    python benchmarks/ablations.py --data DATA/photos --weights DATA/lpips --minutes 30

trains every row (or those of --rows) for the given time on the same photographs with the same seed,
one after the other, and writes benchmarks/ablations.md. A row that is interrupted resumes, a row
that is finished is kept, so the command may be repeated until the table is complete. Rows about
the parts of the network start from nothing and learn rate and MSE alone; rows about what is asked
of it (`tuned`) start from the weights of --model, since what LPIPS wants shows only in pictures
that are nearly right, and have a third of the budget.
(`benchmarks/priors.py` compares the parts of the prior on the latents of a finished model.)

Evaluated are the EMA weights on 256x256 squares from the middle of photographs that were held out,
in the arithmetic of training: rates are the model's -log2 p of the rounded z plus the KL of w. Real
files cost within 1 % of it (benchmarks/bitstream.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlaec import zoo
from vlaec.bench.metrics import METRICS, psnr
from vlaec.metrics.ssim import ms_ssim
from vlaec.networks import PhotoConfig, PhotoVLAE
from vlaec.networks.blocks import level_weights
from vlaec.networks.prior import HYPER_LOG_MIN, SCALE_LOG_MAX, Prior, gaussian_bits
from vlaec.photo.sampler import TextureSampler
from vlaec.train.machine import Machine
from vlaec.train.photo.data import photo_paths
from vlaec.train.photo.recipe import RECIPES, Budget, Recipe
from vlaec.train.photo.trainer import Trainer

SIDE = 256
# A finished model needs less than one that starts from nothing.
TUNING_SHARE = 3


class NoPrediction(nn.Module):
    """In place of the latent residual prediction: [N, 3 C, h, w] -> zeros [N, C, h, w]."""

    def forward(self, known: Tensor) -> Tensor:
        return torch.zeros_like(known[:, : known.shape[1] // 3])


Builder = Callable[[PhotoConfig], PhotoVLAE]


def without_prediction(config: PhotoConfig) -> PhotoVLAE:
    """A model without latent residual prediction."""
    model = PhotoVLAE(config)
    model.residual_prediction = NoPrediction()  # type: ignore[assignment]
    return model


@dataclass(frozen=True)
class Row:
    """One line of the tables: what differs from the recipe and the model as they are."""

    about: str
    change: Callable[[Recipe], Recipe] = lambda recipe: recipe
    build: Builder = PhotoVLAE
    tunes: bool = False  # starts from a finished model


def scaled(factor: float) -> Callable[[Recipe], Recipe]:
    """Another width of analysis and synthesis."""

    def change(recipe: Recipe) -> Recipe:
        a, b, c = (8 * round(width * factor / 8) for width in recipe.model.widths)
        return replace(recipe, model=replace(recipe.model, widths=(a, b, c)))

    return change


# All losses at once, for a model that is trained already: the differences to the preset.
TUNED = replace(RECIPES["small"], sampler_from=0.0, structure_until=1.0, learning_rate=3e-4)


def tuned(about: str, **changes: Any) -> Row:
    """A row that starts from a finished model."""
    fixed = {name: getattr(TUNED, name) for name in ("sampler_from", "structure_until")}
    fixed["learning_rate"] = TUNED.learning_rate
    return Row(about, lambda recipe: replace(recipe, **(fixed | changes)), tunes=True)


ROWS = {
    "full": Row("the model as it is"),
    "no-prediction": Row("no latent residual prediction", build=without_prediction),
    "narrow": Row("analysis and synthesis 0.75 times as wide", scaled(0.75)),
    "wide": Row("analysis and synthesis 1.5 times as wide", scaled(1.5)),
    "tuned": tuned("LPIPS of the texture, whose gradient reaches z and the encoder"),
    "tuned-apart": tuned("the same, but its gradient does not reach z", encoder_share=0.0),
    "tuned-mean": tuned(
        "LPIPS on the mean, not on the texture",
        perceptual_weight=0.0,
        mean_perceptual_weight=TUNED.perceptual_weight,
    ),
    "tuned-both": tuned(
        "LPIPS on the mean and on the texture", mean_perceptual_weight=TUNED.perceptual_weight
    ),
    "tuned-none": tuned("no LPIPS", perceptual_weight=0.0),
    "tuned-vgg": tuned("LPIPS of the texture, and half as much LPIPS on VGG16", vgg_weight=3.0),
    "tuned-ms-ssim": tuned("distortion MSE + 1000 (1 - MS-SSIM)", ms_ssim_weight=1000.0),
    "tuned-low": tuned("qualities up to 50 alone", qualities=(0.0, 0.5)),
    "tuned-soap": tuned(
        "SOAP in place of Adam, in batches of 16", optimiser="soap", batch=16, learning_rate=5e-4
    ),
}

# Per quality: heading, key of a point, digits.
COLUMNS = (
    ("bpp", "bpp", 4),
    ("of it w", "w", 4),
    ("w without bits-back", "w_pushed", 4),
    ("PSNR", "psnr", 2),
    ("MS-SSIM", "ms_ssim", 4),
    ("bpp + lambda MSE", "cost", 4),
    ("LPIPS mean", "lpips_mean", 3),
    ("DISTS mean", "dists_mean", 3),
)
# Only where the texture was trained.
TEXTURE_COLUMNS = (
    ("LPIPS sampled", "lpips_sampled", 3),
    ("DISTS sampled", "dists_sampled", 3),
)


def middle_squares(folder: Path, limit: int) -> list[np.ndarray]:
    """[256, 256, 3] uint8 from the middle of held-out photographs that are large enough."""
    found = map(middle_square, photo_paths(folder, held_out=True))
    squares = [square for square in found if square is not None]
    if not squares:
        raise ValueError(f"no held-out photograph in {folder} has {SIDE} pixels on both sides")
    return squares[:limit]


def middle_square(path: Path) -> np.ndarray | None:
    """[256, 256, 3] uint8 from the middle of a photograph; None if it is too small."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB"))
    top, left = ((side - SIDE) // 2 for side in pixels.shape[:2])
    return pixels[top : top + SIDE, left : left + SIDE] if min(top, left) >= 0 else None


def side_bits_pushed(prior: Prior, z: Tensor) -> Tensor:
    """Bits of w [N] where it is the posterior's rounded mean and nothing is given back."""
    mean, _ = prior.posterior(z[:, : prior.early_channels])
    log_scale = prior.hyper_log_scale.clamp(HYPER_LOG_MIN, SCALE_LOG_MAX)
    scale = log_scale.exp()[:, None, None].expand_as(mean)
    return gaussian_bits(mean.round(), prior.hyper_mean[:, None, None], scale).flatten(1).sum(1)


def to_tensor(pixels: np.ndarray) -> Tensor:
    """[H, W, 3] uint8 -> [1, 3, H, W] in [0, 1]."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def to_pixels(x: Tensor) -> np.ndarray:
    """[1, 3, H, W] in [0, 1] -> [H, W, 3] uint8."""
    pixels: np.ndarray = (x[0] * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return pixels


@torch.no_grad()
def evaluate(
    model: PhotoVLAE, squares: Sequence[np.ndarray], quality: float, weights: Path
) -> dict[str, float]:
    """Means over the pictures at a quality 0..100."""
    metrics = {name: METRICS[name].load(weights) for name in ("lpips", "dists")}
    sampler = TextureSampler(model.pixelcnn, model.config.temperature)
    levels = level_weights(torch.tensor([quality / 100]), model.config.levels)
    torch.manual_seed(0)  # of w's posterior
    points = []
    for index, square in enumerate(squares):
        z = model.encode(to_tensor(square), levels).round()
        prior = model.prior(z, z, levels)
        out = model.decode(z, prior.mean, prior.log_scale, levels)
        texture = sampler.sample(out.features[0], key=index)
        mean, sampled = to_pixels(out.mean), to_pixels(out.mean + out.detail + texture)
        mse = float(np.mean((mean.astype(np.float64) - square) ** 2))
        bpp = float(prior.latent_bits + prior.hyper_bits) / SIDE**2
        point = {
            "bpp": bpp,
            "w": float(prior.hyper_bits) / SIDE**2,
            "w_pushed": float(side_bits_pushed(model.prior, z)) / SIDE**2,
            "psnr": psnr(square, mean),
            "ms_ssim": float(ms_ssim(to_tensor(square), to_tensor(mean))),
            "cost": bpp + model.config.rate_weight(quality / 100) * mse,
        }
        for name, compare in metrics.items():
            for kind, picture in (("mean", mean), ("sampled", sampled)):
                value = compare(square, picture)
                assert value is not None
                point[f"{name}_{kind}"] = value
        points.append(point)
    return {key: float(np.mean([p[key] for p in points])) for key in points[0]}


def budget_of(row: Row, args: argparse.Namespace) -> Budget:
    """What a row may use."""
    share = TUNING_SHARE if row.tunes else 1
    return Budget(args.minutes and args.minutes / share, args.steps and max(1, args.steps // share))


def named(model: str) -> str:
    """A model's name and what its weights are."""
    return f"{model} {zoo.find(model).id}"


def recipe_of(row: Row, preset: str) -> Recipe:
    """The recipe of a row: from nothing the structure alone, to the end."""
    recipe = RECIPES[preset]
    if not row.tunes:
        recipe = replace(recipe, sampler_from=1.0, structure_until=1.0)
    return row.change(recipe)


def asked(row: Row, args: argparse.Namespace) -> dict[str, str]:
    """What a row's result must have been made with to stand in the table."""
    return {
        "preset": args.preset,
        "model": named(args.model),
        "budget": str(budget_of(row, args)),
    }


def train(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Train one row, or what is left of it, and evaluate it; the result is kept in its run."""
    run: Path = args.runs / name
    run.mkdir(parents=True, exist_ok=True)
    row = ROWS[name]
    recipe = recipe_of(row, args.preset)
    machine = Machine(torch.device("cpu"))
    trainer = Trainer(
        recipe, args.data, run, budget_of(row, args), args.weights, machine, row.build
    )
    if row.tunes and not trainer.step:
        trainer.start_from(zoo.load(zoo.find(args.model)).state_dict())
    trainer.train(None, lambda r: print(f"{name}: step {r['step']}, loss {r['loss']:.3f}"))
    model = trainer.model
    model.load_state_dict(trainer.ema)
    squares = middle_squares(args.data, args.pictures)
    length = f"--minutes {args.minutes:g}" if args.steps is None else f"--steps {args.steps}"
    result = asked(row, args) | {
        "command": f"python benchmarks/ablations.py --preset {args.preset} --data DATA/photos "
        f"--weights DATA/lpips {length} --threads {args.threads}",
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": trainer.step,
        "minutes": round(trainer.elapsed / 60, 1),
        "threads": torch.get_num_threads(),
        "pictures": len(squares),
        "points": {
            f"{quality:g}": evaluate(model.eval(), squares, quality, args.weights)
            for quality in args.qualities
        },
    }
    (run / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def finished(runs: Path, rows: Iterable[str] = ROWS) -> dict[str, dict[str, Any]]:
    """The results that are there, by row, in the order of `rows`."""
    paths = {name: runs / name / "result.json" for name in rows}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, all but its first column aligned to the right."""
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def report(results: dict[str, dict[str, Any]]) -> str:
    """All results as Markdown."""
    one = next(iter(results.values()))
    parts = [
        "# Ablations\n",
        f"Preset `{one['preset']}`, every row on the same photographs with the same seed (CPU "
        f"threads: {one['threads']}), by\n",
        f"    {one['command']}\n",
        f"Means over {one['pictures']} held-out photographs ({SIDE}x{SIDE} from the middle). "
        "Without bits-back, w is pushed as its posterior's rounded mean.\n",
    ]
    for tunes in (False, True):
        group = {name: r for name, r in results.items() if ROWS[name].tunes == tunes}
        if group:
            one = next(iter(group.values()))
            start = "nothing, rate and MSE alone"
            if tunes:
                start = f"the weights of `{one['model']}`, all losses at once"
            columns = COLUMNS + TEXTURE_COLUMNS if tunes else COLUMNS
            parts += [f"## From {start}: {one['budget']}\n", *tables(group, columns)]
    return "\n".join(parts)


def tables(
    results: dict[str, dict[str, Any]], columns: Sequence[tuple[str, str, int]]
) -> list[str]:
    """What the rows are, and one table per quality."""
    lines = [
        [n, f"{r['parameters']:,}", str(r["steps"]), str(r["minutes"]), ROWS[n].about]
        for n, r in results.items()
    ]
    parts = [table(["row", "parameters", "steps", "minutes", "what differs"], lines)]
    for quality in next(iter(results.values()))["points"]:
        parts.append(f"### Quality {quality}\n")
        lines = [
            [name, *(f"{r['points'][quality][key]:.{digits}f}" for _, key, digits in columns)]
            for name, r in results.items()
            if quality in r["points"]
        ]
        parts.append(table(["row", *(heading for heading, _, _ in columns)], lines))
    return parts


def main() -> int:
    """Train what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", choices=sorted(RECIPES), default="small")
    parser.add_argument("--model", default="small", help="where rows that tune start from")
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--weights", type=Path, required=True, help="folder of LPIPS and DISTS")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="budget of each row")
    length.add_argument("--steps", type=int, help="the same in steps")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--qualities", nargs="+", type=float, default=[20, 50, 80])
    parser.add_argument("--pictures", type=int, default=24, help="at most so many")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name, result in finished(args.runs).items():
        if any(result[key] != value for key, value in asked(ROWS[name], args).items()):
            parser.error(
                f"{args.runs / name} has another preset, model or budget: give another --runs"
            )
    for name in args.rows:
        if name not in finished(args.runs):
            train(name, args)
        args.out.write_text(report(finished(args.runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
