"""Models from other distributions, and what is said where they are missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlaec import zoo
from vlaec.errors import ModelMissingError, ModelWarning

GOLDEN_SETS = Path(__file__).resolve().parent / "golden_sets" / "models"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No folder but those of entry points, which are looked up again."""
    monkeypatch.delenv("VLAEC_MODELS", raising=False)
    zoo._distributed.cache_clear()
    yield
    zoo._distributed.cache_clear()


def test_a_distribution_brings_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    package, facts = tmp_path / "their_models", tmp_path / "their_models-1.0.dist-info"
    shutil.copytree(GOLDEN_SETS, package)
    (package / "__init__.py").touch()
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-models\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[vlaec.models]\ntheirs = their_models\n")
    with pytest.raises(ModelMissingError):
        zoo.find("tiny-binary")
    zoo._distributed.cache_clear()
    monkeypatch.syspath_prepend(str(tmp_path))
    card = zoo.find("tiny-binary")
    assert card.path == package / "tiny-binary.safetensors"
    assert zoo.find(model_id=bytes.fromhex(card.id)) == card


def test_without_set_models_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [])
    with pytest.raises(ModelMissingError, match="pip install vlaec-models-sets"):
        zoo.find("mnist-static")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1]", "3", '"card"', "null", "[" * 100_000),
        *('{"sha256": 5}', '{"sha256": null, "description": [], "parameters": {}, "bytes": "x"}'),
        "GOOD-graphs",
        "GOOD-qualities",
        "GOOD-texture",
        "folder",
        "pipe",
    ],
)
def test_no_card_stops_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    folder = GOLDEN_SETS.parent.parent / "golden" / "models"
    bad = tmp_path / "a.json"
    if text == "folder":
        bad.mkdir()
    elif text == "pipe":
        getattr(os, "mkfifo", Path.mkdir)(bad)
    elif text.startswith("GOOD-"):
        values = json.loads((folder / "tiny.json").read_text())
        bad.write_text(json.dumps({**values, text[5:]: None}))
    else:
        bad.write_text(text)
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.setenv("VLAEC_MODELS", str(tmp_path))
    with pytest.warns(ModelWarning, match="a.json cannot be read: .*; it is left out"):
        assert zoo.find("tiny").path.parent == tmp_path


def test_cards_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    for file in (GOLDEN_SETS.parent.parent / "golden" / "models").iterdir():
        shutil.copy(file, tmp_path)
    card = tmp_path / "tiny.json"
    values = {**json.loads(card.read_text()), "description": "für Fotos"}
    card.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "from vlaec import zoo; print(ascii(zoo.find('tiny').description))"],
        env={**os.environ, "VLAEC_MODELS": str(tmp_path), "LC_ALL": "C", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "'f\\xfcr Fotos'\n" and not done.stderr


def test_a_distribution_that_is_half_gone_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    facts = tmp_path / "gone-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: gone\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[vlaec.models]\ngone = no_such_package.models\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(ModelWarning, match=r"no_such_package.models cannot be found"):
        zoo.list_models()
