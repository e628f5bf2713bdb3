"""Where independent pieces of work run: in this process, in several, or on a Ray cluster.

A piece of work is a function of a module and its arguments, all of which can be pickled. Errors
come back in the future that `submit` returns.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Protocol, TypeVar

from .errors import UsageError, VlaecError

T = TypeVar("T")


class Workers(Protocol):
    """`window` pieces may wait or run at a time, which bounds the memory."""

    window: int

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]: ...

    def restart(self) -> None:
        """Begin again after a worker has died."""

    def close(self, at_once: bool = False) -> None:
        """Let the workers go: after what they are doing, or `at_once`."""


class Here:
    """This process, one piece at a time."""

    window = 1

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def restart(self) -> None:
        pass

    def close(self, at_once: bool = False) -> None:
        pass


class Processes:
    """Processes of this machine, each with `threads` threads. Each loads its models once."""

    def __init__(self, jobs: int, threads: int = 1) -> None:
        self.window = 2 * jobs
        self.jobs, self.threads = jobs, threads
        self.restart()

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        return self.pool.submit(work, *arguments)

    def restart(self) -> None:
        # A forked process would inherit locks that no thread of its own holds: start from nothing.
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(
            self.jobs, mp_context=context, initializer=_start, initargs=(self.threads,)
        )

    def close(self, at_once: bool = False) -> None:
        if at_once:
            for process in multiprocessing.active_children():
                process.terminate()
        self.pool.shutdown(cancel_futures=True)


class Ray:
    """A Ray cluster whose machines have vlaec. "local" starts one on this machine.

    Raises VlaecError when there is none.
    """

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ImportError as error:
            raise UsageError("--ray needs the extra: pip install 'vlaec[ray]'") from error
        try:
            host, colon, port = address.rpartition(":")
            if colon and "/" not in host and port.isdigit():  # Ray itself tries for minutes
                socket.create_connection((host, int(port)), 5).close()
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError) as error:
            raise VlaecError(f"no Ray cluster at {address}: {error}") from error
        self.ray = ray
        self.window = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        remote = self.ray.remote(num_cpus=1)(work)
        future: Future[T] = remote.remote(*arguments).future()
        return future

    def restart(self) -> None:
        pass

    def close(self, at_once: bool = False) -> None:
        self.ray.shutdown()


def make_workers(jobs: int, ray_address: str | None = None, threads: int = 1) -> Workers:
    """Workers on a Ray cluster, in `jobs` processes, or here. Raises VlaecError without them."""
    if ray_address:
        return Ray(ray_address)
    return Processes(jobs, threads) if jobs > 1 else Here()


def _start(threads: int) -> None:
    """Prepare a worker: an interrupt is the parent's to handle, and without a parent it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for name in ("VLAEC_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(threads)
    threading.Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
