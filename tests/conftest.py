"""Shared fixtures."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Processes of the tests obey Ctrl-C, also where a shell runs all this in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def photo() -> Path:
    """The photograph that comes with the repository: 600 x 400, RGB."""
    return ROOT / "examples" / "photo.png"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that VLAEC_DATA names, with pictures and weights; skips where it is not set."""
    if "VLAEC_DATA" not in os.environ:
        pytest.skip("needs data: set VLAEC_DATA")
    return Path(os.environ["VLAEC_DATA"])


@pytest.fixture(scope="session")
def kodak(data_dir: Path) -> list[Path]:
    """The 24 Kodak photographs; skips where they are absent."""
    pictures = sorted((data_dir / "kodak").glob("*.png"))
    if not pictures:
        pytest.skip(f"no Kodak photographs in {data_dir / 'kodak'}")
    return pictures


@pytest.fixture(scope="session")
def perceptual_weights(request: pytest.FixtureRequest) -> Path:
    """Folder of the LPIPS and DISTS weights: VLAEC_WEIGHTS, or `lpips` in the data folder."""
    given = os.environ.get("VLAEC_WEIGHTS")
    folder = Path(given) if given else Path(request.getfixturevalue("data_dir")) / "lpips"
    for name in ("lpips_alex.npz", "lpips_vgg.npz", "dists_alpha_beta.npz"):
        if not (folder / name).is_file():
            pytest.skip(f"no {name} in {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for $VLAEC_MODELS with one untrained model, `tiny`: quick, and always the same."""
    import torch
    from safetensors.torch import save

    from vlaec.networks import PRESETS, PhotoVLAE
    from vlaec.train.onnx_export import write_graphs

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PhotoVLAE(PRESETS["tiny"])
    halves = {key: value.half() for key, value in model.state_dict().items()}
    data = save(halves, metadata={"config": json.dumps(model.config.to_dict())})
    card = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "description": "untrained",
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": len(data),
        "default": True,
        "texture": 0.8,
    }
    folder = tmp_path_factory.mktemp("models")
    weights = folder / "tiny.safetensors"
    weights.write_bytes(data)
    graphs = write_graphs(model, weights)
    (folder / "tiny.json").write_text(json.dumps({**card, "graphs": graphs}))
    return folder


@pytest.fixture
def set_models(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small set models that the golden archives are made with, for $VLAEC_MODELS."""
    folder = ROOT / "tests" / "golden_sets" / "models"
    monkeypatch.setenv("VLAEC_MODELS", str(folder))
    return folder
