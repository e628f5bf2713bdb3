"""The device work of a training step as one CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

# Steps before the capture: by then algorithms are chosen and the optimiser's state exists.
WARM_UP = 3


class StepGraph:
    """Calls `work`; on a GPU it is captured once and replayed from then on.

    Small models launch hundreds of kernels of a few microseconds each, and a replay costs a single
    launch. `work` must read what changes from tensors that stay where they are, and must not wait
    for the device. Where a capture fails the steps go on without it.
    """

    def __init__(
        self, work: Callable[[], None], device: torch.device, random: torch.Generator
    ) -> None:
        """`random` is the generator that `work` draws from."""
        self._work, self._random = work, random
        self._captures = device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._done = 0

    def __call__(self) -> None:
        """One step."""
        if self._graph is None and self._captures and self._done >= WARM_UP:
            self._graph = self._capture()
        if self._graph is not None:
            self._graph.replay()
        elif self._captures:
            self._warm_up()
        else:
            self._work()

    def _warm_up(self) -> None:
        """A step on a stream of its own, as a later capture wants it."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._work()
        torch.cuda.current_stream().wait_stream(stream)
        self._done += 1

    def _capture(self) -> torch.cuda.CUDAGraph | None:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._random)
        try:
            with torch.cuda.graph(graph):
                self._work()
        except RuntimeError as error:
            warnings.warn(f"steps are not captured: {error}", stacklevel=2)
            self._captures = False
            return None
        return graph
