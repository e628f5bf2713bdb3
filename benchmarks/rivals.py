"""Pictures of other codecs from files of a given size, made once and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vlaec.bench.codecs import make_codec
from vlaec.bench.search import bits_per_pixel, match_rate


def rival(
    name: str, original: np.ndarray, rate: float, files: dict[float, bytes], kept: Path
) -> tuple[np.ndarray, float]:
    """Picture and rate of another codec's file of equal size; made once, then read from `kept`."""
    if kept.exists():
        with np.load(kept) as found:
            return found["picture"], float(found["bpp"])
    codec = make_codec(name)
    level, data = match_rate(codec, original, rate, files=files)
    files[level] = data
    picture, bpp = codec.decoders()[name](data, 1), bits_per_pixel(data, original)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(kept, bpp=bpp, picture=picture)
    return picture, bpp
