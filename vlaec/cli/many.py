"""Many files by one command: the bar, a line for each, the summary, the exit code."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .flags import Many
from .streams import say
from .terminal import (
    VERBOSE,
    check_names,
    counting_bar,
    has_bar,
    note,
    remark,
    show_bytes,
    use_threads,
    verbosity,
)

if TYPE_CHECKING:
    from .. import batch


def is_many(sources: Sequence[str], output: str | None, many: Many) -> bool:
    """Whether a call is for many files, or for one that is put into a folder."""
    check_names(*sources, output)
    several = len(sources) > 1 or os.path.isdir(sources[0]) or is_folder(output)
    if (several or many.asked) and "-" in sources:
        raise UsageError("standard input is one file: it cannot be one of many")
    return several or many.asked


def is_folder(output: str | None) -> bool:
    """Whether an output is a folder, or by its name is to become one."""
    return output is not None and (output.endswith(("/", os.sep)) or os.path.isdir(output))


@dataclass(frozen=True)
class Task:
    """What is done with every file. `verb`: word for it in the summary; `work`: can be pickled;
    `suffixes`: suffixes of inputs in folders; `suffix`: usual end of outputs."""

    verb: str
    work: batch.Work
    suffixes: Sequence[str]
    suffix: str


def run_many(
    task: Task,
    sources: Sequence[str],
    output: str | None,
    many: Many,
    force: bool,
    as_json: bool,
    threads: int | None = None,
) -> None:
    """Do a task for every file. Exits with a code that says whether all went well."""
    from .. import batch

    if output == "-":
        raise UsageError("standard output is one file: name a folder with -o")
    if force and many.skip_existing:
        raise UsageError("--force and --skip-existing exclude each other")
    inputs = batch.find_sources(sources, task.suffixes, many.recursive)
    if len(sources) == 1 and os.path.isfile(sources[0]) and output and not is_folder(output):
        pairs = [(sources[0], output)]
    elif output and os.path.isfile(output):
        raise UsageError(f"{output} is a file; many inputs need a folder")
    else:
        pairs = batch.name_outputs(inputs, output, many.suffix or task.suffix)
    jobs = batch.plan(pairs, many.skip_existing, force)
    if many.dry_run:
        for job in jobs:
            _tell_plan(job, as_json)
        return

    run_jobs(task, jobs, many.jobs, many.ray, force, as_json, threads)


def run_jobs(
    task: Task,
    jobs: Sequence[batch.Job],
    processes: int | None,
    ray: str | None,
    force: bool,
    as_json: bool,
    threads: int | None,
) -> None:
    """Do a task for jobs that are checked. Exits as `run_many` does."""
    from .. import batch
    from ..threads import processors
    from ..workers import make_workers

    left = sum(not job.skip for job in jobs)
    workers = make_workers(min(processes or processors(), max(1, left)), ray, threads or 1)
    summary = _Summary(task.verb)
    with use_threads(threads or 1), counting_bar(task.verb, len(jobs)) as advance:
        outcomes = batch.run(jobs, task.work, workers, force, lambda outcome: advance())
        for outcome in outcomes:
            summary.add(outcome)
            _tell(outcome, as_json)
    summary.show(as_json)
    if summary.codes:
        codes = set(summary.codes)
        raise SystemExit(codes.pop() if len(codes) == 1 else 1)


def _tell_plan(job: batch.Job, as_json: bool) -> None:
    exists = job.output is not None and os.path.lexists(job.output)
    action = "skip" if job.skip else "replace" if exists else "write"
    if as_json:
        click.echo(json.dumps({"input": job.source, "output": job.output, "action": action}))
    else:
        click.echo(f"{action:<7} {job.source} -> {job.output}")


def _tell(outcome: batch.Outcome, as_json: bool) -> None:
    """One line of JSON, or an error, or, where it is wanted, what was done."""
    job = outcome.job
    if as_json:
        facts: dict[str, Any] = {"input": job.source}
        if job.output is not None:
            facts["output"] = job.output
        if outcome.error is not None:
            facts |= {"error": outcome.error, "exit_code": outcome.exit_code}
        elif job.skip:
            facts["skipped"] = True
        click.echo(json.dumps({**facts, **outcome.facts}))
    if outcome.error is not None:
        say("vlaec: " + " ".join(outcome.error.split()))
    for text in outcome.facts.get("notes", ()):
        note(f"{job.source}: {text}")
    if outcome.error is None and not as_json and verbosity() == VERBOSE:
        arrow = "" if job.output is None else f" -> {job.output}"
        remark(f"{job.source}{arrow}: {describe(outcome)}")


def describe(outcome: batch.Outcome) -> str:
    """What was done with one file, in words."""
    if outcome.job.skip:
        return "exists, skipped"
    facts = outcome.facts
    rate = f", {facts['bpp']:.3f} bits per pixel" if "bpp" in facts else ""
    return f"{facts['bytes']} bytes{rate}, {facts['seconds']:.1f} s"


class _Summary:
    """Counts over all files."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.start = time.perf_counter()
        self.count = self.skipped = self.bytes = self.pixels = self.input_bytes = 0
        self.codes: list[int] = []

    def add(self, outcome: batch.Outcome) -> None:
        self.count += 1
        if outcome.error is not None:
            self.codes.append(outcome.exit_code)
        elif outcome.job.skip:
            self.skipped += 1
        else:
            facts = outcome.facts
            self.bytes += facts["bytes"]
            self.pixels += facts.get("width", 0) * facts.get("height", 0)
            self.input_bytes += os.path.getsize(outcome.job.source)

    def rows(self) -> dict[str, str]:
        """The table, by its labels."""
        seconds = time.perf_counter() - self.start
        done = self.count - self.skipped - len(self.codes)
        rows = {
            "files": str(self.count),
            self.verb: str(done),
            "skipped": str(self.skipped),
            "failed": str(len(self.codes)),
            "time": f"{seconds:.1f} s",
        }
        if self.pixels:
            rows["time"] += f", {done / seconds:.2f} files and {self.pixels / seconds / 1e6:.2f}"
            rows["time"] += " megapixels a second"
            if self.input_bytes != self.bytes:
                rows["inputs"] = show_bytes(self.input_bytes)
            rows[".vlae"] = f"{show_bytes(self.bytes)}, {8 * self.bytes / self.pixels:.4f}"
            rows[".vlae"] += " bits per pixel"
        return rows

    def show(self, as_json: bool) -> None:
        """The table on a terminal, one line of JSON where that is asked for."""
        if as_json:
            done = self.count - self.skipped - len(self.codes)
            counts = {"files": self.count, "done": done, "skipped": self.skipped}
            counts |= {"failed": len(self.codes), "bytes": self.bytes}
            seconds = round(time.perf_counter() - self.start, 3)
            click.echo(json.dumps({"summary": {**counts, "seconds": seconds}}))
        elif has_bar() or verbosity() == VERBOSE:
            for label, text in self.rows().items():
                say(f"{label:<13}{text}")
        elif self.codes:
            say(f"vlaec: {len(self.codes)} of {self.count} files failed")
