"""Measurements of one picture by one codec at one level, and the folder that keeps them.

The cache makes a run resumable: a measurement is named by a hash of the picture's file, the codec
with its version, and the level, and is written in one step.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from .metrics import FRECHET

LAYOUT = 1  # of the cache and of what is measured: raise it when old results no longer count


@dataclass(frozen=True)
class Record:
    """One row: a picture, coded and decoded. Times in seconds, each the median of a few runs.

    `metrics` lacks what was not asked for and holds None for what the picture is too small for.
    The times with all threads are taken at one level of each codec only.
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
    """All rows of one picture, codec and level, with the patch features if they were asked for.

    `features`: `[P, 256]` float16 by row name; `original_features` the same of the original.
    """

    records: list[Record]
    features: dict[str, np.ndarray]
    original_features: np.ndarray | None


def content_hash(*parts: str | bytes) -> str:
    """A short name for content: 128 bits of SHA-256 over length-prefixed parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


class Cache:
    """Measurements in a folder, one small file for each picture, codec and level."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def key(self, image_hash: str, version: str, rows: Iterable[str], level: float) -> str:
        """Name of a measurement. Everything that may change the result is in it."""
        return content_hash(str(LAYOUT), image_hash, version, *rows, repr(float(level)))

    def get(self, key: str, image: str, metrics: Iterable[str]) -> list[Record] | None:
        """The rows under `key` for a picture now called `image`, if every metric is there."""
        records = self._read(key)
        if records is None:
            return None
        for name in metrics:
            if name == FRECHET:
                if not self._features(key).exists():
                    return None
            elif any(name not in record.metrics for record in records):
                return None
        return [replace(record, image=image) for record in records]

    def put(self, key: str, measured: Measured) -> list[Record]:
        """Keep a measurement; returns its rows with the metrics that were there before added."""
        old = {record.codec: record.metrics for record in self._read(key) or []}
        records = [
            replace(record, metrics={**old.get(record.codec, {}), **record.metrics})
            for record in measured.records
        ]
        if measured.original_features is not None:
            original = self._original(records[0].image_hash)
            if not original.exists():
                _write_array(original, measured.original_features)
            rows = [measured.features[record.codec] for record in records]
            _write_array(self._features(key), np.stack(rows))
        text = json.dumps([asdict(record) for record in records])
        _write(self.folder / f"{key}.json", text.encode())
        return records

    def features(self, key: str) -> Mapping[str, np.ndarray]:
        """Patch features `[P, 256]` float16 by row name."""
        rows = [record.codec for record in self._read(key) or []]
        return dict(zip(rows, np.load(self._features(key)), strict=True))

    def original_features(self, image_hash: str) -> np.ndarray:
        """Patch features `[P, 256]` float16 of an original."""
        return np.asarray(np.load(self._original(image_hash)))

    def value(self, key: str) -> dict[str, float] | None:
        """Numbers kept by `put_value`, or None."""
        path = self.folder / f"{key}.value.json"
        return dict(json.loads(path.read_text())) if path.exists() else None

    def put_value(self, key: str, value: Mapping[str, float]) -> None:
        """Keep a few numbers under `key`."""
        _write(self.folder / f"{key}.value.json", json.dumps(dict(value)).encode())

    def _read(self, key: str) -> list[Record] | None:
        try:
            text = (self.folder / f"{key}.json").read_text()
        except FileNotFoundError:
            return None
        return [Record(**row) for row in json.loads(text)]

    def _features(self, key: str) -> Path:
        return self.folder / f"{key}.npy"

    def _original(self, image_hash: str) -> Path:
        return self.folder / f"{image_hash}.original.npy"


def _write(path: Path, data: bytes) -> None:
    """Write in one step: whoever is killed leaves the old file or none."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _write_array(path: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    _write(path, buffer.getvalue())
