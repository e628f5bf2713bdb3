"""Files of every format version decode forever, with what vlaec itself depends on and no more."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vlaec
from vlaec import zoo
from vlaec.photo import codec, container

HERE = Path(__file__).resolve().parent
PHOTOS, SETS = HERE / "golden", HERE / "golden_sets"


@pytest.mark.parametrize("name", sorted(p.name for p in PHOTOS.glob("*.vlae")))
def test_photographs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The structure to the bit; the pixels up to float32's last digits on other machines."""
    monkeypatch.setenv("VLAEC_MODELS", str(PHOTOS / "models"))
    data = (PHOTOS / name).read_bytes()
    parsed = container.unpack(data)
    own = codec.load_codec(zoo.find(model_id=parsed.header.model_id).id)
    z, parameters = own.read_latent(parsed)
    digest = hashlib.sha256(
        z.tobytes() + parameters.means.tobytes() + parameters.log_scales.tobytes()
    )
    expected = json.loads((PHOTOS / "expected.json").read_text())[name]
    assert digest.hexdigest() == expected["latent_sha256"]
    with Image.open(PHOTOS / name.replace(".vlae", ".png")) as image:
        wanted = np.asarray(image).astype(int)
    got = np.asarray(vlaec.decompress(data)).astype(int)
    assert got.shape == wanted.shape
    # A sampled pixel whose two likeliest components tie may fall the other way elsewhere, and
    # takes its neighbours with it.
    assert (np.abs(got - wanted) > 1).mean() < 0.01


@pytest.mark.usefixtures("set_models")
@pytest.mark.parametrize("name", sorted(p.name for p in SETS.glob("*.vlaa")))
def test_archives(name: str) -> None:
    images = vlaec.extract_archive((SETS / name).read_bytes())
    expected = json.loads((SETS / "expected.json").read_text())
    assert hashlib.sha256(images.tobytes()).hexdigest() == expected[name]
