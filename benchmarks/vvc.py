"""VVC against published VTM points: what vvenc's settings cost in PSNR on photographs.

    python -m benchmarks.vvc DATA/kodak [--out FILE]

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


class _Plain(Vvc):
    """Without both of what vvenc does for the eye and `vvc:psnr` for colours."""

    def __init__(self) -> None:
        super().__init__("psnr")
        self.settings = f"preset {self.preset}, no QP adaptation"

    def options(self, level: float) -> list[str]:
        *most, _ = super().options(level)
        return [*most, "verbosity=0"]


class _Slower(Vvc):
    preset = "slower"


# At a level that leads to 0.2 to 0.3 bits per pixel.
CODECS: dict[str, tuple[Codec, float]] = {
    "vvc": (Vvc(), 42),
    "without perceptual adaptation": (_Plain(), 37),
    "vvc:psnr, with finer chroma": (Vvc("psnr"), 37),
}
FEW = 6  # pictures for the preset that takes minutes


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "vvc.json")
    args = parser.parse_args(arguments)
    pictures = [np.ascontiguousarray(read(path).rgb) for path in find_images(args.pictures)]
    few = [pictures[i] for i in evenly(len(pictures), FEW)]
    medium, slower = (measure(codec("psnr"), 37, few) for codec in (Vvc, _Slower))
    write(
        args.out,
        {
            "pictures": len(pictures),
            "codecs": {name: measure(*codec, pictures) for name, codec in CODECS.items()},
            "slower": {"pictures": len(few), "rate_percent": against(slower, medium)},
        },
    )


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
    shares = {name: round(100 * excess(name, mean["bpp"], mean[name]), 1) for name in COMPARED}
    return {"version": codec.version, "level": level, **mean, "vtm_rate_percent": shares}


def against(one: Result, other: Result) -> dict[str, float]:
    """Rate at equal quality of one against another, over the same pictures, in percent."""
    found = {}
    for name in COMPARED:
        ours, theirs = (excess(name, row["bpp"], row[name]) for row in (one, other))
        found[name] = round(100 * ((1 + ours) / (1 + theirs) - 1), 1)
    return found


def excess(metric: str, bpp: float, value: float) -> float:
    """By which share more bits are spent than VTM spends for the same quality."""
    vtm = read_reference(RESULTS / "reference" / "kodak" / "vtm.json")
    shown = METRICS[metric]
    qualities = shown.quality(np.array(vtm.metrics[metric], np.float64))
    log_rate = np.interp(shown.quality(np.array(value)), qualities, np.log(vtm.bpp))
    return float(bpp / np.exp(log_rate) - 1)


if __name__ == "__main__":
    main()
