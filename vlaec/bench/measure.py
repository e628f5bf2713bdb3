"""One task: a picture coded by a codec at a level, or at a rate, decoded and compared.

Everything here runs in a worker, which may be a process of its own or another machine.
"""

from __future__ import annotations

import io
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..errors import BadImageError, VlaecError
from .codecs import Codec, make_codec, warm_up, why_unavailable
from .metrics import FILES, METRICS, PAIRS, SETS, Compare, Features
from .results import Failure, Measured, Record, content_hash
from .search import match_rate

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """One picture, codec and level (or rate), with all that a worker elsewhere needs.

    `cached` are rows and the file of this very task that lack some metrics; `files` are files of
    the same picture by level, from which a search starts.
    """

    image: str
    data: bytes
    codec: str
    level: float
    textures: tuple[float, ...]
    metrics: tuple[str, ...]
    weights: Path | None
    threads: int  # for the metrics
    all_threads: bool = False  # also time the codec with every thread
    rate: float | None = None  # search a level for it; `level` then does not count
    cached: tuple[list[Record], bytes] | None = None
    files: dict[float, bytes] = field(default_factory=dict)


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def attempt(task: Task) -> Measured | Failure:
    """`measure`, with its errors as values: they mean the same from wherever they come."""
    try:
        return measure(task)
    except BadImageError as error:
        return Failure(task.image, str(error))
    except Exception as error:  # a codec's limit or bug must not stop the others
        return Failure(task.image, f"{type(error).__name__}: {error}", task.codec, task.level)


def measure(task: Task) -> Measured:
    """Code, decode and compare. Raises BadImageError, or whatever the codec raises."""
    original = _picture(task.data)
    codec = _warm_codec(task.codec, task.textures)
    level, data, encode_time = _encoded(task, codec, original)
    every = cores() if task.all_threads and codec.parallel and cores() > 1 else None
    before = {record.codec: record for record in task.cached[0]} if task.cached else {}
    encode_all = None
    if every and not before:
        warm_up(codec, every)
        encode_all = _timed(lambda: codec.encode(original, level, every))[1]

    decode_all: dict[str, float] = {}
    if every and not before:
        for row, decode in codec.decoders().items():
            decode_all[row] = _timed(partial(decode, data, every))[1]
        warm_up(codec)
    records = []
    features: dict[str, dict[str, np.ndarray]] = {name: {} for name in task.metrics if name in SETS}
    for row, decode in codec.decoders().items():
        image, decode_time = _timed(partial(decode, data, 1))
        if image.shape != original.shape:
            raise VlaecError(f"{row} gave back {image.shape}, not {original.shape}")
        with _torch_threads(task):
            values = _values(task, codec, row, data, original, image)
            for name, arrays in features.items():
                arrays[row] = _features(name, task.weights)(image)
        if row in before:
            records.append(_with_metrics(before[row], values))
            continue
        records.append(
            Record(
                image=task.image,
                image_hash=content_hash(task.data),
                width=original.shape[1],
                height=original.shape[0],
                codec=row,
                level=level,
                bytes=len(data),
                lossless=bool(np.array_equal(image, original)),
                encode_time=encode_time,
                decode_time=decode_time,
                encode_time_all=encode_all,
                decode_time_all=decode_all.get(row),
                metrics=values,
                rate=task.rate,
            )
        )
    with _torch_threads(task):
        originals = {name: _original_features(name, task.data, task.weights) for name in features}
    return Measured(records, data, features, originals)


def _encoded(task: Task, codec: Codec, original: np.ndarray) -> tuple[float, bytes, float]:
    """The level, the file and the seconds that it took."""
    if task.cached is not None:
        (record, *_), data = task.cached
        return record.level, data, record.encode_time
    if task.rate is not None:
        level, data = match_rate(codec, original, task.rate, files=task.files)
        return level, data, _timed(lambda: codec.encode(original, level), 1)[1]
    data, seconds = _timed(lambda: codec.encode(original, task.level))
    return task.level, data, seconds


def _values(
    task: Task, codec: Codec, row: str, data: bytes, original: np.ndarray, image: np.ndarray
) -> dict[str, float | None]:
    """Metrics of a pair and of a file; the latter belong to the codec's first row."""
    values = {
        name: _finite(_pair(name, task.weights)(original, image))
        for name in task.metrics
        if name in PAIRS
    }
    first = next(iter(codec.decoders()))
    for name in task.metrics:
        if name in FILES:
            values[name] = FILES[name].measure(codec, data) if row == first else None
    return values


def _with_metrics(record: Record, values: dict[str, float | None]) -> Record:
    from dataclasses import replace

    return replace(record, metrics={**record.metrics, **values})


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


@contextmanager
def _torch_threads(task: Task) -> Iterator[None]:
    """torch with the task's threads if one of its metrics needs torch, then as before."""
    if not any(METRICS[name].needs_torch for name in task.metrics):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(task.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _picture(data: bytes) -> np.ndarray:
    """A picture as an array, one for each file: the metrics keep features of it."""
    from ..images import read

    return np.ascontiguousarray(read(io.BytesIO(data)).rgb)


@lru_cache
def _warm_codec(specification: str, textures: tuple[float, ...]) -> Codec:
    """The codec after its first use: models and libraries are loaded before the clock starts."""
    codec = make_codec(specification, textures)
    why_unavailable(codec)
    return codec


@lru_cache
def _pair(metric: str, weights: Path | None) -> Compare:
    return PAIRS[metric].load(weights)


@lru_cache
def _features(metric: str, weights: Path | None) -> Features:
    return SETS[metric].load(weights)


@lru_cache(maxsize=4)
def _original_features(metric: str, data: bytes, weights: Path | None) -> np.ndarray:
    return _features(metric, weights)(_picture(data))


def _timed(call: Callable[[], T], most: int = 3) -> tuple[T, float]:
    """The result and the median time of up to `most` calls, fewer if they are slow."""
    times: list[float] = []
    while len(times) < most and sum(times) < 0.25:
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return result, statistics.median(times)
