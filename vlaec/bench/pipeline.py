"""From a request to a report: check what is there, measure, sum up, show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..images import read
from ..workers import make_workers
from .blind import write_blind
from .codecs import Codec, make_codec, why_unavailable
from .memory import peak_memory
from .metrics import check_metrics
from .references import read_reference
from .report import write_report
from .results import Cache, Record, content_hash
from .run import Outcome, Plan, find_images, run
from .summary import Summary, summarise
from .viewer import Exhibit, Files, make_exhibits

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all


@dataclass(frozen=True)
class Request:
    """What the user asked for. `levels` holds only the codecs whose usual ones are not wanted."""

    folder: Path
    output: Path
    codecs: tuple[str, ...]
    metrics: tuple[str, ...]
    levels: dict[str, tuple[float, ...]]
    textures: tuple[float, ...]
    rates: tuple[float, ...]  # of the pictures, and of numbers between levels
    at: tuple[float, ...]  # of the files of equal size, which are measured
    anchors: tuple[str, ...]
    references: tuple[Path, ...]
    weights: Path | None
    jobs: int
    limit: int | None
    pictures: int
    exact: bool  # pictures without loss
    blind: bool  # a page for a comparison by eye as well
    ray: str | None
    command: str


def benchmark(request: Request, progress: Progress = lambda stage, done, total: None) -> Summary:
    """Measure, write the report below `request.output`, and return its numbers.

    Raises UsageError for unknown names and if no codec is available or nothing could be measured.
    """
    references = [read_reference(path) for path in request.references]
    images = find_images(request.folder, request.limit)
    missing = check_metrics(list(request.metrics), request.weights)
    metrics = tuple(name for name in request.metrics if name not in missing)
    codecs = {name: make_codec(name, request.textures) for name in request.codecs}
    unavailable = {f"metric {name}": reason for name, reason in missing.items()}
    for name, codec in list(codecs.items()):
        progress(f"looking for {name}", 0, 1)
        if reason := why_unavailable(codec):
            unavailable[f"codec {name}"] = reason
            del codecs[name]
    if not codecs:
        raise UsageError("; ".join(f"{name}: {reason}" for name, reason in unavailable.items()))

    plan = Plan(
        root=request.folder if request.folder.is_dir() else request.folder.parent,
        images=images,
        levels={name: request.levels.get(name, codec.levels) for name, codec in codecs.items()},
        metrics=metrics,
        textures=request.textures,
        weights=request.weights,
        rates=request.at,
    )
    cache = Cache(request.output / "cache")
    outcome = _run(plan, cache, request, "measuring", progress)
    if not outcome.records:
        reasons = "; ".join(f"{f.image}: {f.reason}" for f in outcome.failures[:3])
        raise UsageError(f"nothing could be measured: {reasons}")

    summary = summarise(
        outcome,
        cache,
        dataset=request.folder.resolve().name,
        metrics=metrics,
        anchors=request.anchors,
        rates=request.rates,
        memory=_memory(plan, codecs, outcome, cache, progress),
        versions={row: codec.version for codec in codecs.values() for row in codec.decoders()},
        unavailable=unavailable,
        references=references,
    )
    exhibits = _exhibits(plan, codecs, outcome, cache, request, progress)
    records = [*outcome.records, *outcome.equal]
    write_report(request.output, summary, records, exhibits, request.command, request.exact)
    if request.blind:
        write_blind(request.output / "blind.html", summary.dataset, exhibits)
    return summary


def _run(plan: Plan, cache: Cache, request: Request, stage: str, progress: Progress) -> Outcome:
    """`run` with its progress reported as a stage."""
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress(stage, done, plan.size)

    progress(stage, 0, plan.size)
    return run(plan, cache, make_workers(request.jobs, request.ray), request.jobs, step)


def _memory(
    plan: Plan, codecs: dict[str, Codec], outcome: Outcome, cache: Cache, progress: Progress
) -> dict[str, dict[str, float]]:
    """Peak memory by row, on the largest picture at the codec's middle level."""
    largest: Record = max(outcome.records, key=lambda r: (r.width * r.height, r.image))
    image = None
    memory: dict[str, dict[str, float]] = {}
    for number, (name, codec) in enumerate(codecs.items()):
        progress("peak memory", number, len(codecs))
        level = plan.levels[name][len(plan.levels[name]) // 2]
        key = content_hash(
            "memory", largest.image_hash, codec.version, *codec.decoders(), repr(level)
        )
        peaks = cache.value(key)
        if peaks is None:
            if image is None:
                image = np.ascontiguousarray(read(plan.root / largest.image).rgb)
            peaks = peak_memory(name, plan.textures, image, level)
            cache.put_value(key, peaks)
        memory |= dict.fromkeys(codec.decoders(), peaks)
    return memory


def _exhibits(
    plan: Plan,
    codecs: dict[str, Codec],
    outcome: Outcome,
    cache: Cache,
    request: Request,
    progress: Progress,
) -> list[Exhibit]:
    """Crops of a few pictures, evenly picked, from files of equal size by every lossy codec.

    Those are the measured ones, or made for these pictures alone.
    """
    names = sorted({record.image for record in outcome.records})
    shown = {name: plan.root / name for name in _evenly(names, request.pictures)}
    if not plan.rates and shown:
        few = replace(plan, images=tuple(shown.values()), rates=request.rates, metrics=())
        outcome = _run(few, cache, request, "files of equal size", progress)
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress("pictures", done, len(shown))

    files = Files(outcome, cache, list(codecs.values()))
    return make_exhibits(shown, files, request.exact, step) if outcome.equal else []


def _evenly(names: Sequence[str], count: int) -> list[str]:
    """At most `count` of the names, spread over the whole list."""
    if len(names) <= count:
        return list(names)
    return [names[(2 * i + 1) * len(names) // (2 * count)] for i in range(count)]
