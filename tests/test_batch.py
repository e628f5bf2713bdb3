"""Many files by one call: the plan, the order, failures, and going on after an interrupt."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from vlaec import batch
from vlaec.cli.main import cli
from vlaec.errors import BadImageError, OutputError, UsageError
from vlaec.workers import Here, Processes

Run = Callable[..., Result]


@pytest.fixture
def run(tiny_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call the program in a folder with four pictures in `in/`, one of them in `in/below/`."""
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    monkeypatch.chdir(tmp_path)
    os.makedirs("in/below")
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.png", "c.webp", "below/d.png"):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(f"in/{name}")
    Path("in/notes.txt").write_text("no picture")
    Path("in/.hidden.png").write_bytes(b"no picture")

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments), prog_name="vlaec")

    return call


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def contents(folder: str) -> dict[str, bytes]:
    found = (p for p in Path(folder).rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


def test_folders_there_and_back(run: Run) -> None:
    made = run("compress", "in", "-r", "-o", "out", "--jobs", "1", "--json")
    assert made.exit_code == 0, made.output
    *each, last = lines(made)
    assert [facts["output"] for facts in each] == [
        *("out/a.vlae", "out/b.vlae", "out/below/d.vlae", "out/c.vlae")
    ]
    assert last["summary"]["done"] == 4 and last["summary"]["failed"] == 0
    assert last["summary"]["bytes"] == sum(map(len, contents("out").values()))

    assert run("decompress", "out", "-r", "-o", "back", "-j", "1").exit_code == 0
    assert sorted(contents("back")) == [
        *("a.vlae.png", "b.vlae.png", "below/d.vlae.png", "c.vlae.png")
    ]
    assert run("decompress", "out/a.vlae", "-o", "back/", "--suffix", "{ext}.webp").exit_code == 0
    with Image.open("back/a.vlae.webp") as image:
        assert image.size == (30, 20)


def test_bytes_and_order_do_not_depend_on_the_jobs(run: Run) -> None:
    one = run("compress", "in", "-r", "-o", "one", "--jobs", "1", "--json")
    two = run("compress", "in", "-r", "-o", "two", "--jobs", "2", "--json")
    assert one.exit_code == two.exit_code == 0, two.output
    assert contents("one") == contents("two")
    assert [f["input"] for f in lines(one)[:-1]] == [f["input"] for f in lines(two)[:-1]]


def test_one_bad_file_does_not_stop_the_others(run: Run) -> None:
    Path("in/a.png").write_bytes(Path("in/a.png").read_bytes()[:100])
    made = run("compress", "in", "-o", "out", "--jobs", "1")
    assert made.exit_code == BadImageError.exit_code
    assert sorted(contents("out")) == ["b.vlae", "c.vlae"]
    first, last = made.stderr.splitlines()
    assert first.startswith("vlaec: in/a.png: ") and last == "vlaec: 1 of 3 files failed"


def test_going_on(run: Run) -> None:
    command = ("compress", "in", "-o", "out", "--jobs", "1")
    assert run(*command).exit_code == 0
    whole = contents("out")
    os.unlink("out/b.vlae")
    again = run(*command)
    assert again.exit_code == 2 and "2 of 3 outputs exist" in again.stderr
    planned = lines(run(*command, "--skip-existing", "--dry-run", "--json"))
    assert [job["action"] for job in planned] == ["skip", "write", "skip"]
    before = os.stat("out/a.vlae").st_mtime_ns
    assert lines(run(*command, "--skip-existing", "--json"))[-1]["summary"]["skipped"] == 2
    assert contents("out") == whole and os.stat("out/a.vlae").st_mtime_ns == before
    assert run(*command, "--force", "-q", "90").exit_code == 0
    assert contents("out") != whole


def test_a_dry_run_writes_nothing(run: Run) -> None:
    shown = run("compress", "in", "in/below/d.png", "-o", "out", "--dry-run").stdout.splitlines()
    assert [line.split() for line in shown] == [
        ["write", f"in/{a}", "->", f"out/{b}"]
        for a, b in (("a.png", "a.vlae"), ("b.png", "b.vlae"), ("c.webp", "c.vlae"))
    ] + [["write", "in/below/d.png", "->", "out/d.vlae"]]
    assert not os.path.exists("out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compress", "in/a.png", "-", "-o", "out"), "cannot be one of many"),
        (("compress", "in", "-o", "-"), "name a folder"),
        (("compress", "in", "absent.png"), "cannot read absent.png"),
        (("compress", "in", "-o", "in/a.png"), "is a file"),
        (("compress", "in", "-o", "out", "--force", "--skip-existing"), "exclude each other"),
        (("compress", "in", "--suffix", "{ext}"), "is one of the inputs"),
        (("compress", "in/a.png", "in/twin/A.jpg", "-o", "out"), "would both become"),
        (("compress", "in", "-o", "out", "--model", "none"), "no model named"),
        (("decompress", "in"), "no .vlae files in in (--recursive"),
    ],
)
def test_refused_before_the_work(run: Run, arguments: tuple[str, ...], message: str) -> None:
    os.mkdir("in/twin")
    Path("in/twin/A.jpg").write_bytes(b"")
    before = contents(".")
    failed = run(*arguments)
    assert failed.exit_code in (2, 5) and message in failed.stderr
    assert failed.stderr.count("\n") == 1 and contents(".") == before


def test_files_are_found_once_and_in_order(run: Run) -> None:
    found = batch.find_sources(["in/b.png", "in", "in/../in/a.png"], [".png"], recursive=True)
    assert [s.path for s in found] == ["in/b.png", "in/a.png", "in/below/d.png"]
    assert [s.relative.as_posix() for s in found] == ["b.png", "a.png", "below/d.png"]
    with pytest.raises(UsageError, match="empty"):
        batch.find_sources([""], [".png"], recursive=False)


def test_links_are_names_of_their_own(run: Run) -> None:
    os.symlink("b.png", "in/a-link.png")
    os.symlink("nowhere.png", "in/lost.png")
    os.symlink("in", "other")
    found = batch.find_sources(["in", "other"], [".png"], recursive=False)
    assert [s.path for s in found] == ["in/a-link.png", "in/a.png", "in/b.png", "in/lost.png"]
    made = run("compress", "in", "-o", "out", "--jobs", "1")
    assert made.exit_code == 2 and "cannot read in/lost.png" in made.stderr
    assert sorted(contents("out")) == ["a-link.vlae", "a.vlae", "b.vlae", "c.vlae"]
    assert contents("out")["a-link.vlae"] == contents("out")["b.vlae"]


def test_outputs_that_differ_only_in_capitals_collide() -> None:
    with pytest.raises(OutputError, match="would both become"):
        batch.plan([("a.png", "out/A.vlae"), ("b.png", "out/a.vlae")], False, False)


def double(data: bytes) -> tuple[bytes, dict[str, Any]]:
    """Work that fails on b"bad", ends its process on b"fatal", and takes longest for the first."""
    if data == b"bad":
        raise ZeroDivisionError("bad")
    if data == b"fatal":
        os._exit(9)
    time.sleep(0.2 if data == b"0" else 0)
    return data * 2, {}


def jobs_for(folder: Path, *data: bytes) -> list[batch.Job]:
    for index, content in enumerate(data):
        (folder / f"{index}.in").write_bytes(content)
    return [batch.Job(str(folder / f"{i}.in"), str(folder / f"{i}.out")) for i in range(len(data))]


def test_a_worker_that_dies_takes_only_its_file_with_it(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, b"0", b"bad", b"fatal", *(b"%d" % i for i in range(3, 12)))
    told: list[str] = []
    outcomes = list(
        batch.run(jobs, double, Processes(2), progress=lambda o: told.append(o.job.source))
    )
    assert [o.job for o in outcomes] == jobs
    assert sorted(told) == sorted(job.source for job in jobs)
    for job, outcome in zip(jobs, outcomes, strict=True):
        data = Path(job.source).read_bytes()
        if data in (b"bad", b"fatal"):
            reason = {b"bad": "ZeroDivisionError", b"fatal": "worker process died"}[data]
            assert outcome.error is not None and reason in outcome.error
            assert outcome.error.startswith(job.source) and not Path(job.output).exists()
        else:
            assert outcome.error is None and Path(job.output).read_bytes() == data * 2


def test_no_more_than_the_window_is_held(tmp_path: Path) -> None:
    class Counting(Here):
        window = 3
        most = now = 0

        def submit(self, work: Callable[..., Any], *arguments: Any) -> Any:
            self.most = max(self.most, len(runner.pending) + 1)
            return super().submit(work, *arguments)

    workers = Counting()
    jobs = jobs_for(tmp_path, *(b"%d" % i for i in range(10)))
    runner = batch._Run(jobs, double, workers, False, lambda outcome: None)
    assert len(list(runner.outcomes())) == 10
    assert workers.most <= 3


def test_broken_pools_are_told_apart_from_broken_work() -> None:
    pool = Processes(1)
    future = pool.submit(os._exit, 1)
    with pytest.raises(BrokenProcessPool):
        future.result()
    pool.restart()
    assert pool.submit(abs, -1).result() == 1
    pool.close()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_stopped_workers_go_and_leave_nothing_half_done(tmp_path: Path, stop: int) -> None:
    """The parent is stopped while its workers work; no process and no half file stays."""
    script = f"""
import os, signal, sys, time
from vlaec import batch, workers

def work(data):
    os.write(1, b"%d\\n" % os.getpid())  # at once: another worker writes, too
    time.sleep(60)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = {str(tmp_path)!r}
    jobs = [batch.Job(f"{{folder}}/{{i}}.in", f"{{folder}}/{{i}}.out") for i in range(2)]
    for _ in batch.run(jobs, work, workers.Processes(2)):
        pass
"""
    jobs_for(tmp_path, b"a", b"b")
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, str(tmp_path / "script.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        children = [int(parent.stdout.readline()) for _ in range(2)]
        parent.send_signal(stop)
        assert parent.wait(20) != 0
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in children)
    assert sorted(os.listdir(tmp_path)) == ["0.in", "1.in", "script.py"]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_verify(run: Run, set_models: Path, tiny_models: Path, monkeypatch: Any) -> None:
    golden = Path(__file__).parent / "golden_sets" / "tiny-binary-lossless-v2.vlaa"
    shutil.copy(golden, "in/set.vlaa")
    assert run("verify", "in/set.vlaa").stdout == "1 file is sound\n"
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    os.unlink("in/set.vlaa")
    assert run("compress", "in", "-r", "-j", "1").exit_code == 0
    assert run("verify", "in", "-r", "-j", "1").stdout == "4 files are sound\n"
    whole = Path("in/b.vlae").read_bytes()
    Path("in/b.vlae").write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    told = run("verify", "in", "-j", "1", "--json")
    assert told.exit_code == 4
    first, second, third, summary = lines(told)
    assert (first["kind"], first["width"]) == ("picture", 30) and third["input"] == "in/c.vlae"
    assert second["exit_code"] == 4 and summary["summary"]["failed"] == 1
    assert run("verify", "in/a.vlae", "-").exit_code == 2


def test_on_a_cluster(run: Run) -> None:
    pytest.importorskip("ray")
    here = run("compress", "in", "-r", "-o", "here", "--jobs", "1", "--json")
    there = run("compress", "in", "-r", "-o", "there", "--ray", "local", "--json")
    assert there.exit_code == 0, there.output
    assert contents("here") == contents("there")
    assert [f["input"] for f in lines(here)[:-1]] == [f["input"] for f in lines(there)[:-1]]
    failed = run("compress", "in", "-o", "out", "--ray", "127.0.0.1:1")
    assert failed.exit_code == 1 and failed.stderr.startswith(
        "vlaec: no Ray cluster at 127.0.0.1:1"
    )
