"""VVC against published VTM points: what vvenc's settings cost in PSNR on photographs.

    python -m benchmarks.vvc DATA/kodak [--changes 0 1 2 3] [--out FILE]

VTM's points are means over the 24 Kodak photographs in CompressAI's results, of 8 bit 4:4:4. Only
means over the same photographs compare.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vlaec.bench.codecs import Codec
from vlaec.bench.codecs.ffmpeg import Vvc
from vlaec.bench.metrics import METRICS, PAIRS
from vlaec.bench.references import read_reference
from vlaec.bench.run import find_images
from vlaec.bench.search import bits_per_pixel
from vlaec.images import read

from .common import RESULTS, Result, evenly, write

COMPARED = ("psnr", "ms-ssim")


class _Chroma(Vvc):
    """With finer chroma, as PSNR over RGB rewards."""

    def options(self, level: float) -> list[str]:
        *most, parameters = super().options(level)
        return [*most, f"{parameters}:CbQpOffset=-6:CrQpOffset=-6"]


class _Slower(_Chroma):
    preset = "slower"


# Each with one more change than the one before, at a level that leads to 0.2 to 0.3 bits per pixel.
CODECS: dict[str, tuple[Codec, float]] = {
    "vvc": (Vvc(), 42),
    "vvc:psnr": (Vvc("psnr"), 37),
    "vvc:psnr, finer chroma": (_Chroma("psnr"), 37),
    "vvc:psnr, finer chroma, slower": (_Slower("psnr"), 37),
}


def main(arguments: list[str] | None = None) -> None:
    """Measure and write after each codec."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--changes", type=int, nargs="+", default=range(len(CODECS)))
    parser.add_argument("--limit", type=int, help="so many pictures, evenly taken")
    parser.add_argument("--out", type=Path, default=RESULTS / "vvc.json")
    args = parser.parse_args(arguments)
    paths = np.array(find_images(args.pictures))
    paths = paths[evenly(len(paths), args.limit or len(paths))]
    pictures = [np.ascontiguousarray(read(path).rgb) for path in paths]
    result: Result = {"pictures": len(pictures), "codecs": {}}
    for name in np.array(list(CODECS))[args.changes]:
        result["codecs"][name] = measure(*CODECS[name], pictures)
        write(args.out, result)


def measure(codec: Codec, level: float, pictures: list[np.ndarray]) -> Result:
    """Means over pictures, and the rate against VTM's at the same mean quality."""
    compare = {name: PAIRS[name].load(None) for name in COMPARED}
    decode = next(iter(codec.decoders().values()))
    rows = []
    for picture in pictures:
        file = codec.encode(picture, level)
        decoded = decode(file, 1)
        values = {name: metric(picture, decoded) for name, metric in compare.items()}
        rows.append({"bpp": bits_per_pixel(file, picture), **values})
    mean = {key: round(float(np.mean([row[key] for row in rows])), 5) for key in rows[0]}
    against = {name: round(100 * excess(name, mean["bpp"], mean[name]), 1) for name in COMPARED}
    return {"version": codec.version, "level": level, **mean, "vtm_rate_percent": against}


def excess(metric: str, bpp: float, value: float) -> float:
    """By which share more bits are spent than VTM spends for the same quality."""
    vtm = read_reference(RESULTS / "reference" / "kodak" / "vtm.json")
    shown = METRICS[metric]
    qualities = shown.quality(np.array(vtm.metrics[metric], np.float64))
    log_rate = np.interp(shown.quality(np.array(value)), qualities, np.log(vtm.bpp))
    return float(bpp / np.exp(log_rate) - 1)


if __name__ == "__main__":
    main()
