"""Adapter for vlaec itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ...errors import UsageError
from .protocol import Decoder

_OTHER_PARTS = (
    "bench",
    "cli",
    "metrics",
    "sets",
    "train",
    "api.py",
    "batch.py",
    "pillow_plugin.py",
    "__main__.py",
)  # these change no file and no picture


@lru_cache(maxsize=1)
def _vlaec_source() -> str:
    """Hash of the photo codec's code, so that results of older code are not taken for its own."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in _OTHER_PARTS:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Vlaec:
    """vlaec itself; every strength of texture is a row of its own, decoded from the same file."""

    lossless = False
    parallel = True
    integer = False

    def __init__(self, option: str | None = None, textures: Sequence[float] = (0.0,)) -> None:
        """`option` is a model's name, "effort=N", or both with a plus in between."""
        parts = option.split("+") if option else []
        efforts = [part for part in parts if part.startswith("effort=")]
        models = [part for part in parts if part not in efforts]
        if len(efforts) > 1 or len(models) > 1 or not all(e[7:].isdecimal() for e in efforts):
            raise UsageError(f"vlaec:{option}: give MODEL, effort=N or MODEL+effort=N")
        self.model = models[0] if models else None
        self.effort = int(efforts[0][7:]) if efforts else 0
        self.name = f"vlaec:{option}" if option else "vlaec"
        self.levels: tuple[float, ...] = (0, 20, 40, 60, 80, 100)
        self.limits: tuple[float, float] = (0, 100)
        self.textures = tuple(textures)
        self._threads = 0  # of the models that are loaded

    @property
    def version(self) -> str:
        from ... import __version__, zoo

        cards = [zoo.find(self.model)] if self.model else zoo.defaults()
        models = " ".join(card.id for card in cards)
        effort = f", effort {self.effort}" if self.effort else ""
        return f"vlaec {__version__}, model {models}, code {_vlaec_source()}{effort}"

    def encode(self, image: np.ndarray, level: float, threads: int = 1) -> bytes:
        from ...images import Picture
        from ...photo.codec import encode

        with self._using(threads):
            return encode(Picture(image), float(level), self.model, effort=self.effort)

    def decode(self, data: bytes, threads: int = 1, texture: float | None = None) -> np.ndarray:
        from ...photo.codec import decode

        with self._using(threads):
            return decode(data, texture=texture).rgb

    def chance(self, data: bytes) -> float | None:
        """The share of a file's texture that another seed draws differently, 0..1.

        Two seeds differ by twice the variance of what is drawn; texture 0 gives what both add.
        None for a file that is decoded without texture.
        """
        from ...photo.codec import decode

        plain = decode(data, texture=0.0).rgb.astype(np.float32)
        first, second = (decode(data, seed=seed).rgb.astype(np.float32) for seed in (0, 1))
        added = float(np.mean((first - plain) ** 2))
        return float(np.mean((first - second) ** 2)) / 2 / added if added else None

    def decoders(self) -> Mapping[str, Decoder]:
        rows: dict[str, Decoder] = {self.name: self.decode}
        for texture in self.textures:
            rows[f"{self.name} texture={texture:g}"] = partial(self.decode, texture=texture)
        return rows

    @contextmanager
    def _using(self, threads: int) -> Iterator[None]:
        """vlaec with that many threads, which it settles when a model is loaded."""
        from ...photo.codec import load_codec
        from ...threads import VARIABLE

        if threads != self._threads:
            load_codec.cache_clear()
            self._threads = threads
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = str(threads)
        try:
            yield
        finally:
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before
