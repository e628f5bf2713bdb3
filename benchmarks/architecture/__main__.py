"""See `benchmarks.architecture`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import command, machine, write
from vlaec import zoo
from vlaec.networks.config import PhotoConfig
from vlaec.networks.photo import PhotoVLAE
from vlaec.train.photo.data import PhotoSet, photo_paths
from vlaec.train.photo.held_out import held_out_crops
from vlaec.train.photo.pages import draw_pages, lay_over
from vlaec.train.photo.typefaces import LATIN, Typeface, typefaces

from .lockstep import BATCH, CROP, Row, folder, summary, train
from .variants import CONFIGS, build

# Every so many photographs are trained on: they stay in memory.
SHARE = 3
PAGES = 2  # of a batch, where lettering is trained on
LETTERING = {"control": 0.0, "lettering-20": 20.0, "lettering-60": 60.0}


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architecture")
    parser.add_argument("what", choices=("rows", "lettering"))
    parser.add_argument("rows", nargs="*", choices=[[], *CONFIGS])
    parser.add_argument("--data", type=folder, required=True)
    parser.add_argument("--fonts", type=folder)
    parser.add_argument("--serif", type=Path, help="a typeface that is not among the fonts")
    parser.add_argument("--steps", type=int, default=1450)
    parser.add_argument("--every", type=int, default=362)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    photos = PhotoSet(photo_paths(args.data, held_out=False)[::SHARE], torch.device("cpu"))
    crops = held_out_crops(args.data).contiguous(memory_format=torch.channels_last)
    found: dict[str, Any] = {"command": command("architecture", arguments), "machine": machine()}

    def cut(random: np.random.Generator, share: float, low: float, high: float) -> Tensor:
        scale = 1.0
        if random.random() < share:
            scale = CROP / (8 * round(CROP / random.uniform(low, high) / 8))
        return photos.crops(BATCH, CROP, scale, random)

    if args.what == "rows":
        start = photos.crops(160, CROP, 1.0, np.random.default_rng(1))
        rows = [Row(name, build(name, start), 1.4e-3, 60) for name in args.rows]

        def batch(step: int, random: np.random.Generator) -> tuple[Tensor, Tensor | None]:
            return cut(random, 0.8, 0.5, 0.9), None

        sets: dict[str, tuple[Tensor, Tensor | None]] = {"photographs": (crops, None)}
    else:
        weights = zoo.open_weights(zoo.find(quality=50))
        rows = [
            Row(name, _shipped(weights), 3e-4, 30, lettering=w) for name, w in LETTERING.items()
        ]
        faces = typefaces(args.fonts)

        def batch(step: int, random: np.random.Generator) -> tuple[Tensor, Tensor | None]:
            x = cut(random, 0.7, 0.6, 0.95)
            lettering = x.new_zeros(BATCH, 1, CROP, CROP)
            pages = torch.from_numpy(draw_pages(PAGES, CROP, random, faces))
            x[:PAGES], lettering[:PAGES] = lay_over(pages, x[:PAGES])
            return x, lettering

        random = np.random.default_rng(77)
        serif = [Typeface(args.serif, (LATIN,))]
        sets = {"photographs": (crops, None)}
        for name, drawn, under in (("serif", serif, crops[:10]), ("faces", faces, crops[10:20])):
            pages = torch.from_numpy(draw_pages(10, crops.shape[3], random, drawn))
            x, lettering = lay_over(pages, under)
            sets[name] = x.contiguous(memory_format=torch.channels_last), lettering

    def look(step: int) -> None:
        found[f"step {step}"] = {
            row.name: summary(row, {name: row.measure(*given) for name, given in sets.items()})
            for row in rows
        }
        write(args.out, found)

    train(rows, args.steps, 5 if args.what == "rows" else 6, batch, look, args.every)


def _shipped(weights: Any) -> PhotoVLAE:
    """The shipped model, its texture frozen."""
    model = PhotoVLAE(PhotoConfig.from_dict(weights.config))
    tensors = {k: torch.from_numpy(np.array(v)).float() for k, v in weights.tensors.items()}
    model.load_state_dict(tensors, strict=False)
    for part in (model.texture_synthesis, model.to_detail, model.to_features, model.pixelcnn):
        part.requires_grad_(False)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
