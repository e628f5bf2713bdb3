"""Outbreaks: true residuals are calm against themselves, hot ones are not, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from training import write_photos

from benchmarks.outbreaks import main
from benchmarks.texture.residuals import Tally, compare


def test_a_block_that_runs_away_is_an_outbreak() -> None:
    noise = np.random.default_rng(0).normal(0, 8, (3, 64, 64))
    true, same, hot = Tally(), Tally(), Tally()
    true.add(noise)
    same.add(noise)
    noise = noise.copy()
    noise[:, :16, :16] += 40
    hot.add(noise)
    assert compare(true, same)["outbreaks"] <= 0.001 + 1 / 48
    assert compare(true, hot)["outbreaks"] >= 3 / 48


def test_the_command_writes_both_temperatures(
    tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    photos, out = tmp_path / "photos", tmp_path / "out.json"
    photos.mkdir()
    write_photos(photos, count=3, side=64)
    main([str(photos), "--model", "tiny", "--limit", "2", "--out", str(out)])
    found = json.loads(out.read_text())["photos"]
    assert found["photographs"] == 2 and set(found["temperature"]) == {"0.7", "1"}


def test_a_folder_without_photographs_is_refused(
    tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--model", "tiny", "--out", str(tmp_path / "out.json")])
