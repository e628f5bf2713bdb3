"""What texture is made of: `detail`, which every decoder invents alike, and the PixelCNN's sample.

    python -m benchmarks.texture_parts --data DATA/photos --weights DATA/lpips

On 256x256 squares from the middle of photographs that were held out. Writes
benchmarks/texture_parts.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.ablations import SIDE, middle_squares, table, to_pixels, to_tensor
from benchmarks.scales.evaluate import COMPARED, decoded
from vlaec import zoo
from vlaec.bench.metrics import METRICS, Compare
from vlaec.metrics.variance import variance_distance
from vlaec.networks import PhotoVLAE
from vlaec.photo.sampler import TextureSampler

SHOWN = ("texture 0", "detail", "detail + sample")
PARTS = {
    "residual": "the original, less texture 0",
    "detail": "the deterministic part of texture",
    "sample": "the PixelCNN's part",
    "seeds": "two samples' difference, over the root of 2: what the seed decides",
}

# Among so many an encoder could choose, for three bits.
SEEDS = 8
CHOSEN_BY = ("lpips", "dists")


def rms(x: Tensor) -> float:
    """Root mean square of values on the [0, 1] scale, in levels."""
    return 255 * float(x.square().mean().sqrt())


@torch.inference_mode()
def measure(
    model: PhotoVLAE, squares: Sequence[np.ndarray], quality: float, weights: Path
) -> dict[str, float]:
    """Means over the squares: strengths of PARTS in levels, comparisons of SHOWN."""
    metrics = {name: METRICS[name].load(weights) for name in COMPARED}
    sampler = TextureSampler(model.pixelcnn, model.config.temperature)
    points = []
    for index, square in enumerate(squares):
        out = decoded(model, square, quality)
        samples = [sampler.sample(out.features[0], SEEDS * index + i) for i in range(SEEDS)]
        first, second = samples[:2]
        point = {
            "residual": rms(to_tensor(square) - out.mean),
            "detail": rms(out.detail),
            "sample": rms(first),
            "seeds": rms((first - second) / 2**0.5),
        }
        pictures = (out.mean, out.mean + out.detail, out.mean + out.detail + first)
        for shown, picture in zip(SHOWN, pictures, strict=True):
            for name, compare in metrics.items():
                value = compare(square, to_pixels(picture))
                assert value is not None
                point[f"{shown}: {name}"] = value
        textures = [to_pixels(out.mean + out.detail + sample) for sample in samples]
        points.append(point | choices(square, textures, metrics))
    return {key: float(np.mean([p[key] for p in points])) for key in points[0]}


def choices(
    square: np.ndarray, textures: Sequence[np.ndarray], metrics: dict[str, Compare]
) -> dict[str, float]:
    """What choosing one of some pictures [H, W, 3] changes of each metric's mean over them: when
    chosen by local variance, as an encoder could, and by the metric itself."""
    original = to_tensor(square)
    far = [float(variance_distance(to_tensor(t), original)) for t in textures]
    changes = {}
    for name in CHOSEN_BY:
        values = np.array([metrics[name](square, texture) for texture in textures], float)
        changes[f"by variance: {name}"] = values[int(np.argmin(far))] / values.mean() - 1
        changes[f"by itself: {name}"] = values.min() / values.mean() - 1
    return changes


def report(results: dict[str, dict[str, float]], models: Sequence[str], squares: int) -> str:
    """All results as Markdown; the model of each quality."""
    of = ", ".join(f"`{model}` at {q}" for model, q in zip(models, results, strict=True))
    parts = [
        "# Parts of texture\n",
        f"Means over {squares} held-out photographs ({SIDE}x{SIDE} from the middle), {of}, by\n",
        "    python -m benchmarks.texture_parts --data DATA/photos --weights DATA/lpips\n",
        "Strength, root mean square in levels:\n",
        table(
            ["part", *(f"quality {q}" for q in results), "what it is"],
            [[n, *(f"{r[n]:.2f}" for r in results.values()), PARTS[n]] for n in PARTS],
        ),
    ]
    for quality, result in results.items():
        values = [
            [shown, *(f"{result[f'{shown}: {name}']:.4g}" for name in COMPARED)] for shown in SHOWN
        ]
        parts += [f"## Quality {quality}\n", table(["picture", *map(str.upper, COMPARED)], values)]
    rows = [
        [
            f"{name.upper()}, chosen {how}",
            *(f"{r[f'{how}: {name}']:+.2%}" for r in results.values()),
        ]
        for name in CHOSEN_BY
        for how in ("by variance", "by itself")
    ]
    parts += [
        "## Choosing a seed\n",
        f"Change from the mean over {SEEDS} seeds: with that of the least distance in local "
        "variance, which an encoder could choose, and with the best.\n",
        table(["", *(f"quality {q}" for q in results)], rows),
    ]
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="a photo model's name; default: those for the qualities")
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--weights", type=Path, required=True, help="folder of LPIPS and DISTS")
    parser.add_argument("--qualities", nargs="+", type=float, default=[20, 50, 80])
    parser.add_argument("--pictures", type=int, default=24, help="at most so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    squares = middle_squares(args.data, args.pictures)
    results, models = {}, []
    for quality in args.qualities:
        card = zoo.find(args.model, quality=quality)
        models.append(card.name)
        results[f"{quality:g}"] = measure(zoo.load(card), squares, quality, args.weights)
    args.out.write_text(report(results, models, len(squares)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
