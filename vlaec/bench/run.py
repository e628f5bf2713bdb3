"""Measure: every picture by every codec at every level, and at equal rates.

A task is one picture, codec and level. Whatever is in the cache is not done again; what is
measured goes there at once, so a run that was killed goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError, VlaecError
from ..images import is_picture
from ..workers import Here, Workers
from .codecs import Codec, make_codec
from .measure import Task, attempt, cores
from .results import Cache, Failure, Measured, Record, content_hash


@dataclass(frozen=True)
class Plan:
    """What to measure. `levels` by codec specification, in the order of the report."""

    root: Path
    images: tuple[Path, ...]
    levels: dict[str, tuple[float, ...]]
    metrics: tuple[str, ...]
    textures: tuple[float, ...] = (0.0,)
    weights: Path | None = None
    rates: tuple[float, ...] = ()  # at which lossy codecs make files of equal size

    @property
    def size(self) -> int:
        """Number of tasks."""
        searched = sum(not self.codec(name).lossless for name in self.levels) * len(self.rates)
        return len(self.images) * (sum(map(len, self.levels.values())) + searched)

    def codec(self, specification: str) -> Codec:
        return make_codec(specification, self.textures)

    def name(self, image: Path) -> str:
        return image.relative_to(self.root).as_posix()


@dataclass
class Outcome:
    """What came of a plan. `keys` leads from a row to what the cache has of it.

    `records` are the codecs' curves, `equal` the files of equal size.
    """

    records: list[Record] = field(default_factory=list)
    equal: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    keys: dict[tuple[str, str, float, float | None], str] = field(default_factory=dict)
    reused: int = 0  # tasks

    def key(self, record: Record) -> str:
        """Where the cache keeps a row's features and file."""
        return self.keys[record.image_hash, record.codec, record.level, record.rate]


def find_images(folder: Path, limit: int | None = None) -> tuple[Path, ...]:
    """Pictures below `folder`, by their suffix, sorted. Raises UsageError if there is none."""
    paths = sorted(p for p in folder.rglob("*") if is_picture(p) and p.is_file())
    if not paths:
        raise UsageError(f"no pictures in {folder}")
    return tuple(paths[:limit])


class _Run:
    """A plan on its way: what waits, what came back."""

    def __init__(
        self, plan: Plan, cache: Cache, workers: Workers, jobs: int, progress: Callable[[int], None]
    ) -> None:
        self.plan, self.cache, self.workers, self.progress = plan, cache, workers, progress
        self.outcome = Outcome()
        self.pending: dict[Future[Measured | Failure], str] = {}
        self.bad: set[str] = set()
        self.alone = isinstance(workers, Here)
        self.threads = max(1, cores() // jobs) if self.alone else 1
        self.codecs = {name: plan.codec(name) for name in plan.levels}
        self.versions = {name: codec.version for name, codec in self.codecs.items()}

    def key(self, image_hash: str, name: str, level: float, rate: float | None = None) -> str:
        rows = self.codecs[name].decoders()
        return self.cache.key(image_hash, self.versions[name], rows, level, rate)

    def picture(self, path: Path, jobs: Iterator[tuple[str, float, float | None]]) -> None:
        """Submit what the cache lacks of one picture: codec, level, rate."""
        image, data = self.plan.name(path), path.read_bytes()
        image_hash = content_hash(data)
        for name, level, rate in jobs:
            if image in self.bad:
                self.progress(1)
                continue
            key = self.key(image_hash, name, level, rate)
            lacking = self.cache.lacks(key, self.plan.metrics)
            cached = self.cache.get(key, image)
            if cached is not None and not lacking:
                self.outcome.reused += 1
                self.collect(key, cached)
                continue
            file = self.cache.file(key)
            levels = self.plan.levels[name]
            task = Task(
                image,
                data,
                name,
                level,
                self.plan.textures,
                lacking or self.plan.metrics,
                self.plan.weights,
                self.threads,
                all_threads=self.alone and rate is None and level == levels[len(levels) // 2],
                rate=rate,
                cached=(cached, file) if cached and file is not None else None,
                files={} if rate is None else self.files(image_hash, name),
            )
            self.pending[self.workers.submit(attempt, task)] = key
            self.finish(self.workers.window - 1)

    def files(self, image_hash: str, name: str) -> dict[float, bytes]:
        """Files of a picture on the codec's curve, by level."""
        by_level = {
            level: self.cache.file(self.key(image_hash, name, level))
            for level in self.plan.levels[name]
        }
        return {level: file for level, file in by_level.items() if file is not None}

    def collect(self, key: str, records: list[Record]) -> None:
        for record in records:
            (self.outcome.records if record.rate is None else self.outcome.equal).append(record)
            self.outcome.keys[record.image_hash, record.codec, record.level, record.rate] = key
        self.progress(1)

    def finish(self, at_most: int) -> None:
        """Wait until no more than that many tasks are under way."""
        while len(self.pending) > at_most:
            for future in wait(self.pending, return_when=FIRST_COMPLETED).done:
                key = self.pending.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool as error:
                    raise VlaecError(
                        "a worker process died, perhaps for lack of memory; the same command with "
                        "fewer --jobs goes on from here"
                    ) from error
                if isinstance(result, Measured):
                    self.collect(key, self.cache.put(key, result))
                    continue
                if result.codec or result.image not in self.bad:
                    self.outcome.failures.append(result)
                if result.codec is None:
                    self.bad.add(result.image)
                self.progress(1)

    def sort(self) -> None:
        """Put records into one order, whatever finished first."""
        rows = [row for codec in self.codecs.values() for row in codec.decoders()]
        order = {row: place for place, row in enumerate(rows)}
        self.outcome.records.sort(key=lambda r: (r.image, order[r.codec], r.bytes, r.level))
        self.outcome.equal.sort(key=lambda r: (r.image, r.rate or 0, order[r.codec]))
        self.outcome.failures.sort(key=lambda f: (f.image, f.codec or "", f.level or 0))


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
    running = _Run(plan, cache, workers, jobs, progress)
    lossy = [name for name, codec in running.codecs.items() if not codec.lossless]
    try:
        for path in plan.images:
            running.picture(path, ((n, x, None) for n, xs in plan.levels.items() for x in xs))
        running.finish(0)
        # Searches start from the files of the curves.
        for path in plan.images if plan.rates else ():
            running.picture(path, ((n, 0.0, rate) for n in lossy for rate in plan.rates))
        running.finish(0)
    finally:
        workers.close()
    running.sort()
    return running.outcome
