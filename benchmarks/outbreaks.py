"""Does the sampler stay calm on many photographs, at the temperature of decoding and at 1?

    python -m benchmarks.outbreaks DATA/kodak DATA/photos/cid22 --limit 200

Of every folder's photographs (the first --limit, or all) at one quality: how far the histogram of
sampled residuals is from that of true ones, how far their 16x16 blocks drift from the mean, and the
share of blocks further out than 99.9 % of the true ones. See `benchmarks/texture/residuals.py`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.common import RESULTS
from benchmarks.texture.measure import TEMPERATURES
from benchmarks.texture.render import read_layers, sample
from benchmarks.texture.residuals import Tally, compare
from vlaec import zoo
from vlaec.images import Picture, is_picture
from vlaec.photo.codec import Codec, load_codec


def measure(codec: Codec, paths: list[Path], quality: float) -> dict[str, Any]:
    """`compare` of these photographs' residuals, by temperature."""
    true, sampled = Tally(), {temperature: Tally() for temperature in TEMPERATURES}
    for path in paths:
        with Image.open(path) as image:
            rgb = np.array(image.convert("RGB"))
        layers = read_layers(codec, codec.encode(Picture(rgb), quality))
        x = torch.from_numpy(rgb).permute(2, 0, 1) / 255  # [3, H, W]
        true.add((x - layers.mean).numpy() * 255)
        for temperature, tally in sampled.items():
            tally.add(sample(codec, layers, temperature).numpy() * 255)
    return {f"{temperature:g}": compare(true, tally) for temperature, tally in sampled.items()}


def main(argv: list[str] | None = None) -> None:
    """Measure every folder and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outbreaks", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, help="photographs of each folder")
    parser.add_argument("--quality", type=float, default=25)
    parser.add_argument("--model", help="a name from `vlaec models` (default: by quality)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "outbreaks.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    card = zoo.find(name=args.model, quality=args.quality)
    codec = load_codec(card.id)
    results: dict[str, Any] = {"model": f"{card.name} {card.id}", "quality": args.quality}
    for folder in args.folders:
        paths = sorted(p for p in folder.rglob("*") if is_picture(p))[: args.limit]
        if not paths:
            parser.error(f"no photograph in {folder}")
        found = measure(codec, paths, args.quality)
        results[folder.name] = {"photographs": len(paths), "temperature": found}
        for temperature, values in found.items():
            furthest, true = values["drift"][-1], values["true_drift"][-1]
            print(
                f"{folder.name} ({len(paths)}), T {temperature}: "
                f"outbreaks {100 * values['outbreaks']:.3f} %, "
                f"total variation {max(values['total_variation']):.3f}, "
                f"furthest block mean {furthest:.1f} (true {true:.1f})"
            )
    args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
