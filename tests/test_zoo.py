"""Models from other distributions, and what is said where they are missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlaec import zoo
from vlaec.errors import ModelMissingError

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
    monkeypatch.setattr(zoo, "entry_points", lambda group: [])
    with pytest.raises(ModelMissingError, match="pip install vlaec-models-sets"):
        zoo.find("mnist-static")
