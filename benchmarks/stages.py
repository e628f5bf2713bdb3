"""Where the time of compressing and decompressing goes.

    python -m benchmarks.stages

The repository's photograph, tiled to 768x512, on one thread. Writes benchmarks/stages.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.ablations import table
from benchmarks.speed import tiled
from vlaec import zoo
from vlaec.networks.streaming import SynthesisStream
from vlaec.photo import codec, container
from vlaec.photo import sampler as wavefront

SIZES = ((512, 768),)
# Of each job, by the object that does it and the name of what is called.
Stages = dict[str, tuple[Any, str]]


def stages(own: codec.Codec) -> tuple[Stages, Stages]:
    """Parts of compressing and of decompressing with one codec. A part that lies within the one
    before it is marked by an arrow."""
    return (
        {
            "analysis": (codec, "encode_in_rows"),
            "rounding": (codec, "quantise"),
            "prior and ANS": (own.coder, "encode"),
            "choice of strength": (codec, "choose_strength"),
        },
        {
            "prior and ANS": (own.coder, "decode"),
            "synthesis of the mean": (SynthesisStream, "mean"),
            "synthesis of the texture": (SynthesisStream, "texture"),
            "sampling": (own.sampler, "sample"),
            "-> its noise": (wavefront, "band_noise"),
            "-> draws from the mixture": (own.sampler, "draw"),
        },
    )


@contextmanager
def stopwatches(parts: Stages) -> Iterator[dict[str, float]]:
    """Seconds spent in each part while the context lasts."""
    seconds: dict[str, float] = defaultdict(float)

    def timed(name: str, job: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return job(*args, **kwargs)
            finally:
                seconds[name] += time.perf_counter() - start

        return run

    with ExitStack() as stack:
        for name, (owner, attribute) in parts.items():
            job = timed(name, getattr(owner, attribute))
            stack.enter_context(patch.object(owner, attribute, job))
        yield seconds


def measure(job: Callable[[], object], parts: Stages, repetitions: int) -> dict[str, float]:
    """Median seconds of each part, of what is not in any, and of all; one call before them."""
    job()
    runs = []
    for _ in range(repetitions):
        with stopwatches(parts) as seconds:
            start = time.perf_counter()
            job()
            total = time.perf_counter() - start
        outer = sum(s for name, s in seconds.items() if not name.startswith("->"))
        runs.append({name: seconds[name] for name in parts} | {"rest": total - outer, "all": total})
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def rows(results: Sequence[dict[str, float]]) -> list[list[str]]:
    """Seconds and shares of each part, a pair of columns for each size."""
    return [
        [name, *(c for r in results for c in (f"{r[name]:.3f}", f"{r[name] / r['all']:.0%}"))]
        for name in results[0]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quality", type=float, default=50)
    parser.add_argument("--sizes", nargs="+", type=int, help="heights and widths, in turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    sizes = list(zip(args.sizes[::2], args.sizes[1::2], strict=True)) if args.sizes else SIZES
    card = zoo.find(quality=args.quality)
    own = codec.load_codec(card.id)
    compressing, decompressing = stages(own)
    encoded, decoded = [], []
    for height, width in sizes:
        picture = tiled(height, width)
        parsed = container.unpack(own.encode(picture, args.quality))
        # A job's default arguments keep what the loop will change.
        encoded.append(
            measure(lambda p=picture: own.encode(p, args.quality), compressing, args.repetitions)
        )
        decoded.append(
            measure(lambda c=parsed: own.decode(c, texture=1.0), decompressing, args.repetitions)
        )
    header = [c for height, width in sizes for c in (f"{width}x{height}, s", "share")]
    args.out.write_text(
        "\n".join(
            [
                "# Where the time goes\n",
                f"`{card.name}` at quality {args.quality:g}, {args.threads} thread(s), medians of "
                f"{args.repetitions}, by\n",
                "    python -m benchmarks.stages\n",
                "Parts with an arrow lie within the one above them.\n",
                "## Compressing\n",
                table(["part", *header], rows(encoded)),
                "## Decompressing with texture\n",
                table(["part", *header], rows(decoded)),
            ]
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
