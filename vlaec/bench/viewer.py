"""Pictures for the page: crops of the original and of every codec's file of equal size.

The files are the ones that the run searched for each rate, so all are compared at the same size and
not at the nearest level that happened to be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..images import read
from .codecs import Codec, Vlaec
from .crops import as_address, busiest_crop
from .results import Cache, Record
from .run import Outcome

CROP_WIDTH, CROP_HEIGHT = 384, 320
THUMB = 160
DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Shot:
    """A crop as a data address, and what the whole file cost."""

    source: str
    bpp: float
    level: float


@dataclass(frozen=True)
class Exhibit:
    """One picture: `shots[rate][row]`, and for each vlaec codec the texture dial."""

    image: str
    original: str
    shots: dict[str, dict[str, Shot]]
    dial: dict[str, list[tuple[str, str]]]  # caption and data address


@dataclass(frozen=True)
class Files:
    """The files of equal size that a run made."""

    outcome: Outcome
    cache: Cache
    codecs: Sequence[Codec]

    def of(self, image: str) -> dict[str, dict[str, tuple[Record, Codec, bytes]]]:
        """By rate and row: what is known of the file, its codec and the file."""
        owners = {row: codec for codec in self.codecs for row in codec.decoders()}
        by_rate: dict[str, dict[str, tuple[Record, Codec, bytes]]] = {}
        for record in self.outcome.equal:
            data = self.cache.file(self.outcome.key(record)) if record.image == image else None
            if data is not None:
                row = by_rate.setdefault(f"{record.rate:g}", {})
                row[record.codec] = (record, owners[record.codec], data)
        return by_rate


def make_exhibits(
    images: Mapping[str, Path],
    files: Files,
    exact: bool = False,
    progress: Callable[[int], None] = lambda pictures: None,
) -> list[Exhibit]:
    """Decode and crop every named picture's files. `exact` crops are larger."""
    exhibits = []
    for name, path in images.items():
        image = np.ascontiguousarray(read(path).rgb)
        rows, columns = busiest_crop(image, CROP_WIDTH, CROP_HEIGHT)
        shots: dict[str, dict[str, Shot]] = {}
        dial: dict[str, list[tuple[str, str]]] = {}
        for rate, by_rate in files.of(name).items():
            for row, (record, codec, data) in by_rate.items():
                crop = codec.decoders()[row](data, 1)[rows, columns]
                source = as_address(crop, exact)
                shots.setdefault(rate, {})[row] = Shot(source, record.bpp, record.level)
                if isinstance(codec, Vlaec) and codec.name not in dial:  # at the lowest rate
                    dial[codec.name] = _dial(codec, data, image[rows, columns], (rows, columns))
        exhibits.append(Exhibit(name, as_address(image[rows, columns], exact), shots, dial))
        progress(1)
    return exhibits


def _dial(
    codec: Vlaec, data: bytes, original: np.ndarray, window: tuple[slice, slice]
) -> list[tuple[str, str]]:
    """Thumbnails of one file at five strengths of texture, and of the original."""
    inner = busiest_crop(original, THUMB, THUMB)
    strengths = [
        (f"texture {t:g}", as_address(codec.decode(data, texture=t)[window][inner])) for t in DIAL
    ]
    return [*strengths, ("original", as_address(original[inner]))]
