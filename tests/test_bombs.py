"""Files of a few bytes that claim much are refused before anything is allocated."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vlaec
from vlaec.errors import BadFileError, UsageError, VlaecError
from vlaec.photo import codec, container
from vlaec.sets import archive
from vlaec.sets import container as archive_container

GOLDEN = Path(__file__).resolve().parent / "golden"
GOLDEN_SETS = Path(__file__).resolve().parent / "golden_sets"
EMPTY = np.zeros(0, np.uint32)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(GOLDEN / "models"))


def costs(function: object, data: bytes) -> tuple[float, float]:
    """Seconds and MiB until a file is refused, its model being loaded."""
    assert callable(function)
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(BadFileError):
        function(data)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return seconds, peak


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("side", [1448, 16384])
@pytest.mark.parametrize("words", [0, 5, 60])
def test_a_short_stack_for_a_large_picture(side: int, words: int) -> None:
    parts = container.unpack((GOLDEN / "photo-q60-v2.vlae").read_bytes())
    codec.load_codec(parts.header.model_id.hex())
    stack = replace(parts.stack, words=np.arange(1, words + 1, dtype=np.uint32), bits_back=0)
    header = replace(parts.header, width=side, height=side)
    seconds, mib = costs(vlaec.decompress, container.pack(container.Container(header, stack)))
    assert seconds < 1 and mib < 8


@pytest.mark.usefixtures("set_models")
@pytest.mark.parametrize("kind", ["binary", "colour"])
@pytest.mark.parametrize("many", ["one block", "many blocks"])
def test_a_short_stack_for_many_images(kind: str, many: str) -> None:
    made = archive_container.unpack((GOLDEN_SETS / f"tiny-{kind}-lossless-v2.vlaa").read_bytes())
    archive.load_archiver(made.header.model_id.hex())
    blocks = (1024,) if many == "one block" else (1024,) * 200
    header = replace(made.header, count=sum(blocks))
    stack = replace(made.stack, words=EMPTY, initial=0, blocks=blocks)
    seconds, mib = costs(
        archive.extract, archive_container.pack(replace(made, header=header, stack=stack))
    )
    assert seconds < 1 and mib < 8


@pytest.mark.usefixtures("models")
def test_a_limit_on_pixels_is_checked_from_the_header() -> None:
    data = (GOLDEN / "photo-q60-v2.vlae").read_bytes()
    with pytest.raises(VlaecError, match="16383"):
        vlaec.decompress(data, max_pixels=128 * 128 - 1)
    assert vlaec.decompress(data, max_pixels=128 * 128).size == (128, 128)
    with pytest.raises(UsageError):
        vlaec.decompress(data, max_pixels=0)
