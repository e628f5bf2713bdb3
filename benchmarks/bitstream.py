"""What w costs in each way of coding it, and how close files come to the model's -log2 p.

python -m benchmarks.bitstream --out benchmarks/results/bitstream.json IMAGE ...
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.common import write
from vlaec import images, zoo
from vlaec.coding.symbols import StackWriter
from vlaec.photo import codec, container, hyper_coder
from vlaec.photo.latent_coder import LatentCoder

QUALITIES = (10, 30, 50, 70, 90)


def bits_in_full_precision(own: codec.Codec, z: np.ndarray, hundredths: int) -> float:
    """-log2 p of z, and of w as the posterior's rounded means, all of it in full precision."""
    prior, weights = own.exact, own.exact.level_weights(hundredths)
    posterior, shape = prior.posterior(z), prior.hyper_shape(*z.shape[1:])
    every = np.rint(posterior.means).astype(np.int32)
    writer = StackWriter()
    w = hyper_coder.write(writer, every, posterior, prior.hyper_cell(), shape)
    features = prior.features(w, weights, *z.shape[1:])
    for group in prior.groups:
        side = features if group.uses_hyper else None
        places, gaussians = prior.group(group, z, side, weights)
        cells = z[group.start : group.stop].reshape(gaussians.shape[0], -1)
        writer.latents(gaussians, cells[:, places])
    return writer.bits


def measure(paths: list[Path], quality: float) -> dict[str, float | str]:
    """Means over pictures at one quality; checks the laws on every file on the way."""
    card = zoo.find(quality=quality)
    own = codec.load_codec(card.id)
    hundredths = round(100 * quality)
    with_bits_back, in_steps, full, drawn, worst, bpp = [], [], [], [], 0.0, []
    for path in paths:
        picture = images.read(path)
        data = own.encode(picture, quality)
        facts = container.info(data)
        z = own.latent(picture.rgb, hundredths)
        plain = LatentCoder(own.exact, bits_back=False).encode(z, hundredths)
        decoded, _ = own.read_latent(container.unpack(data))
        assert np.array_equal(decoded, z), path
        assert len(data) <= 1.01 * facts.predicted_bits / 8 + 64, path
        with_bits_back.append(facts.stack_bits)
        in_steps.append(32 * len(plain.words))
        full.append(bits_in_full_precision(own, z, hundredths))
        drawn.append(facts.bits_back)
        worst = max(worst, len(data) / (facts.predicted_bits / 8 * 1.01 + 64))
        bpp.append(facts.bpp)
    return {
        "model": card.name,
        "bpp": round(float(np.mean(bpp)), 4),
        "bits_in_full_precision": round(float(np.mean(full))),
        "saved_by_steps_percent": round(100 * (1 - sum(in_steps) / sum(full)), 2),
        "saved_percent": round(100 * (1 - sum(with_bits_back) / sum(full)), 2),
        "files_larger_with_bits_back": sum(
            a > b for a, b in zip(with_bits_back, in_steps, strict=True)
        ),
        "symbols_drawn": round(float(np.mean(drawn))),
        "largest_file_over_limit": round(worst, 4),
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    os.environ["VLAEC_THREADS"] = str(args.threads)
    result = {
        "command": f"python -m benchmarks.bitstream {len(args.images)} images",
        "qualities": {str(q): measure(args.images, q) for q in QUALITIES},
    }
    print(json.dumps(result, indent=1))
    if args.out:
        write(args.out, result)


if __name__ == "__main__":
    sys.exit(main())
