"""A short run of every target of `benchmarks.fuzz`; an hour of each is for releases."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import fuzz, mutations
from vlaec.errors import BadFileError
from vlaec.photo import container

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
    taken = [fuzz.execute(fuzz.TARGETS[name], data) for data in mutations.seeds(name)[:4]]
    assert all(taken)


def test_other_exceptions_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(data: bytes) -> None:
        raise KeyError(len(data))

    monkeypatch.setitem(fuzz.TARGETS, "arrays", fail)
    with pytest.raises(KeyError):
        fuzz.run_random("arrays", 1, None)
    assert [path.name[:12] for path in tmp_path.iterdir()] == ["crash-arrays"]


def test_repair_makes_every_checksum_right() -> None:
    data = bytearray(mutations.seeds("photo-container")[0])
    data[20] ^= 1
    data[60] ^= 1
    with pytest.raises(BadFileError, match="checksum"):
        container.unpack(bytes(data))
    assert container.unpack(mutations.repaired(bytes(data), 30)).stack.words.size


def test_every_flip_and_every_cut_of_the_golden_files_is_found() -> None:
    """By the containers' checksums and end marks alone, so that no network is asked."""
    counts = fuzz.damage(bits=[0, 5])
    assert counts["flips_found"] == counts["flips"] > 10000
    assert counts["cuts_found"] == counts["cuts"] > 4000
