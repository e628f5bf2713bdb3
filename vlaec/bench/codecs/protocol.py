"""What the benchmark needs of a codec."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Protocol

import numpy as np

from ...errors import VlaecError

Decoder = Callable[[bytes, int], np.ndarray]


class Codec(Protocol):
    """What the benchmark needs of a codec. Pictures are `[H, W, 3]` uint8."""

    name: str
    levels: tuple[float, ...]  # the usual ones, from the smallest files to the largest
    limits: tuple[float, float]  # levels of its smallest and its largest files
    lossless: bool
    parallel: bool  # whether `threads` changes anything
    integer: bool  # whether levels are whole numbers

    @property
    def version(self) -> str:
        """Implementation and version, in words; results are reused only while it stays."""

    def encode(self, image: np.ndarray, level: float, threads: int = 1) -> bytes: ...

    def decoders(self) -> Mapping[str, Decoder]:
        """By the name of a row in the results: what turns data and a number of threads into a
        picture. One file may be decoded in several ways."""


class CodecMissingError(VlaecError):
    """A codec's library is not installed here; the message says what to install."""


def needs(module: str, package: str) -> ModuleType:
    """The module, imported. Raises CodecMissingError naming the package that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CodecMissingError(f"not installed; pip install {package}") from error
