"""The same picture everywhere: threads do not count, and the last bits of float32 hardly do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlaec import zoo
from vlaec.photo import codec, container
from vlaec.photo.graphs import Graphs

GOLDEN = Path(__file__).resolve().parent / "golden"
BLOCK = 16


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(GOLDEN / "models"))


def decode(texture: float = 1.0) -> np.ndarray:
    """The golden photograph by a codec of its own, whose sessions are made new."""
    parts = container.unpack((GOLDEN / "photo-q60-v2.vlae").read_bytes())
    own = codec.Codec(zoo.find(model_id=parts.header.model_id))
    return own.decode(parts, texture).rgb.astype(int)


def test_threads_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = []
    for count in ("1", "2", "3"):
        monkeypatch.setenv("VLAEC_THREADS", count)
        pictures.append(decode())
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


class Shaken:
    """Rows of planes whose values differ in the last bits, as another processor's would."""

    def __init__(self, rows: Any, rng: np.random.Generator) -> None:
        self._rows, self._rng = rows, rng

    def rows(self, top: int, bottom: int) -> tuple[np.ndarray, ...]:
        return tuple(self._shake(plane) for plane in self._rows.rows(top, bottom))

    def _shake(self, plane: np.ndarray) -> np.ndarray:
        noise = self._rng.uniform(-2e-6, 2e-6, plane.shape).astype(np.float32)
        return plane + noise * np.maximum(np.abs(plane), np.float32(1e-2))


@pytest.fixture
def shaken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Both are made at the same time: with one generator their turns would decide what is drawn.
    for seed, name in enumerate(("mean", "texture")):
        whole = getattr(Graphs, name)

        def other(self: Graphs, *a: Any, whole: Any = whole, seed: int = seed, **k: Any) -> Any:
            return Shaken(whole(self, *a, **k), np.random.default_rng(seed))

        monkeypatch.setattr(Graphs, name, other)
    yield


def test_the_last_bits_change_no_region(request: pytest.FixtureRequest) -> None:
    """One pixel whose likeliest components tie may fall the other way; its region must not."""
    plain = decode()
    request.getfixturevalue("shaken")
    other = decode()
    difference = np.abs(other - plain)
    assert difference.any()  # the shaking is felt
    assert (difference > 0).mean() < 0.01
    height, width = (side // BLOCK for side in plain.shape[:2])
    blocks = difference[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK, 3)
    assert blocks.mean((1, 3, 4)).max() < 1
