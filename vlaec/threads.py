"""How many threads to use, and work spread over them, without a change to the process's settings.

The number is how many processors this process may use: its affinity and its cgroup's quota.
`VLAEC_THREADS` sets another one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .errors import UsageError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Part = TypeVar("Part")
Made = TypeVar("Made")


class Start(Protocol):
    """See `background`."""

    def __call__(self, function: Callable[[], Made], /) -> Callable[[], Made]: ...


VARIABLE = "VLAEC_THREADS"
# More do not pay: parts of the work are done one after the other.
MOST = 8

_lock = threading.Lock()
_here = threading.local()  # whether a thread is one of the pool's
_pool: ThreadPoolExecutor | None = None
_holders = 0
_before: list[int] = []  # what BLAS had before the first of them


def count() -> int:
    """Threads to use.

    Raises:
        UsageError: VLAEC_THREADS is not a whole number above 0.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return min(MOST, processors())
    if not (wanted.isascii() and wanted.isdigit() and int(wanted) > 0):
        raise UsageError(f"{VARIABLE} must be a whole number above 0, not {wanted!r}")
    return int(wanted)


@lru_cache(maxsize=1)
def processors() -> int:
    """Processors that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min(allowed, _quota(Path("/sys/fs/cgroup"))))


def _quota(root: Path) -> int:
    """Processors that a cgroup's quota is worth, rounded up; very many where there is none."""
    try:
        limit, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return 2**16
    try:
        return -(-int(limit) // int(period)) if int(limit) > 0 else 2**16
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return 2**16


def spread(function: Callable[[Part], Made], parts: Iterable[Part]) -> list[Made]:
    """What `function` makes of each of `parts`, in order, some at a time; an exception is raised
    again.

    Within a part everything is done one after the other: a pool whose threads wait for others of
    the same pool may wait for ever.
    """
    return list(in_turn(function, parts))


def in_turn(function: Callable[[Part], Made], parts: Iterable[Part]) -> Iterator[Made]:
    """As `spread`; each result can be had as soon as it is there and those before it have been."""
    work = list(parts)
    if len(work) < 2 or free() < 2:
        return map(function, work)
    return _workers().map(function, work)


@contextmanager
def background(wanted: bool = True) -> Iterator[Start]:
    """What starts a function in a thread of its own and returns another that waits for its result;
    where there are no threads, or none are `wanted`, it is called when its result is asked for.

    On leaving nothing runs on: all that was started has ended, or never begins.
    """
    started: list[Future[Any]] = []

    def start(function: Callable[[], Made]) -> Callable[[], Made]:
        if not wanted or free() < 2:
            return function
        future = _workers().submit(function)
        started.append(future)

        def result() -> Made:
            wait([future])
            started.remove(future)  # which holds on to its result
            return future.result()

        return result

    try:
        yield start
    finally:
        for future in started:
            future.cancel()
        wait(started)


def free() -> int:
    """Threads that the caller's work can be spread over: 1 in one of them, and once the main one
    has ended, as for functions of `atexit`."""
    alone = getattr(_here, "worker", False) or not threading.main_thread().is_alive()
    return 1 if alone else count()


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            from concurrent.futures import ThreadPoolExecutor  # which cannot be had then

            _pool = ThreadPoolExecutor(count(), "vlaec", _begin_worker)
        return _pool


def _begin_worker() -> None:
    _here.worker = True


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold numpy's BLAS to one thread: for many small products, more of them only wait.

    Several threads may be within at a time; the last to leave restores what the first found.
    """
    global _holders, _before
    with _lock:
        if _holders == 0:
            _before = [get() for get, _ in _switches()]
            for _, switch in _switches():
                switch(1)
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                _restore()


def _restore() -> None:
    for (_, switch), number in zip(_switches(), _before, strict=True):
        switch(number)


@lru_cache(maxsize=1)
def _switches() -> list[tuple[Callable[[], int], Callable[[int], Any]]]:
    """Of every BLAS in this process: what tells, and what sets, its number of threads.

    threadpoolctl lets only one thread of a process set OpenBLAS's, and what overlaps would be
    restored wrongly; so OpenBLAS is asked itself.
    """
    named = "KMP_DUPLICATE_LIB_OK"  # set on import, for this process and all that it starts
    before = os.environ.get(named)
    from threadpoolctl import ThreadpoolController

    if before is None:
        os.environ.pop(named, None)
    switches = []
    for library in ThreadpoolController().lib_controllers:
        if library.user_api != "blas":
            continue
        names = [
            (
                f"{prefix}openblas_get_num_threads{suffix}",
                f"{prefix}openblas_set_num_threads{suffix}",
            )
            for prefix in ("", "scipy_")
            for suffix in ("", "64_", "_64")
        ]
        own = [pair for pair in names if all(hasattr(library.dynlib, name) for name in pair)]
        if own:
            switches.append(tuple(getattr(library.dynlib, name) for name in own[0]))
        else:
            switches.append((library.get_num_threads, library.set_num_threads))
    return switches


def _after_fork() -> None:
    """A child has none of its parent's threads, and may have its lock in any state."""
    global _lock, _pool, _holders
    _lock, _pool = threading.Lock(), None
    if _holders:
        _restore()
    _holders = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
