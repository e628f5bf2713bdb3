"""Measure: every picture by every codec at every level, here, in processes or on a Ray cluster.

A task is one picture, codec and level. Whatever is in the cache is not done again; what is
measured goes there at once, so a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import io
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from ..errors import BadImageError, UsageError, VlaecError
from .codecs import Codec, make_codec, why_unavailable
from .metrics import FRECHET, METRICS, Compare, load_patch_features
from .results import Cache, Failure, Measured, Record, content_hash

T = TypeVar("T")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".jp2", ".ppm")


@dataclass(frozen=True)
class Plan:
    """What to measure. `levels` by codec specification, in the order of the report."""

    root: Path
    images: tuple[Path, ...]
    levels: dict[str, tuple[float, ...]]
    metrics: tuple[str, ...]
    textures: tuple[float, ...] = (0.0,)
    weights: Path | None = None

    @property
    def size(self) -> int:
        """Number of tasks."""
        return len(self.images) * sum(map(len, self.levels.values()))

    def codec(self, specification: str) -> Codec:
        return make_codec(specification, self.textures)

    def name(self, image: Path) -> str:
        return image.relative_to(self.root).as_posix()


@dataclass
class Outcome:
    """What came of a plan. `keys` leads from (image hash, row, level) to the cached features."""

    records: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    keys: dict[tuple[str, str, float], str] = field(default_factory=dict)
    reused: int = 0  # tasks


@dataclass(frozen=True)
class Task:
    """One picture, codec and level, with all that a worker on another machine needs."""

    image: str
    data: bytes
    codec: str
    level: float
    textures: tuple[float, ...]
    metrics: tuple[str, ...]
    weights: Path | None
    threads: int  # for the metrics
    all_threads: bool  # also time the codec with every thread


def find_images(folder: Path, limit: int | None = None) -> tuple[Path, ...]:
    """Pictures below `folder`, by their suffix, sorted. Raises UsageError if there is none."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise UsageError(f"no pictures in {folder}")
    return tuple(paths[:limit])


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
    compare = _metrics(task.metrics, task.weights, task.threads)
    data, encode_time = _timed(lambda: codec.encode(original, task.level))
    cores = os.cpu_count() or 1
    every = cores if task.all_threads and codec.parallel and cores > 1 else None
    encode_all = _timed(lambda: codec.encode(original, task.level, cores))[1] if every else None

    records, features = [], {}
    for row, decode in codec.decoders().items():
        image, decode_time = _timed(partial(decode, data, 1))
        decode_all = _timed(partial(decode, data, cores))[1] if every else None
        if image.shape != original.shape:
            raise VlaecError(f"{row} gave back {image.shape}, not {original.shape}")
        values = {name: _finite(call(original, image)) for name, call in compare.items()}
        if FRECHET in task.metrics:
            features[row] = _patches(task.weights)(image)
        records.append(
            Record(
                image=task.image,
                image_hash=content_hash(task.data),
                width=original.shape[1],
                height=original.shape[0],
                codec=row,
                level=task.level,
                bytes=len(data),
                lossless=bool(np.array_equal(image, original)),
                encode_time=encode_time,
                decode_time=decode_time,
                encode_time_all=encode_all,
                decode_time_all=decode_all,
                metrics=values,
            )
        )
    known = _original_patches(task.data, task.weights) if FRECHET in task.metrics else None
    return Measured(records, features, known)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


@lru_cache(maxsize=1)
def _picture(data: bytes) -> np.ndarray:
    """The same array for the same file, so that the metrics keep what they know of it."""
    from ..images import read

    return np.ascontiguousarray(read(io.BytesIO(data)).rgb)


@lru_cache
def _warm_codec(specification: str, textures: tuple[float, ...]) -> Codec:
    """The codec after its first use: models and libraries are loaded before the clock starts."""
    codec = make_codec(specification, textures)
    why_unavailable(codec)
    return codec


@lru_cache(maxsize=1)
def _metrics(metrics: tuple[str, ...], weights: Path | None, threads: int) -> dict[str, Compare]:
    if set(metrics) - {"psnr", "ssimulacra2"}:
        import torch

        torch.set_num_threads(threads)
    return {name: METRICS[name].load(weights) for name in metrics if name != FRECHET}


@lru_cache(maxsize=1)
def _patches(weights: Path | None) -> Callable[[np.ndarray], np.ndarray]:
    return load_patch_features(weights)


@lru_cache(maxsize=1)
def _original_patches(data: bytes, weights: Path | None) -> np.ndarray:
    return _patches(weights)(_picture(data))


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """The result and the median time of up to three calls, fewer if they are slow."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < 0.25:
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return result, statistics.median(times)


class Workers(Protocol):
    """Where tasks run; `window` of them may wait or run at a time, which bounds the memory."""

    window: int

    def submit(self, task: Task) -> Future[Measured | Failure]: ...

    def close(self) -> None: ...


class _Here:
    """This process, one task at a time."""

    window = 1

    def submit(self, task: Task) -> Future[Measured | Failure]:
        future: Future[Measured | Failure] = Future()
        future.set_result(attempt(task))
        return future

    def close(self) -> None:
        pass


class _Processes:
    """Processes of this machine."""

    def __init__(self, jobs: int) -> None:
        self.window = 2 * jobs
        # A forked torch may hang in its thread pool: start afresh.
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(jobs, mp_context=context)

    def submit(self, task: Task) -> Future[Measured | Failure]:
        return self.pool.submit(attempt, task)

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


class _Ray:
    """A Ray cluster that has vlaec and the metrics' weights on its machines.

    The address "local" starts one on this machine.
    """

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ImportError as error:
            raise UsageError("--ray needs the extra: pip install 'vlaec[ray]'") from error
        try:
            ray.init(address=address, log_to_driver=False)
        except (ConnectionError, ValueError) as error:
            raise VlaecError(f"no Ray cluster at {address}: {error}") from error
        self.ray = ray
        self.window = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.remote = ray.remote(num_cpus=1)(attempt)

    def submit(self, task: Task) -> Future[Measured | Failure]:
        future: Future[Measured | Failure] = self.remote.remote(task).future()
        return future

    def close(self) -> None:
        self.ray.shutdown()


def make_workers(jobs: int, ray_address: str | None = None) -> Workers:
    """Workers on a Ray cluster, in `jobs` processes, or here. Raises VlaecError without them."""
    if ray_address:
        return _Ray(ray_address)
    return _Processes(jobs) if jobs > 1 else _Here()


def run(
    plan: Plan,
    cache: Cache,
    workers: Workers,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda tasks: None,
) -> Outcome:
    """Measure what the cache does not have. `progress` is told how many tasks are done with.

    Pictures that cannot be read and codecs that fail are listed in the outcome. Raises VlaecError
    if a worker process dies.
    """
    outcome = Outcome()
    pending: dict[Future[Measured | Failure], str] = {}
    bad: set[str] = set()
    threads = max(1, (os.cpu_count() or 1) // jobs) if isinstance(workers, _Here) else 1
    codecs = {name: plan.codec(name) for name in plan.levels}
    versions = {name: codec.version for name, codec in codecs.items()}

    def collect(key: str, records: list[Record]) -> None:
        outcome.records += records
        for record in records:
            outcome.keys[record.image_hash, record.codec, record.level] = key
        progress(1)

    def finish(at_most: int) -> None:
        while len(pending) > at_most:
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                key = pending.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool as error:
                    raise VlaecError(
                        "a worker process died, perhaps for lack of memory; the same command with "
                        "fewer --jobs goes on from here"
                    ) from error
                if isinstance(result, Measured):
                    collect(key, cache.put(key, result))
                    continue
                if result.codec or result.image not in bad:
                    outcome.failures.append(result)
                if result.codec is None:
                    bad.add(result.image)
                progress(1)

    try:
        for path in plan.images:
            image, data = plan.name(path), path.read_bytes()
            image_hash = content_hash(data)
            for name, levels in plan.levels.items():
                for level in levels:
                    if image in bad:
                        progress(1)
                        continue
                    key = cache.key(image_hash, versions[name], codecs[name].decoders(), level)
                    known = cache.get(key, image, plan.metrics)
                    if known is not None:
                        outcome.reused += 1
                        collect(key, known)
                        continue
                    middle = level == levels[len(levels) // 2]
                    task = Task(
                        image,
                        data,
                        name,
                        level,
                        plan.textures,
                        plan.metrics,
                        plan.weights,
                        threads,
                        all_threads=middle and isinstance(workers, _Here),
                    )
                    pending[workers.submit(task)] = key
                    finish(workers.window - 1)
        finish(0)
    finally:
        workers.close()
    order = {row: i for i, row in enumerate(r for c in codecs.values() for r in c.decoders())}
    outcome.records.sort(key=lambda r: (r.image, order[r.codec], r.bytes, r.level))
    outcome.failures.sort(key=lambda f: (f.image, f.codec or "", f.level or 0))
    return outcome
