"""Where time goes: parts that add up, and nothing left behind."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.stages import main, measure


def test_parts_add_up_and_are_put_back() -> None:
    worker = SimpleNamespace(work=lambda: time.sleep(0.02), rest=lambda: time.sleep(0.01))
    before = worker.work
    result = measure(
        lambda: (worker.work(), worker.work(), worker.rest()), {"w": (worker, "work")}, 3
    )
    assert worker.work is before
    assert 0.04 <= result["w"] < result["all"] and result["rest"] >= 0.01
    assert result["w"] + result["rest"] == pytest.approx(result["all"], rel=0.2)


def test_the_command_writes_both_tables(
    tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    out = tmp_path / "stages.md"
    assert main(["--sizes", "40", "50", "--repetitions", "1", "--out", str(out)]) == 0
    text = out.read_text()
    assert text.count("| all |") == 2 and "| sampling |" in text and "50x40, s" in text
