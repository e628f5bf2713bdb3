"""Runs: resumed after a kill, on several processes, with bad pictures and failing codecs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlaec.bench import codecs, metrics
from vlaec.bench.codecs import Decoder
from vlaec.bench.codecs.pillow import Jpeg, Png
from vlaec.bench.memory import peak_memory
from vlaec.bench.results import Cache, Record
from vlaec.bench.run import Outcome, Plan, find_images, run
from vlaec.errors import UsageError
from vlaec.workers import make_workers


def write_images(folder: Path, count: int, side: int = 40) -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        ramp = np.linspace(0, 255, side)[:, None, None] * np.ones((1, side, 3))
        image = np.clip(ramp + rng.normal(0, 20, ramp.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number:02}.png")


def plan_for(folder: Path, **levels: tuple[float, ...]) -> Plan:
    return Plan(folder, find_images(folder), levels or {"jpeg": (10, 50), "png": (6,)}, ("psnr",))


def timeless(records: list[Record]) -> list[Record]:
    none = {"encode_time": 0, "decode_time": 0, "encode_time_all": None, "decode_time_all": None}
    return [replace(record, **none) for record in records]


def run_here(plan: Plan, cache: Path) -> Outcome:
    return run(plan, Cache(cache), make_workers(1))


def test_second_run_does_nothing_and_finds_the_same(tmp_path: Path) -> None:
    write_images(tmp_path / "in", 2)
    plan, steps = plan_for(tmp_path / "in"), []
    first = run(plan, Cache(tmp_path / "c"), make_workers(1), progress=steps.append)
    assert sum(steps) == plan.size == 6 and first.reused == 0
    second = run_here(plan, tmp_path / "c")
    assert second.reused == 6 and second.records == first.records
    # A renamed picture is the same picture; a changed one is another.
    (tmp_path / "in" / "00.png").rename(tmp_path / "in" / "zz.png")
    write_images(tmp_path / "more", 3)
    (tmp_path / "more" / "02.png").rename(tmp_path / "in" / "01.png")
    third = run_here(plan_for(tmp_path / "in"), tmp_path / "c")
    assert third.reused == 3 and {r.image for r in third.records} == {"zz.png", "01.png"}


def test_new_metrics_are_added_to_what_is_known(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_msssim")
    write_images(tmp_path / "in", 1)
    plan = plan_for(tmp_path / "in", jpeg=(50,))
    run_here(plan, tmp_path / "c")
    more = run_here(replace(plan, metrics=("ms-ssim",)), tmp_path / "c")
    assert more.reused == 0 and set(more.records[0].metrics) == {"psnr", "ms-ssim"}
    assert more.records[0].metrics["ms-ssim"] is None
    both = run_here(replace(plan, metrics=("psnr", "ms-ssim")), tmp_path / "c")
    assert both.reused == 1


def test_a_metric_added_later_needs_no_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pytorch_msssim")
    write_images(tmp_path / "in", 1)
    plan = plan_for(tmp_path / "in", jpeg=(50,))
    first = run_here(replace(plan, rates=(2.0,)), tmp_path / "c")

    def encode(self: Jpeg, image: np.ndarray, level: float, threads: int = 1) -> bytes:
        assert image.shape == (32, 32, 3), "encoded again"  # the picture that warms a codec up
        return original(self, image, level, threads)

    original = Jpeg.encode
    monkeypatch.setattr(Jpeg, "encode", encode)
    more = replace(plan, rates=(2.0,), metrics=("psnr", "ms-ssim"))
    again = run_here(more, tmp_path / "c")
    assert [set(r.metrics) for r in (*again.records, *again.equal)] == [{"psnr", "ms-ssim"}] * 2
    assert again.records[0].encode_time == first.records[0].encode_time
    assert again.records[0].bytes == first.records[0].bytes


def test_a_new_version_of_a_metric_makes_old_values_void(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "in", 1)
    plan = plan_for(tmp_path / "in", jpeg=(50,))
    run_here(plan, tmp_path / "c")
    for table in (metrics.PAIRS, metrics.METRICS):
        monkeypatch.setitem(table, "psnr", replace(metrics.PAIRS["psnr"], version=2))
    second = run_here(plan, tmp_path / "c")
    assert second.reused == 0 and second.records[0].metrics["psnr"] is not None
    assert run_here(plan, tmp_path / "c").reused == 1


def test_files_of_equal_size(tmp_path: Path) -> None:
    write_images(tmp_path / "in", 2, side=96)
    plan = replace(plan_for(tmp_path / "in"), rates=(1.0, 3.0))
    assert plan.size == 2 * (2 + 1 + 2)  # png has no rates
    outcome = run_here(plan, tmp_path / "c")
    assert len(outcome.records) == 6
    assert [(r.codec, r.rate) for r in outcome.equal] == [("jpeg", 1.0), ("jpeg", 3.0)] * 2
    assert all(abs(r.bpp / r.rate - 1) < 0.06 for r in outcome.equal if r.rate)
    cache = Cache(tmp_path / "c")
    for record in outcome.equal:
        data = cache.file(outcome.key(record))
        assert data is not None and len(data) == record.bytes
    assert run_here(plan, tmp_path / "c").reused == plan.size


SLOW_RUN = """
import sys, time
from pathlib import Path
from vlaec.bench import codecs, metrics
from vlaec.bench.results import Cache
from vlaec.bench.codecs.pillow import Jpeg
from vlaec.bench.run import Plan, find_images, run
from vlaec.workers import make_workers

class Slow(Jpeg):
    def encode(self, image, level, threads=1):
        time.sleep(0.05)
        return super().encode(image, level, threads)

codecs.CODECS["jpeg"] = Slow
folder = Path(sys.argv[1])
plan = Plan(folder, find_images(folder), {"jpeg": (10, 50), "png": (6,)}, ("psnr",))
run(plan, Cache(Path(sys.argv[2])), make_workers(1))
"""


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    write_images(tmp_path / "in", 12)
    cache = tmp_path / "c"
    command = [sys.executable, "-c", SLOW_RUN, str(tmp_path / "in"), str(cache)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while len(list(cache.glob("*.json"))) < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in cache.glob("*.json")}
    assert len(done) < 36
    resumed = run_here(plan_for(tmp_path / "in"), cache)
    assert resumed.reused == len(done)
    assert all(path.stat().st_mtime_ns == before for path, before in done.items())
    whole = run_here(plan_for(tmp_path / "in"), tmp_path / "other")
    assert timeless(resumed.records) == timeless(whole.records)


def test_processes_give_the_same(tmp_path: Path) -> None:
    write_images(tmp_path / "in", 3)
    plan = plan_for(tmp_path / "in")
    here = run_here(plan, tmp_path / "a")
    there = run(plan, Cache(tmp_path / "b"), make_workers(2), jobs=2)
    assert timeless(there.records) == timeless(here.records)


class Fragile(Png):
    """Refuses dark pictures, and changes the size of very bright ones."""

    def __init__(self, option: str | None = None) -> None:
        super().__init__(option)
        self.name = "fragile"

    def encode(self, image: np.ndarray, level: float, threads: int = 1) -> bytes:
        if image.max() < 50:
            raise RuntimeError("too dark")
        return super().encode(image, level, threads)

    def decoders(self) -> Mapping[str, Decoder]:
        def decode(data: bytes, threads: int) -> np.ndarray:
            image = self.decode(data)
            return image[1:] if image.min() > 200 else image

        return {self.name: decode}


def test_failures_are_listed_and_do_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, 1)
    for name, value in (("bright", 250), ("dark", 9)):
        Image.new("RGB", (20, 20), (value, value, value)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nonsense")
    monkeypatch.setitem(codecs.CODECS, "fragile", Fragile)
    outcome = run_here(plan_for(tmp_path, jpeg=(50,), fragile=(6,)), tmp_path / "cache")
    assert [(f.image, f.codec) for f in outcome.failures] == [
        ("bright.png", "fragile"),
        ("broken.png", None),
        ("dark.png", "fragile"),
    ]
    assert "too dark" in outcome.failures[2].reason
    assert [(r.image, r.codec) for r in outcome.records] == [
        ("00.png", "jpeg"),
        ("00.png", "fragile"),
        ("bright.png", "jpeg"),
        ("dark.png", "jpeg"),
    ]


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="no pictures"):
        find_images(tmp_path)


def test_peak_memory_sees_a_large_picture() -> None:
    small = peak_memory("png", (), np.zeros((16, 16, 3), np.uint8), 1)
    large = peak_memory("png", (), np.zeros((4000, 4000, 3), np.uint8), 1)
    assert set(small) == {"encode", "png"}
    assert large["encode"] > small["encode"] + 40 and large["png"] > small["png"] + 40


def test_ray_gives_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    write_images(tmp_path / "in", 2)
    (tmp_path / "in" / "bad.png").write_bytes(b"nothing")
    plan = plan_for(tmp_path / "in")
    here = run_here(plan, tmp_path / "a")
    workers = make_workers(1, "local")  # a cluster of its own, on this machine
    assert workers.window >= 2
    there = run(plan, Cache(tmp_path / "b"), workers)
    assert timeless(there.records) == timeless(here.records)
    assert there.failures == here.failures and len(here.failures) == 1
