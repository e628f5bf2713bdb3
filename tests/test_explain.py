"""`vlaec explain` in Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vlaec import explain
from vlaec.api import read_latent
from vlaec.coding.gaussian import Gaussians, gaussian_bits
from vlaec.coding.student import student_bits
from vlaec.photo import container

GOLDEN = Path(__file__).resolve().parent / "golden"


@pytest.mark.parametrize(("version", "charge"), [("-v2", gaussian_bits), ("-v3", student_bits)])
def test_bits_are_those_of_the_files_version(
    version: str,
    charge: Callable[[np.ndarray, Gaussians], np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(GOLDEN / "models"))
    data = (GOLDEN / f"photo-q60{version}.vlae").read_bytes()
    explanation = explain.explain(data)
    z, parameters = read_latent(container.unpack(data))
    expected = charge(z, Gaussians(parameters.means, parameters.log_scales)).sum(0)
    np.testing.assert_allclose(explanation.bits, expected)
    assert 0.9 * explanation.predicted_bits < expected.sum() < explanation.predicted_bits
