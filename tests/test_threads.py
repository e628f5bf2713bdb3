"""How many threads are used, and that the process's own settings stay."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from vlaec import threads
from vlaec.errors import UsageError


def blas_threads() -> list[int]:
    """Of the one that comes with numpy."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return [pool["num_threads"] for pool in pools if "numpy" in pool["filepath"]]


def test_the_variable_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAEC_THREADS", "3")
    assert threads.count() == 3
    monkeypatch.delenv("VLAEC_THREADS")
    assert 1 <= threads.count() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5", "", "\N{SUPERSCRIPT TWO}"])
def test_no_such_number(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAEC_THREADS", wrong)
    with pytest.raises(UsageError, match="VLAEC_THREADS must be a whole number above 0"):
        threads.count()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 2**16),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 2**16),
        ({}, 2**16),
        ({"cpu.max": "nonsense"}, 2**16),
    ],
)
def test_a_quota_counts(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert threads._quota(tmp_path) == expected


@pytest.mark.parametrize("count", ["1", "2"])
def test_all_parts_are_done_and_errors_come_back(
    count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_THREADS", count)
    done = np.zeros(100)

    def part(index: int) -> None:
        done[index] += 1

    threads.spread(part, range(100))
    assert (done == 1).all()
    with pytest.raises(IndexError):
        threads.spread(part, range(99, 102))


@pytest.mark.parametrize("count", ["1", "2", "3"])
def test_parts_of_parts_are_done_in_order(count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More at a time than the pool has threads, each with parts of its own: nothing waits."""
    monkeypatch.setenv("VLAEC_THREADS", count)

    def whole(index: int) -> list[int]:
        return threads.spread(lambda part: 10 * index + part, range(3))

    expected = [[10 * index + part for part in range(3)] for index in range(8)]
    assert threads.spread(whole, range(8)) == expected
    with threads.background() as start:
        results = [start(lambda index=index: whole(index)) for index in range(8)]
        assert [result() for result in results] == expected


def test_work_in_the_background_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAEC_THREADS", "2")
    begun, ended = threading.Event(), threading.Event()

    def part() -> None:
        begun.set()
        ended.wait(0.2)
        ended.set()

    with pytest.raises(ZeroDivisionError), threads.background() as start:
        failing = start(lambda: 1 // 0)
        start(part)
        assert begun.wait(10)
        failing()
    assert ended.is_set()


@pytest.mark.parametrize(("count", "wanted"), [("1", True), ("2", False)])
def test_without_threads_work_waits_until_it_is_asked_for(
    count: str, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_THREADS", count)
    begun: list[int] = []
    with threads.background(wanted) as start:
        first, second = (start(lambda n=n: begun.append(n)) for n in (1, 2))
        assert begun == []
        second()
        first()
    assert begun == [2, 1]


def test_the_callers_blas_is_as_before_even_when_threads_overlap() -> None:
    before = blas_threads()
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with threads.one_blas_thread():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=first)
    other.start()
    inside.wait(10)
    with threads.one_blas_thread():
        assert set(blas_threads()) <= {1}
        leave.set()
        other.join()
        assert set(blas_threads()) <= {1}
    assert blas_threads() == before


_AT_EXIT = """
import atexit, os
import numpy as np
import vlaec

before = dict(os.environ)
pixels = np.zeros((400, 600, 3), np.uint8)

@atexit.register
def last():
    assert vlaec.decompress(vlaec.compress(pixels, model="tiny")).size == (600, 400)
    assert dict(os.environ) == before
    print("done")
"""


@pytest.mark.parametrize("used", ["", "last()"])
def test_the_end_of_a_process_and_its_environment(used: str) -> None:
    """Functions of `atexit` can start no threads; what is set for child processes stays."""
    models = Path(__file__).resolve().parent / "golden" / "models"
    done = subprocess.run(
        [sys.executable, "-c", _AT_EXIT + used],
        env={**os.environ, "VLAEC_MODELS": str(models), "VLAEC_THREADS": "2"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["done"] * (2 if used else 1) and not done.stderr
