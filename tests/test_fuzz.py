"""A short run of every target of `benchmarks.fuzz`; an hour of each is for releases."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fuzz
from vlaec.errors import BadFileError
from vlaec.photo import container
from vlaec.sets import container as archive_container

RUNS = {"photo-decoder": 25, "archive-decoder": 25, "images": 600, "arrays": 1500}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crashing inputs go to a folder of the test; so does the choice of models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VLAEC_MODELS", os.environ.get("VLAEC_MODELS", ""))


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_mutations_end_in_results_or_documented_errors(name: str) -> None:
    result = fuzz.run_random(name, RUNS.get(name, 4000), None, seed=7)
    assert result["runs"] == RUNS.get(name, 4000) and 0 < result["accepted"] < result["runs"]


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_seeds_are_sound(name: str) -> None:
    taken = [fuzz.execute(fuzz.TARGETS[name], data) for data in fuzz.seeds(name)[:4]]
    assert all(taken)


def test_other_exceptions_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(data: bytes) -> None:
        raise KeyError(len(data))

    monkeypatch.setitem(fuzz.TARGETS, "arrays", fail)
    with pytest.raises(KeyError):
        fuzz.run_random("arrays", 1, None)
    assert [path.name[:12] for path in tmp_path.iterdir()] == ["crash-arrays"]


def test_repair_makes_every_checksum_right() -> None:
    data = bytearray(fuzz.seeds("photo-container")[0])
    data[20] ^= 1
    data[60] ^= 1
    with pytest.raises(BadFileError, match="checksum"):
        container.unpack(bytes(data))
    assert container.unpack(fuzz.repaired(bytes(data), 30)).stack.words.size


@pytest.mark.parametrize("folder", ["golden", "golden_sets"])
def test_every_flip_and_every_cut_of_every_golden_file(folder: str) -> None:
    """By the containers' checksums alone, so that no network is asked."""
    parse = container.unpack if folder == "golden" else archive_container.unpack
    paths = sorted((fuzz.TESTS / folder).glob("*.vla?"))
    for path in paths:
        data = path.read_bytes()
        rng = np.random.default_rng(len(data))
        for position in range(len(data)):
            damaged = bytearray(data)
            damaged[position] ^= 1 << int(rng.integers(8))
            with pytest.raises(BadFileError):
                parse(bytes(damaged))
        for length in range(len(data) if data[4] > 1 else 34):
            with pytest.raises(BadFileError):
                parse(data[:length])
