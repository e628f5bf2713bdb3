"""Kinds of files: each folder of the table has what the commands ask for."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

from vlaec.errors import BadFileError
from vlaec.kinds import KINDS, kind_of

HERE = Path(__file__).resolve().parent
FILES = {
    "photo": HERE / "golden" / "pixel-q50.vlae",
    "sets": HERE / "golden_sets" / "tiny-binary-lossy-v2.vlaa",
}


@pytest.mark.parametrize(("magic", "folder"), KINDS.items())
def test_a_kind_tells_what_its_files_hold(magic: bytes, folder: str) -> None:
    data = FILES[folder].read_bytes()
    assert data.startswith(magic) and magic == import_module(f"vlaec.{folder}.container").MAGIC
    kind = kind_of(data)
    assert kind.__name__ == f"vlaec.{folder}.kind"  # type: ignore[attr-defined]
    info = kind.info(data)
    facts = json.loads(json.dumps(kind.facts(info)))
    assert facts["bytes"] == len(data) and facts["model_id"] == info.header.model_id.hex()
    assert str(len(data)) in kind.rows(info)["size"]
    assert kind.salvage(data) == (data, [])


@pytest.mark.parametrize("data", [b"", b"VLA", b"PK\3\4" + bytes(99)])
def test_a_foreign_file_is_refused(data: bytes) -> None:
    kind = kind_of(data)
    for ask in (kind.info, kind.verify, kind.salvage):
        with pytest.raises(BadFileError, match=r"not a \.vlae file|empty|truncated"):
            ask(data)
