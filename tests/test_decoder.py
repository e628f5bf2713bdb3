"""The decoder in docs/decoder.md, which shares no code with vlaec, on files of version 3."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(scope="module")
def decoder() -> dict[str, Any]:
    """The page's functions by name."""
    page = (ROOT / "docs" / "decoder.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(code.splitlines()) <= 340 and "vlaec " not in code and "torch" not in code
    names: dict[str, Any] = {"__name__": "decoder"}
    exec(compile(code, "docs/decoder.md", "exec"), names)
    return names


@pytest.mark.parametrize("name", sorted(p.name for p in GOLDEN.glob("*-v3.vlae")))
def test_the_page_decodes_the_golden_files(decoder: dict[str, Any], name: str) -> None:
    got = decoder["decode"]((GOLDEN / name).read_bytes(), GOLDEN / "models").astype(int)
    with Image.open(GOLDEN / name.replace(".vlae", ".png")) as image:
        wanted = np.asarray(image).astype(int)
    if wanted.ndim == 2:
        wanted = np.repeat(wanted[:, :, None], 3, 2)
    difference = np.abs(got - wanted[:, :, :3])  # the page leaves the alpha plane aside
    assert (difference > 1).mean() < 0.01 and (difference > 0).mean() < 0.02


def test_a_damaged_file_is_seen(decoder: dict[str, Any]) -> None:
    data = bytearray((GOLDEN / "photo-q60-v3.vlae").read_bytes())
    data[60] ^= 1
    with pytest.raises(AssertionError):
        decoder["decode"](bytes(data), GOLDEN / "models")
