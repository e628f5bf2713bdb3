"""Pictures through the whole codec: sizes, modes, determinism."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import vlaec
from vlaec import zoo
from vlaec.errors import BadFileError, ModelMissingError, ModelWarning, UsageError
from vlaec.images import Picture
from vlaec.photo import codec, container

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture
def golden_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small trained model that the golden files are made with, as the default."""
    monkeypatch.setenv("VLAEC_MODELS", str(GOLDEN / "models"))


def noise_picture(height: int, width: int, seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    return Picture(rng.integers(0, 256, (height, width, 3), np.uint8))


def smooth_picture(height: int, width: int) -> Picture:
    y, x = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin(x / 9 + i) * np.cos(y / (7 + i)) for i in range(3)]
    return Picture(np.stack(planes, 2).astype(np.uint8))


def check_file(data: bytes, picture: Picture) -> Picture:
    """The laws of the bitstream on one file; returns the decoded picture."""
    facts = container.info(data)
    assert facts.total == len(data)
    own = facts.sizes["header"] + facts.sizes["stack"]  # the rest is metadata and alpha
    assert own <= 1.01 * facts.predicted_bits / 8 + 64
    decoded = codec.decode(data)  # the CRC inside guards z
    assert decoded.rgb.shape == picture.rgb.shape
    return decoded


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 200), (200, 1), (15, 17), (16, 16), (17, 15), (64, 64), (333, 517)]
)
@pytest.mark.usefixtures("golden_models")
def test_every_size(size: tuple[int, int]) -> None:
    for picture in (noise_picture(*size), smooth_picture(*size)):
        check_file(codec.encode(picture, 60), picture)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 255), st.integers(0, 10000))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@pytest.mark.usefixtures("golden_models")
def test_any_size_value_and_quality(height: int, width: int, value: int, quality: int) -> None:
    constant = Picture(np.full((height, width, 3), value, np.uint8))
    check_file(codec.encode(constant, quality / 100), constant)


@pytest.mark.usefixtures("golden_models")
def test_quality_grows_size_and_fidelity(photo: Path) -> None:
    with Image.open(photo) as image:
        crop = image.convert("RGB").crop((100, 100, 356, 356))
    sizes, errors = [], []
    for quality in (5, 35, 65, 95):
        data = vlaec.compress(crop, quality=quality)
        back = np.asarray(vlaec.decompress(data, texture=0), float)
        sizes.append(len(data))
        errors.append(np.square(back - np.asarray(crop, float)).mean())
    assert sizes == sorted(sizes) and errors[-1] < errors[1] < errors[0]


@pytest.mark.usefixtures("golden_models")
def test_texture_and_seed() -> None:
    data = codec.encode(smooth_picture(40, 50), 50)
    plain, half, full = (codec.decode(data, texture=t).rgb.astype(int) for t in (0, 0.5, 1))
    other = codec.decode(data, texture=1, seed=7).rgb.astype(int)
    assert np.array_equal(full, codec.decode(data, texture=1).rgb)
    assert not np.array_equal(full, other)
    # Strength scales the sampled residual and nothing else.
    assert np.abs(half - (plain + full) / 2)[(full > 0) & (full < 255)].max() <= 1.5


@pytest.mark.usefixtures("golden_models")
def test_grey_alpha_and_metadata_survive() -> None:
    rng = np.random.default_rng(1)
    grey = np.repeat(rng.integers(0, 256, (20, 30, 1), np.uint8), 3, 2)
    alpha = rng.integers(0, 256, (20, 30), np.uint8)
    metadata = {"icc": b"icc" * 50, "exif": b"exif", "xmp": b"<x/>", "cicp": b"\x0c\x0d\0\1"}
    picture = Picture(grey, alpha, True, metadata)
    decoded = check_file(codec.encode(picture), picture)
    assert decoded.grey and np.array_equal(decoded.alpha, alpha)
    assert decoded.metadata == metadata
    assert np.array_equal(decoded.rgb[..., 0], decoded.rgb[..., 2])


@pytest.mark.usefixtures("golden_models")
def test_arguments_out_of_range() -> None:
    with pytest.raises(UsageError):
        codec.encode(noise_picture(4, 4), 101)
    data = codec.encode(noise_picture(4, 4))
    with pytest.raises(UsageError):
        codec.decode(data, texture=1.5)
    with pytest.raises(UsageError):
        codec.decode(data, seed=256)


@pytest.mark.usefixtures("golden_models")
def test_three_equal_channels_stay_equal_and_three() -> None:
    """A grey photograph in three channels is coded as one in one; no colours appear in it."""
    plane = smooth_picture(40, 56).rgb[..., :1]
    rgb = np.repeat(plane, 3, 2)
    one, three = (codec.encode(Picture(rgb, grey=grey), 30) for grey in (True, False))
    assert len(one) == len(three)
    parts = container.unpack(one), container.unpack(three)
    assert np.array_equal(parts[0].stack.words, parts[1].stack.words)
    shown = codec.decode(three)
    assert not shown.grey and codec.decode(one).grey
    assert (shown.rgb == shown.rgb[..., :1]).all()
    assert vlaec.decompress(three).mode == "RGB" and vlaec.decompress(one).mode == "L"


@pytest.mark.usefixtures("golden_models")
def test_a_wrong_latent_is_an_error_not_a_picture() -> None:
    parsed = container.unpack(codec.encode(smooth_picture(40, 40), 50))
    stack = container.Stack(parsed.stack.words ^ 1, parsed.stack.bits_back, parsed.stack.excess)
    forged = container.pack(container.Container(parsed.header, stack))
    with pytest.raises(BadFileError):
        codec.decode(forged)


@pytest.mark.usefixtures("golden_models")
def test_models_by_name_and_id() -> None:
    card = zoo.find()
    assert zoo.find(name=card.name) == zoo.find(model_id=bytes.fromhex(card.id)) == card
    assert zoo.find_name(bytes.fromhex(card.id)) == card.name
    with pytest.raises(ModelMissingError, match="no model named 'nothing'"):
        zoo.find(name="nothing")
    with pytest.raises(ModelMissingError, match="no model with id"):
        zoo.find(model_id=bytes(8))


def test_models_for_some_qualities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two defaults share the dial, files name theirs, and neither is used beyond its own part."""
    pytest.importorskip("torch", reason="makes models")
    from safetensors.torch import load_file, save

    from vlaec.networks import PhotoConfig, PhotoVLAE
    from vlaec.train.onnx_export import write_graphs

    source = GOLDEN / "models"
    tensors = load_file(source / "tiny.safetensors")
    card = json.loads((source / "tiny.json").read_text())
    config = {"config": json.dumps(card["training"]["recipe"]["model"])}
    model = PhotoVLAE(PhotoConfig.from_dict(card["training"]["recipe"]["model"]))
    for name, qualities in (("low", [0, 40]), ("high", [40, 100])):
        tensors["to_mean.bias"] = tensors["to_mean.bias"] + 0.01  # other weights, another id
        data = save(tensors, metadata=config)
        (tmp_path / f"{name}.safetensors").write_bytes(data)
        own = {"sha256": hashlib.sha256(data).hexdigest(), "qualities": qualities, "default": True}
        model.load_state_dict(tensors)
        graphs = write_graphs(model, tmp_path / f"{name}.safetensors")
        own |= {"bytes": len(data), "graphs": graphs}
        (tmp_path / f"{name}.json").write_text(json.dumps(card | own))
    monkeypatch.setenv("VLAEC_MODELS", str(tmp_path))
    picture = smooth_picture(20, 30)
    for quality, name in ((0, "low"), (39.99, "low"), (40.01, "high"), (100, "high")):
        data = codec.encode(picture, quality)
        assert zoo.find_name(container.info(data).header.model_id) == name
        assert codec.decode(data).rgb.shape == picture.rgb.shape
        assert codec.encode(picture, quality, name) == data
    assert codec.encode(picture, 40, "low") != codec.encode(picture, 40, "high")
    with pytest.raises(UsageError, match="between 0 and 40 for model low"):
        codec.encode(picture, 40.5, "low")
    (tmp_path / "high.json").write_text(json.dumps(card | {"qualities": [60, 40]}))
    with pytest.warns(ModelWarning, match="no qualities from 60 to 40; it is left out"):
        assert zoo.find(quality=30).name == "low"


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray((GOLDEN / "models" / "tiny.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "tiny.safetensors").write_bytes(data)
    (tmp_path / "tiny.json").write_bytes((GOLDEN / "models" / "tiny.json").read_bytes())
    monkeypatch.setenv("VLAEC_MODELS", str(tmp_path))
    with pytest.raises(ModelMissingError, match="not those of its card"):
        codec.Codec(zoo.find())


def test_a_graph_of_another_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(GOLDEN / "models", tmp_path, dirs_exist_ok=True)
    (tmp_path / "tiny.mean-4.onnx").write_bytes((tmp_path / "tiny.mean-8.onnx").read_bytes())
    (tmp_path / "tiny.known.onnx").unlink()
    monkeypatch.setenv("VLAEC_MODELS", str(tmp_path))
    own = codec.Codec(zoo.find())
    container_of = container.unpack((GOLDEN / "photo-q60.vlae").read_bytes())
    own.read_latent(container_of)  # needs none
    with pytest.raises(ModelMissingError, match=r"tiny.known.onnx cannot be read"):
        own.decode(container_of)
    shutil.copy(GOLDEN / "models" / "tiny.known.onnx", tmp_path)
    with pytest.raises(ModelMissingError, match=r"tiny.mean-4.onnx is not the one of its model"):
        own.decode(container_of)


@pytest.mark.parametrize(
    "content", [b"{bad", b"{}", b'{"sha256": 1, "description": 2, "parameters": 3, "bytes": 4}']
)
def test_a_bad_model_elsewhere_stops_nothing(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = vlaec.compress(Image.new("RGB", (20, 20)), quality=30)
    (tmp_path / "x.json").write_bytes(content)
    card = zoo.find(quality=30)  # a copy that was cut short
    shutil.copy(card.path.with_suffix(".json"), tmp_path)
    (tmp_path / card.path.name).write_bytes(card.path.read_bytes()[:-1000])
    monkeypatch.setenv("VLAEC_MODELS", str(tmp_path))
    with pytest.warns(ModelWarning, match="left out"):
        assert vlaec.decompress(data).size == (20, 20)


@pytest.mark.parametrize(
    "environment",
    [
        {"VLAEC_THREADS": "1"},
        {"VLAEC_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "Haswell"},
        {"OPENBLAS_CORETYPE": "Prescott"},
    ],
    ids=lambda e: "-".join("=".join(item) for item in e.items()),
)
def test_decodes_in_another_process(environment: dict[str, str], tmp_path: Path) -> None:
    """z is the same on other instruction sets and thread counts: its CRC is checked there."""
    path = tmp_path / "photo.vlae"
    env = {**os.environ, "VLAEC_MODELS": str(GOLDEN / "models")}
    code = (
        "import sys, pathlib, numpy as np\n"
        "from vlaec import zoo\nfrom vlaec.photo import codec, container\n"
        "c = container.unpack(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "own = codec.load_codec(zoo.find().id)\n"
        "z, p = own.read_latent(c)\n"
        "import hashlib\n"
        "print(hashlib.sha256(z.tobytes() + p.means.tobytes() + p.log_scales.tobytes())"
        ".hexdigest())\n"
    )
    path.write_bytes((GOLDEN / "photo-q60.vlae").read_bytes())
    out = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**env, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = json.loads((GOLDEN / "expected.json").read_text())
    assert out.stdout.strip() == expected["photo-q60.vlae"]["latent_sha256"]


@pytest.mark.usefixtures("golden_models")
@pytest.mark.parametrize("field", ["quality_hundredths", "texture_255", "seed", "grey"])
def test_a_forged_header_is_refused(field: str) -> None:
    """Its own checksum is repaired; that of the latent covers it."""
    parsed = container.unpack((GOLDEN / "photo-q60-v3.vlae").read_bytes())
    forged = replace(parsed.header, **{field: getattr(parsed.header, field) ^ 1})
    with pytest.raises(BadFileError):
        vlaec.decompress(container.pack(replace(parsed, header=forged)))


@pytest.mark.usefixtures("golden_models")
def test_the_encoder_still_writes_the_golden_bytes(photo: Path) -> None:
    """Not promised between releases, but a change here must be on purpose."""
    golden = container.unpack((GOLDEN / "photo-q60-v3.vlae").read_bytes())
    with Image.open(photo) as image:
        data = vlaec.compress(image.convert("RGB").crop((150, 100, 278, 228)), quality=60)
    written = container.unpack(data)
    # float32 analysis may round a few latents otherwise on another machine.
    assert abs(len(written.stack.words) - len(golden.stack.words)) <= 2
    assert written.header.model_id == golden.header.model_id


def test_the_shipped_model_on_the_shipped_photo(photo: Path) -> None:
    """The default model is a trained one: its structure is right, its texture is texture."""
    with Image.open(photo) as image:
        crop = image.convert("RGB").crop((128, 64, 448, 320))
    original = np.asarray(crop, float)
    data = vlaec.compress(crop)
    plain, textured = (np.asarray(vlaec.decompress(data, texture=t), float) for t in (0, 1))
    assert container.info(data).bpp < 1
    assert 10 * np.log10(255**2 / np.square(plain - original).mean()) > 27
    assert 0 < np.abs(textured - plain).mean() < np.abs(plain - original).mean()
