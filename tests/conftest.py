"""Shared fixtures."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TORCH_IS_MISSING = find_spec("torch") is None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip the files that import torch where it is not installed; the codec must do without."""
    report = yield
    if report.failed and TORCH_IS_MISSING and "No module named 'torch'" in str(report.longrepr):
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, "Skipped: needs torch")
    return report


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
    """A folder for $VLAEC_MODELS with one small model, `tiny`, that of the golden files."""
    folder = tmp_path_factory.mktemp("models") / "models"
    shutil.copytree(ROOT / "tests" / "golden" / "models", folder)
    return folder


@pytest.fixture
def set_models(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small set models that the golden archives are made with, for $VLAEC_MODELS."""
    folder = ROOT / "tests" / "golden_sets" / "models"
    monkeypatch.setenv("VLAEC_MODELS", str(folder))
    return folder
