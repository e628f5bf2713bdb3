"""Measurements of one picture by one codec at one level, and the folder that keeps them.

The cache makes a run resumable. A measurement is named by a hash of the picture's file, the codec
with its version, and the level or rate; everything is written in one step. Files are kept as well,
so a metric that is added later needs no encoding.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from .metrics import SETS, stored

LAYOUT = 1  # of the cache and of what is measured: raise it when old results no longer count


@dataclass(frozen=True)
class Record:
    """One row: a picture, coded and decoded. Times in seconds, each the median of a few runs.

    `metrics` lacks what was not asked for and holds None for what the picture is too small for.
    The times with all threads are taken at one level of each codec only. `rate` is the rate in
    bits per pixel that the level was searched for, None on the codec's curve.
    """

    image: str
    image_hash: str
    width: int
    height: int
    codec: str
    level: float
    bytes: int
    lossless: bool
    encode_time: float
    decode_time: float
    encode_time_all: float | None
    decode_time_all: float | None
    metrics: dict[str, float | None]
    rate: float | None = None

    @property
    def bpp(self) -> float:
        """Bits per pixel of the whole file."""
        return 8 * self.bytes / (self.width * self.height)


@dataclass(frozen=True)
class Failure:
    """What could not be measured: a picture, or a picture with one codec at one level."""

    image: str
    reason: str
    codec: str | None = None
    level: float | None = None


@dataclass(frozen=True)
class Measured:
    """All rows of one picture, codec and level, with the features of the metrics of sets.

    `features`: `[P, C]` float16 by metric and row name; `original_features` by metric.
    """

    records: list[Record]
    data: bytes
    features: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    original_features: dict[str, np.ndarray] = field(default_factory=dict)


def content_hash(*parts: str | bytes) -> str:
    """A short name for content: 128 bits of SHA-256 over length-prefixed parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


class Cache:
    """Measurements in a folder, a few small files for each picture, codec and level."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def key(
        self,
        image_hash: str,
        version: str,
        rows: Iterable[str],
        level: float,
        rate: float | None = None,
    ) -> str:
        """Name of a measurement. Everything that may change the result is in it."""
        place = repr(float(level)) if rate is None else f"rate {float(rate)!r}"
        return content_hash(str(LAYOUT), image_hash, version, *rows, place)

    def get(self, key: str, image: str) -> list[Record] | None:
        """The rows under `key` for a picture now called `image`."""
        records = self._read(key)
        return records and [replace(record, image=image) for record in records]

    def lacks(self, key: str, metrics: Iterable[str]) -> tuple[str, ...]:
        """Which of the metrics are not known of the rows under `key`."""
        rows = [record.metrics for record in self._read(key) or []]
        return tuple(
            name
            for name in metrics
            if not rows
            or (name in SETS and not self._features(key, name).exists())
            or (name not in SETS and any(name not in row for row in rows))
        )

    def put(self, key: str, measured: Measured) -> list[Record]:
        """Keep a measurement; returns its rows with the metrics that were there before added."""
        old = {record.codec: record.metrics for record in self._read(key) or []}
        records = [
            replace(record, metrics={**old.get(record.codec, {}), **record.metrics})
            for record in measured.records
        ]
        for name, original in measured.original_features.items():
            path = self._original(records[0].image_hash, name)
            if not path.exists():
                _write_array(path, original)
            rows = [measured.features[name][record.codec] for record in records]
            _write_array(self._features(key, name), np.stack(rows))
        _write(self.folder / f"{key}.file", measured.data)
        lines = [asdict(record) for record in records]
        for line in lines:
            line["metrics"] = {stored(name): value for name, value in line["metrics"].items()}
        _write(self.folder / f"{key}.json", json.dumps(lines).encode())
        return records

    def file(self, key: str) -> bytes | None:
        """The codec's file under `key`, if it was kept."""
        path = self.folder / f"{key}.file"
        return path.read_bytes() if path.exists() else None

    def features(self, key: str, metric: str) -> Mapping[str, np.ndarray]:
        """A set metric's features `[P, C]` float16 by row name."""
        rows = [record.codec for record in self._read(key) or []]
        return dict(zip(rows, np.load(self._features(key, metric)), strict=True))

    def original_features(self, image_hash: str, metric: str) -> np.ndarray:
        """A set metric's features `[P, C]` float16 of an original."""
        return np.asarray(np.load(self._original(image_hash, metric)))

    def value(self, key: str) -> dict[str, float] | None:
        """Numbers kept by `put_value`, or None."""
        path = self.folder / f"{key}.value.json"
        return dict(json.loads(path.read_text())) if path.exists() else None

    def put_value(self, key: str, value: Mapping[str, float]) -> None:
        """Keep a few numbers under `key`."""
        _write(self.folder / f"{key}.value.json", json.dumps(dict(value)).encode())

    def _read(self, key: str) -> list[Record] | None:
        """The rows, without values of older versions of a metric."""
        try:
            lines = json.loads((self.folder / f"{key}.json").read_text())
        except FileNotFoundError:
            return None
        for line in lines:
            plain = [name.partition("@")[0] for name in line["metrics"]]
            names = {stored(name): name for name in plain}
            line["metrics"] = {
                names[kept]: value for kept, value in line["metrics"].items() if kept in names
            }
        return [Record(**line) for line in lines]

    def _features(self, key: str, metric: str) -> Path:
        return self.folder / f"{key}.{stored(metric)}.npy"

    def _original(self, image_hash: str, metric: str) -> Path:
        return self.folder / f"{image_hash}.original.{stored(metric)}.npy"


def _write(path: Path, data: bytes) -> None:
    """Write in one step: whoever is killed leaves the old file or none."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _write_array(path: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    _write(path, buffer.getvalue())
