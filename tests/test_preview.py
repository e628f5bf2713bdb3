"""Previews of an eighth and less: one layer of the model, close to the picture that it has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vlaec
from vlaec import zoo
from vlaec.images import Picture
from vlaec.photo import codec, container
from vlaec.train.__main__ import main

TINY = Path(__file__).parent / "golden" / "models"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model and a layer for previews that was fitted to it."""
    folder = tmp_path_factory.mktemp("fitted")
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    assert main(["graphs", str(folder / "tiny")]) == 0
    return folder


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a / 255 - b / 255) ** 2) + 1e-12))


@pytest.mark.parametrize("kind", ["RGB", "L", "RGBA"])
def test_one_layer_makes_what_the_whole_network_makes(
    fitted: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(fitted))
    with Image.open(photo) as opened:
        image = opened.crop((40, 30, 311, 295)).convert(kind)
    if kind == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    data = vlaec.compress(image)
    whole = vlaec.decompress(data, texture=0)
    # Without the other networks: a preview may not need them.
    bare = tmp_path / "models"
    shutil.copytree(fitted, bare)
    for graph in [*bare.glob("*.mean-*"), *bare.glob("*.texture-*")]:
        graph.unlink()
    monkeypatch.setenv("VLAEC_MODELS", str(bare))
    codec.load_codec.cache_clear()
    with pytest.raises(vlaec.ModelMissingError):
        vlaec.decompress(data, scale=4)
    for scale in (8, 16):
        small = vlaec.decompress(data, scale=scale)
        assert small.mode == whole.mode == kind
        for made, plane in zip(small.split(), whole.split(), strict=True):
            wanted = np.asarray(plane.reduce(scale))
            # A picture of one colour would have about 16 dB. Transparency is exact.
            assert psnr(np.asarray(made), wanted) > 30
    assert kind != "RGBA" or np.array_equal(made, wanted)
    codec.load_codec.cache_clear()


def test_the_fit_is_the_same_each_time(fitted: Path) -> None:
    card, graph = fitted / "tiny.json", fitted / "tiny.preview.onnx"
    before = card.read_bytes(), graph.read_bytes()
    assert main(["graphs", str(fitted / "tiny")]) == 0
    assert (card.read_bytes(), graph.read_bytes()) == before


def test_models_of_sets_have_no_previews(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(Path(__file__).parent / "golden_sets" / "models", tmp_path / "models")
    name = next((tmp_path / "models").glob("*.json")).stem
    assert main(["graphs", str(tmp_path / "models" / name)]) == 2
    assert "only models for photographs" in capsys.readouterr().err


def test_shipped_models_have_previews() -> None:
    """A model that was exported by an older program needs `bin/train graphs MODEL`."""
    y, x = np.mgrid[:120, :200]
    waves = [128 + 90 * np.sin(x / (15 + i) + y / 20) for i in range(3)]
    pixels = np.stack(waves, 2).astype(np.uint8)
    for card in zoo.defaults():
        assert "preview" in json.loads(card.path.with_suffix(".json").read_text())["graphs"]
        own = codec.Codec(card)
        parsed = container.unpack(own.encode(Picture(pixels), card.qualities[1]))
        whole = Image.fromarray(own.decode(parsed, texture=0.0).rgb)
        assert psnr(own.preview(parsed), np.asarray(whole.reduce(8))) > 25
