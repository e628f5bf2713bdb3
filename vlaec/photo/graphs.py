"""A photo model's networks on ONNX Runtime.

The graphs are files next to the weights, NAME.GRAPH.onnx, and name their weights by their place
there. Each says in its metadata at which stride its convolutions work, and how far they see.
Sessions are made when they are first needed, and again in a forked child, which has none of its
parent's threads.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from .. import threads
from ..errors import ModelMissingError
from ..networks.config import STRIDE, PhotoConfig
from ..zoo import Weights
from .sampler import PIXELS_SAMPLED
from .strips import LARGE, Planes, Rows, Strips, is_large

# Strides at which the convolutions of a network work.
STRIDES = (16, 8, 4)
FLOAT = 4  # bytes
# Pixels on one side of a cell of a preview.
PREVIEW = 8

# Sessions of a parent process: a child can neither run them nor end them.
_parents: list[dict[tuple[str, bool, bool], Any]] = []


@lru_cache(maxsize=1)
def _trim() -> Callable[[int], Any]:
    """glibc's function that gives memory which was freed back to the system."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library
        return lambda kept: None


def release(pixels: int) -> None:
    """Give memory that was freed back to the system, where the picture is large."""
    if pixels > LARGE:
        _trim()(0)


@lru_cache(maxsize=1)
def _share_memory() -> None:
    """Let the sessions of small pictures keep their memory, and take it from one place: a fifth of
    the time of a first picture went to pages that each session touched for itself."""
    import onnxruntime as ort

    kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(place, ort.OrtArenaCfg(0, -1, -1, -1))


class Graphs:
    """The networks of one model.

    Raises ModelMissingError, when a network is first needed, if its graph is missing or damaged.
    """

    def __init__(self, weights: Weights, config: PhotoConfig) -> None:
        self._weights, self._config = weights, config
        self._sessions: dict[tuple[str, bool, bool], Any] = {}
        self._process = os.getpid()

    def latents(self, pixels: Rows, levels: np.ndarray) -> Rows:
        """Latents [1, C, h, w] before rounding, of pixels [1, 3, 16 h, 16 w] in [0, 1].

        `levels` [levels]: weights of the quality's levels.
        """
        rows = pixels
        for stride, width in zip(reversed(STRIDES), self._config.widths, strict=True):
            rows = self._stage(rows, f"analysis-{stride}", stride, width, levels, alone=True)
        return rows

    def known(self, latents: Rows, levels: np.ndarray) -> Rows:
        """What both synthesis networks start from, [1, C + levels, h, w]: of the planes of
        latents, and of means and log scales of their prior, each [1, C, h, w]."""
        return self._stage(latents, "known", STRIDE, 3 * self._config.latent_channels, levels)

    def mean(self, known: Rows, alone: bool = False) -> Rows:
        """The faithful picture [1, 3, 16 h, 16 w]; `alone`: without texture."""
        return self._synthesis(known, "mean", alone)

    def texture(self, known: Rows) -> Rows:
        """Detail [1, 3, 16 h, 16 w] and features [1, F, 16 h, 16 w] of its texture."""
        pixels = known.height * known.width * known.stride**2
        return self._synthesis(known, "texture", alone=pixels <= PIXELS_SAMPLED)

    def preview(self, known: Rows) -> Rows:
        """About the means of the faithful picture over squares of PREVIEW pixels, [1, 3, 2 h, 2 w].

        Raises ModelMissingError: the model has no graph for it.
        """
        channels = self._config.latent_channels + self._config.levels
        return self._stage(known, "preview", STRIDE, channels, made=PREVIEW)

    def draw(self, inputs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Residuals [n, 3] of n pixels that do not see each other; see `sampler.Draw`."""
        (residual,) = self._session("draw", False).run(None, {"inputs": inputs, "noise": noise})
        drawn: np.ndarray = residual
        return drawn

    def _synthesis(self, known: Rows, name: str, alone: bool) -> Rows:
        rows = known
        widths = self._config.widths
        for stride, width in zip(STRIDES, reversed(widths), strict=True):
            made = max(4, stride // 2)
            rows = self._stage(rows, f"{name}-{stride}", stride, width, made=made, alone=alone)
        # Features at full resolution, for each cell of 4 x 4 pixels.
        width = 16 * self._config.features
        return self._stage(rows, f"{name}-1", 4, width, made=1, alone=alone)

    def _stage(
        self,
        source: Rows,
        name: str,
        cell: int,
        width: int,
        levels: np.ndarray | None = None,
        made: int | None = None,
        alone: bool = False,
    ) -> Strips:
        """`alone`: whether no other network runs meanwhile; else two do."""
        large = is_large(source)
        session = self._session(name, large, alone)
        inputs = [i.name for i in session.get_inputs()]
        weights = {}
        if "levels" in inputs:
            assert levels is not None
            weights = {"levels": levels.astype(np.float32)[None]}
        names = [i for i in inputs if i != "levels"]

        def compute(planes: Planes) -> Planes:
            planes = [np.ascontiguousarray(plane) for plane in planes]
            given = dict(zip(names, planes, strict=True)) | weights
            made: Planes = session.run(None, given)
            if large:
                _trim()(0)
            return made

        said = session.get_modelmeta().custom_metadata_map
        halo, shared = int(said["halo"]), name == "known"
        return Strips(source, compute, cell, halo, made or cell, FLOAT * width, shared)

    def _session(self, name: str, large: bool, alone: bool = False) -> Any:
        if self._process != os.getpid():
            _parents.append(self._sessions)
            self._sessions, self._process = {}, os.getpid()
        key = name, large, alone
        if key not in self._sessions:
            self._sessions[key] = self._open(*key)
        return self._sessions[key]

    def _open(self, name: str, large: bool, alone: bool) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Threads that share an operation wait for each other at its end.
        options.intra_op_num_threads = threads.count() if alone else max(1, threads.count() // 2)
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = not large
        options.enable_mem_pattern = False
        if not large:
            _share_memory()
            options.add_session_config_entry("session.use_env_allocators", "1")
        # Threads that wait for work must not take the processor from those that do some.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = self._weights.graph(name)
        options.add_external_initializers_from_files_in_memory(
            [self._weights.card.path.name], [self._weights.data], [len(self._weights.data)]
        )
        try:
            return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's have no common base
            model = self._weights.card.name
            raise ModelMissingError(
                f"graph {name} of model {model} cannot be used: {error}"
            ) from error
