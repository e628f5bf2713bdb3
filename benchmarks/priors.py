"""What each part of the prior is worth, in bits: other priors on the latents of a finished model.

    python -m benchmarks.priors --data DATA/photos --steps 2000

Crops of photographs are encoded once, at random qualities. Then every row's prior starts anew and
learns those same latents, so that nothing but the prior differs: not the pictures, not what they
look like. Rates are those of the rounded z plus the KL of w, on 256x256 squares from the middle of
photographs that were held out. `shipped` is the prior that was trained together with the model.
Writes benchmarks/priors.md.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.ablations import SIDE, middle_squares, side_bits_pushed, table, to_tensor
from vlaec import zoo
from vlaec.networks import PhotoConfig, PhotoVLAE
from vlaec.networks.blocks import level_weights
from vlaec.networks.prior import Group, Prior
from vlaec.train.photo.data import PhotoSet, photo_paths
from vlaec.train.photo.recipe import Recipe

BATCH = 16
LEARNING_RATE = 1e-3
WARMUP_STEPS = 50
# Photographs are reduced at random before they are cropped, as in training.
REDUCTION = Recipe().reduction


class WithoutHyper(Prior):
    """No w: nothing is told to the groups, and nothing paid."""

    def side_information(self, z: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        features, bits = super().side_information(z, levels)
        return torch.zeros_like(features), torch.zeros_like(bits)


class Factorised(WithoutHyper):
    """A Gaussian per channel and quality: no group sees another."""

    def known(self, group: Group, z: Tensor, even: Tensor) -> Tensor:
        return torch.zeros_like(z[:, : group.stop])


class WithoutCheckerboard(Prior):
    """The odd cells of a slice do not see the even ones: half as many coding steps."""

    def known(self, group: Group, z: Tensor, even: Tensor) -> Tensor:
        return torch.cat([z[:, : group.start], torch.zeros_like(z[:, group.start : group.stop])], 1)


class Row(NamedTuple):
    """One prior."""

    about: str
    kind: type[Prior] = Prior
    slices: int | None = None  # of the channels, where not the model's

    def build(self, config: PhotoConfig) -> Prior:
        """The prior with its starting weights."""
        return self.kind(config if self.slices is None else replace(config, slices=self.slices))


ROWS = {
    "full": Row("the same networks: 4 slices x 2 parities, w"),
    "factorised": Row("p(z) without context and without w", Factorised),
    "no-w": Row("no hyper-latent w", WithoutHyper),
    "no-checkerboard": Row("4 slices, no parities: 4 coding steps", WithoutCheckerboard),
    "slices-2": Row("2 slices x 2 parities: 4 coding steps", slices=2),
    "slices-8": Row("8 slices x 2 parities: 16 coding steps", slices=8),
}


@dataclass(frozen=True)
class Latents:
    """Encoded crops: y [M, C, h, w] before rounding, and quality levels [M] in [0, 1]."""

    y: Tensor
    level: Tensor


@torch.no_grad()
def encode(model: PhotoVLAE, folder: Path, count: int, seed: int) -> Latents:
    """Latents of random crops of SIDE x SIDE pixels, on each of which quality is random."""
    photos = PhotoSet(photo_paths(folder, held_out=False), torch.device("cpu"))
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    level = torch.rand(count)
    parts = []
    for part in level.split(BATCH):
        x = photos.crops(len(part), SIDE, random.uniform(*REDUCTION), random)
        parts.append(model.encode(x, level_weights(part, model.config.levels)))
    return Latents(torch.cat(parts), level)


def train(prior: Prior, latents: Latents, steps: int, levels: int, seed: int) -> None:
    """Minimise the rate, in the arithmetic of the model's own training."""
    torch.manual_seed(seed)
    optimiser = torch.optim.Adam(prior.parameters(), lr=LEARNING_RATE, fused=True)
    cells = latents.y[0, 0].numel()
    for step in range(steps):
        warm = min(1.0, (step + 1) / WARMUP_STEPS)
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        chosen = torch.randint(len(latents.y), (BATCH,))
        y = latents.y[chosen]
        noisy = y + torch.rand_like(y) - 0.5
        out = prior(y.round(), noisy, level_weights(latents.level[chosen], levels))
        bits = (out.latent_bits + out.hyper_bits).mean() / cells
        optimiser.zero_grad(set_to_none=True)
        bits.backward()
        optimiser.step()


@torch.no_grad()
def rates(prior: Prior, y: Tensor, quality: float, levels: int) -> dict[str, float]:
    """Bits per pixel of the latents y [M, C, h, w] of squares at a quality 0..100, of it those
    of w, and what w would cost without bits-back (0 where there is no w)."""
    torch.manual_seed(0)  # of w's posterior
    weights = level_weights(torch.full((len(y),), quality / 100), levels)
    z = y.round()
    out = prior(z, z, weights)
    pushed = side_bits_pushed(prior, z) * (out.hyper_bits > 0)
    whole = out.latent_bits + out.hyper_bits
    parts = {"bpp": whole, "w": out.hyper_bits, "w_pushed": pushed}
    return {name: float(bits.mean()) / SIDE**2 for name, bits in parts.items()}


def report(results: dict[str, dict[float, dict[str, float]]], facts: dict[str, str]) -> str:
    """All results as Markdown."""
    text = (
        f"# Priors\n\nRates in bits per pixel on {facts['squares']} held-out photographs ({SIDE}x"
        f"{SIDE} from the middle), all with the latents of `{facts['model']}`. Every row but "
        f"`shipped` is a prior that starts anew and learns {facts['crops']} crops in "
        f"{facts['steps']} steps of {BATCH} ({facts['minutes']} minutes in all, CPU threads: "
        f"{facts['threads']}), by\n\n    {facts['command']}\n"
    )
    parts = [text]
    about = {name: row.about for name, row in ROWS.items()}
    about["shipped"] = "the model's own, trained with it"
    lines = [[name, facts[f"parameters of {name}"], about[name]] for name in results]
    parts.append(table(["row", "parameters", "prior"], lines))
    for quality in next(iter(results.values())):
        full = results["full"][quality]["bpp"] if "full" in results else math.nan
        lines = []
        for name, by_quality in results.items():
            point = by_quality[quality]
            change = f"{100 * (point['bpp'] / full - 1):+.1f} %"
            values = [f"{point[key]:.4f}" for key in ("bpp", "w", "w_pushed")]
            lines.append([name, values[0], change, *values[1:]])
        parts.append(f"## Quality {quality:g}\n")
        parts.append(table(["row", "bpp", "to full", "of it w", "w without bits-back"], lines))
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and compare all priors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="small", help="a photo model's name")
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--steps", type=int, default=2000, help="for each row")
    parser.add_argument("--crops", type=int, default=1500)
    parser.add_argument("--pictures", type=int, default=24, help="at most so many")
    parser.add_argument("--qualities", nargs="+", type=float, default=[20, 50, 80])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    started = time.monotonic()
    model = zoo.load(zoo.find(args.model)).eval()
    levels = model.config.levels
    squares = torch.cat([to_tensor(s) for s in middle_squares(args.data, args.pictures)])
    encoded = {}
    with torch.no_grad():
        for quality in args.qualities:
            weights = level_weights(torch.full((len(squares),), quality / 100), levels)
            encoded[quality] = model.encode(squares, weights)
    latents = encode(model, args.data, args.crops, args.seed)

    facts = {
        "model": args.model,
        "squares": str(len(squares)),
        "crops": str(args.crops),
        "steps": str(args.steps),
        "threads": str(args.threads),
        "command": "python -m benchmarks.priors --data DATA/photos "
        f"--model {args.model} --steps {args.steps} --crops {args.crops} --threads {args.threads}",
    }
    results: dict[str, dict[float, dict[str, float]]] = {}
    for name in ("shipped", *args.rows):
        prior = model.prior
        if name != "shipped":
            torch.manual_seed(args.seed)
            prior = ROWS[name].build(model.config)
            train(prior, latents, args.steps, levels, args.seed)
        facts[f"parameters of {name}"] = f"{sum(p.numel() for p in prior.parameters()):,}"
        results[name] = {q: rates(prior, y, q, levels) for q, y in encoded.items()}
        facts["minutes"] = f"{(time.monotonic() - started) / 60:.0f}"
        print(name, results[name], flush=True)
        args.out.write_text(report(results, facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
