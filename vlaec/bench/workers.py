"""Where tasks run: in this process, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Protocol

from ..errors import UsageError, VlaecError
from .measure import Task, attempt
from .results import Failure, Measured


class Workers(Protocol):
    """Where tasks run; `window` of them may wait or run at a time, which bounds the memory."""

    window: int

    def submit(self, task: Task) -> Future[Measured | Failure]: ...

    def close(self) -> None: ...


class Here:
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
    return _Processes(jobs) if jobs > 1 else Here()
