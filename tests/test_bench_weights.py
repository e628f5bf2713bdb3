"""Weights from packages: hashes of arrays, and pickles that hold nothing else."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from vlaec.bench.weights import KNOWN, WeightsError, _ArraysOnly, fingerprint


def test_the_fingerprint_is_of_names_types_shapes_and_values() -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.ones(2, np.float16)}
    same = dict(reversed(arrays.items()))
    others = [
        {**arrays, "a": arrays["a"].T.copy()},
        {**arrays, "a": arrays["a"].astype(np.float32)},
        {**arrays, "b": 2 * arrays["b"]},
        {"a": arrays["a"], "c": arrays["b"]},
    ]
    assert fingerprint(same) == fingerprint(arrays)
    assert len({fingerprint(arrays), *map(fingerprint, others)}) == 5


def test_pickles_hold_arrays_alone() -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("executed",))

    values = {"net": {"kernel": np.eye(3, dtype=np.float32)}}
    found = _ArraysOnly(io.BytesIO(pickle.dumps(values, 2))).load()
    assert np.array_equal(found["net"]["kernel"], np.eye(3))
    for harmful in (Harmful(), np.load):
        with pytest.raises(WeightsError, match="asks for"):
            _ArraysOnly(io.BytesIO(pickle.dumps(harmful, 2))).load()


@pytest.mark.parametrize("name", KNOWN)
def test_the_weights_in_use_are_the_known_ones(name: str, perceptual_weights: Path) -> None:
    with np.load(perceptual_weights / name) as file:
        assert fingerprint({key: file[key] for key in file.files}) == KNOWN[name]
