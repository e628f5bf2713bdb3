"""Many files by one call: what to do is settled and checked first, then done in any order.

Every output is written whole or not at all, so a run that was killed goes on where it stopped
when the outputs that exist are skipped. Results come in the order of the inputs, whatever the
number of workers, and one bad file does not stop the others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import files
from .errors import OutputError, UsageError, VlaecError
from .workers import Workers

Facts = dict[str, Any]
# What a worker does with the bytes of an input: the bytes of the output, and what to say of it.
Work = Callable[[bytes], "tuple[bytes, Facts]"]


@dataclass(frozen=True)
class Source:
    """An input file, and the path below the output folder that its output belongs to."""

    path: str
    relative: Path


@dataclass(frozen=True)
class Job:
    """One input and its output, None where there is nothing to write. `skip`: the output exists
    and stays."""

    source: str
    output: str | None
    skip: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a job: facts, or an error with its exit code."""

    job: Job
    facts: Facts = field(default_factory=dict)
    error: str | None = None
    exit_code: int = 0


def find_sources(inputs: Iterable[str], suffixes: Sequence[str], recursive: bool) -> list[Source]:
    """The files that are named, and those with one of the suffixes in the folders that are named.

    Folders are read in the order of their names; hidden files in them are left out. A name that is
    reached twice counts once; a link is a name of its own. Raises UsageError for a name that is
    empty or leads nowhere, and for a folder without any such file.
    """
    sources_by_path: dict[str, Source] = {}
    for name in inputs:
        if not name:
            raise UsageError("the name of an input is empty")
        path = Path(name)
        if path.is_dir():
            below = list(_in_folder(path, suffixes, recursive))
            if not below:
                deeper = "" if recursive else " (--recursive looks below it)"
                raise UsageError(f"no {' or '.join(_some(suffixes))} files in {name}{deeper}")
        elif path.exists():
            below = [Source(name, Path(path.name))]
        else:
            raise UsageError(f"cannot read {name}: No such file or directory")
        for source in below:
            folder, base = os.path.split(source.path)
            sources_by_path.setdefault(os.path.join(os.path.realpath(folder), base), source)
    return list(sources_by_path.values())


def _in_folder(folder: Path, suffixes: Sequence[str], recursive: bool) -> Iterator[Source]:
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        # A link that leads nowhere is told of when it is read.
        here = path.is_file() or (path.is_symlink() and not path.exists())
        if not hidden and path.suffix.lower() in suffixes and here:
            yield Source(str(path), relative)


def _some(suffixes: Sequence[str]) -> list[str]:
    return [*suffixes[:3], "..."] if len(suffixes) > 3 else list(suffixes)


def name_outputs(
    sources: Iterable[Source], folder: str | None, suffix: str
) -> list[tuple[str, str]]:
    """Inputs and outputs: the input's name with `suffix` for its own, where the input stands or
    below `folder`. `{ext}` in the suffix stands for the input's own.
    """
    pairs = []
    for source in sources:
        path = Path(source.path) if folder is None else Path(folder) / source.relative
        name = path.stem + suffix.replace("{ext}", path.suffix)
        pairs.append((source.path, str(path.with_name(name))))
    return pairs


def plan(pairs: Sequence[tuple[str, str]], skip_existing: bool, force: bool) -> list[Job]:
    """The jobs, checked before any work is done.

    Raises OutputError when two inputs would have one output (also where only capitals differ),
    when an output is one of the inputs, or when outputs exist that may be neither skipped nor
    replaced.
    """
    inputs = {os.path.realpath(source): source for source, _ in pairs}
    places: dict[str, str] = {}
    for source, output in pairs:
        place = os.path.normpath(output).casefold()
        if place in places:
            raise OutputError(
                f"{places[place]} and {source} would both become {output}; "
                "give every output its own name, for instance with --suffix '{ext}" + "...'"
            )
        places[place] = source
        if os.path.realpath(output) in inputs:
            raise OutputError(f"the output {output} is one of the inputs; choose another --suffix")
        if os.path.isdir(output):
            raise OutputError(f"cannot write {output}: it is a folder")
    existing = {output for _, output in pairs if os.path.lexists(output)}
    if existing and not (skip_existing or force):
        first = next(output for _, output in pairs if output in existing)
        raise OutputError(
            f"{len(existing)} of {len(pairs)} outputs exist, the first is {first}; "
            "--skip-existing leaves them as they are"
        )
    return [Job(s, o, skip=skip_existing and o in existing) for s, o in pairs]


def run(
    jobs: Sequence[Job],
    work: Work,
    workers: Workers,
    force: bool = False,
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> Iterator[Outcome]:
    """Do the jobs; outcomes in their order. `progress` is told each as soon as it is there."""
    return _Run(jobs, work, workers, force, progress).outcomes()


class _Run:
    """The state of one `run`: what is under way, and what is done and waits for its turn."""

    def __init__(
        self,
        jobs: Sequence[Job],
        work: Work,
        workers: Workers,
        force: bool,
        progress: Callable[[Outcome], None],
    ) -> None:
        self.jobs, self.work, self.workers = jobs, work, workers
        self.force, self.progress = force, progress
        self.pending: dict[Future[Any], int] = {}
        self.done: dict[int, Outcome] = {}

    def outcomes(self) -> Iterator[Outcome]:
        finished = False
        try:
            turn = 0
            for index in range(len(self.jobs)):
                self.start(index)
                while len(self.pending) >= self.workers.window:
                    self.collect()
                while turn in self.done:
                    yield self.done.pop(turn)
                    turn += 1
            while self.pending:
                self.collect()
            for left in sorted(self.done):
                yield self.done[left]
            finished = True
        finally:
            self.workers.close(at_once=not finished)

    def start(self, index: int) -> None:
        """Read an input and hand it to the workers."""
        job = self.jobs[index]
        if job.skip:
            self.finish(index, Outcome(job))
            return
        try:
            data = files.read_bytes(job.source)
        except VlaecError as error:
            self.finish(index, Outcome(job, error=str(error), exit_code=error.exit_code))
            return
        self.submit(index, data)

    def submit(self, index: int, data: bytes) -> None:
        try:
            future = self.workers.submit(attempt, self.work, data)
        except BrokenProcessPool:
            self.mend()
            future = self.workers.submit(attempt, self.work, data)
        self.pending[future] = index

    def collect(self) -> None:
        """Take what has come back."""
        for future in wait(self.pending, return_when=FIRST_COMPLETED).done:
            if future not in self.pending:  # `mend` has seen to it
                continue
            if isinstance(future.exception(), BrokenProcessPool):
                self.mend()
                continue
            self.receive(self.pending.pop(future), future.result())

    def receive(self, index: int, result: tuple[bytes, Facts] | VlaecError) -> None:
        """Write an output, or keep the reason why there is none."""
        job = self.jobs[index]
        try:
            if isinstance(result, VlaecError):
                raise result
            data, facts = result
            if job.output is not None:
                os.makedirs(os.path.dirname(job.output) or ".", exist_ok=True)
                files.write_atomically(job.output, data, self.force)
            outcome = Outcome(job, facts)
        except VlaecError as error:
            message = str(error)
            named = message if job.source in message else f"{job.source}: {message}"
            outcome = Outcome(job, error=named, exit_code=error.exit_code)
        except OSError as error:
            reason = f"cannot write {job.output}: {error.strerror}"
            outcome = Outcome(job, error=reason, exit_code=OutputError.exit_code)
        self.finish(index, outcome)

    def finish(self, index: int, outcome: Outcome) -> None:
        self.done[index] = outcome
        self.progress(outcome)

    def mend(self) -> None:
        """A worker died, and with it the pool: do alone what was under way, to find the culprit."""
        left = sorted(self.pending.values())
        self.pending.clear()
        self.workers.restart()
        for index in left:
            result: tuple[bytes, Facts] | VlaecError
            try:
                data = files.read_bytes(self.jobs[index].source)
                result = self.workers.submit(attempt, self.work, data).result()
            except VlaecError as error:
                result = error
            except BrokenProcessPool:
                self.workers.restart()
                result = VlaecError("a worker process died of it, perhaps for lack of memory")
            self.receive(index, result)


def attempt(work: Work, data: bytes) -> tuple[bytes, Facts] | VlaecError:
    """Output and facts with the seconds it took, or the error: it is a value, so that it means the
    same from wherever it comes."""
    start = time.perf_counter()
    try:
        out, facts = work(data)
    except VlaecError as error:
        return error
    except MemoryError:
        return VlaecError("out of memory")
    except Exception as error:  # a fault with one file must not stop the others
        return VlaecError(f"internal error, please report it ({type(error).__name__}: {error})")
    return out, {**facts, "seconds": round(time.perf_counter() - start, 3)}
