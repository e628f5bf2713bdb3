"""VVC against published VTM points: what vvenc's settings cost in PSNR on photographs.

    python -m benchmarks.vvc DATA/kodak [--codecs vvc,vvc:psnr,slower] [--out FILE]

VTM's points are means over the 24 Kodak photographs in CompressAI's results, of 8 bit 4:4:4.
`slower` is vvenc's slowest preset; `hevc-444` tells what 4:2:0 costs a codec that can do both.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vlaec.bench.codecs import Codec
from vlaec.bench.codecs.ffmpeg import Hevc, Vvc
from vlaec.bench.metrics import METRICS, PAIRS
from vlaec.bench.references import read_reference
from vlaec.bench.run import find_images
from vlaec.bench.search import bits_per_pixel
from vlaec.images import read

from .common import RESULTS, Result, write

COMPARED = ("psnr", "ms-ssim")


class _Slower(Vvc):
    preset = "slower"


class _Hevc444(Hevc):
    pixels = "yuv444p10le"


# With a level that leads to about a quarter of a bit per pixel.
CODECS: dict[str, tuple[Codec, float]] = {
    "vvc": (Vvc(), 42),
    "vvc:psnr": (Vvc("psnr"), 37),
    "slower": (_Slower("psnr"), 37),
    "hevc": (Hevc(), 38),
    "hevc-444": (_Hevc444(), 38),
}


def main(arguments: list[str] | None = None) -> None:
    """Measure and write after each codec."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--codecs", default=",".join(CODECS))
    parser.add_argument("--out", type=Path, default=RESULTS / "vvc.json")
    args = parser.parse_args(arguments)
    paths = find_images(args.pictures)
    pictures = [np.ascontiguousarray(read(path).rgb) for path in paths]
    result: Result = {"pictures": len(pictures), "codecs": {}}
    for name in args.codecs.split(","):
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
