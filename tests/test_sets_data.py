"""Readers of small image sets: what is written in a published format comes back."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from vlaec.train.sets import data as sets_data
from vlaec.train.sets.data import DATASETS, binarise, load

RANDOM = np.random.default_rng(0)
SIZES = {"train": 4, "valid": 2, "test": 3}


def grey(n: int) -> np.ndarray:
    """Images with certain and uncertain pixels, [n, 28, 28] uint8."""
    return RANDOM.choice(np.array([0, 90, 255], np.uint8), (n, 28, 28))


# -- MATLAB


@pytest.mark.parametrize("size", [0, 60, 130, 200, -1])
def test_a_cut_matlab_file_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "chardata.mat"
    savemat(path, {"data": RANDOM.random((20, 5))}, do_compression=True)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"chardata\.mat"):
        load("omniglot", tmp_path)


def test_matlab_files_need_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chardata.mat").touch()
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ImportError, match=r"scipy: pip install 'vlaec\[bench\]'"):
        load("omniglot", tmp_path)


# -- Sets


def write_idx(path: Path, values: np.ndarray, packed: bool) -> None:
    data = b"\0\0\x08" + bytes([values.ndim])
    data += np.array(values.shape, ">u4").tobytes() + values.tobytes()
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)


def write_mnist(folder: Path, test: np.ndarray, labels: np.ndarray, packed: bool = False) -> None:
    n = sets_data.MNIST_HOLD_OUT + 5
    train = np.arange(n, dtype=np.uint32).view(np.uint8).reshape(n, 4).repeat(196, 1)
    write_idx(folder / "train-images-idx3-ubyte", train.reshape(n, 28, 28), packed)
    write_idx(folder / "train-labels-idx1-ubyte", np.arange(n, dtype=np.uint8), packed)
    write_idx(folder / "t10k-images-idx3-ubyte", test, packed)
    write_idx(folder / "t10k-labels-idx1-ubyte", labels, packed)


@pytest.mark.parametrize("packed", [False, True])
def test_dynamic_mnist(tmp_path: Path, packed: bool) -> None:
    test, labels = grey(3), np.array([2, 0, 1], np.uint8)
    write_mnist(tmp_path, test, labels, packed)
    data = load("mnist-dynamic", tmp_path)
    assert data.dynamic
    number = data.train.reshape(5, 784)[:, ::196].copy().view(np.uint32)[:, 0]
    np.testing.assert_array_equal(number, range(5))
    np.testing.assert_array_equal(data.train_labels, range(5))
    assert len(data.validation) == sets_data.MNIST_HOLD_OUT
    np.testing.assert_array_equal(data.test, test)
    np.testing.assert_array_equal(data.test_labels, labels)


def write_amat(folder: Path, splits: dict[str, np.ndarray]) -> None:
    for split, images in splits.items():
        lines = (" ".join(map(str, image.ravel())) for image in images)
        (folder / f"binarized_mnist_{split}.amat").write_text("\n".join(lines) + "\n")


def write_packed(folder: Path, splits: dict[str, np.ndarray]) -> None:
    rows = {name: np.packbits(x.reshape(len(x), -1), axis=1) for name, x in splits.items()}
    np.savez(folder / "static_mnist.npz", **rows)


@pytest.mark.parametrize("write", [write_amat, write_packed])
def test_static_mnist(tmp_path: Path, write: Callable[[Path, dict[str, np.ndarray]], None]) -> None:
    splits = {name: RANDOM.integers(0, 2, (n, 28, 28), np.uint8) for name, n in SIZES.items()}
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", splits)
    data = load("mnist-static", tmp_path)
    assert not data.dynamic and data.test_labels is None
    for images, name in ((data.train, "train"), (data.validation, "valid"), (data.test, "test")):
        np.testing.assert_array_equal(images, splits[name])


def test_labels_of_static_mnist_only_where_grey_mnist_confirms_them(tmp_path: Path) -> None:
    pictures, labels = grey(3), np.array([2, 0, 1], np.uint8)
    write_mnist(tmp_path, pictures, labels)
    test = binarise(pictures[[1, 2, 0]], RANDOM)  # ordered by digit
    write_amat(tmp_path, {"train": test, "valid": test, "test": test})
    np.testing.assert_array_equal(load("mnist-static", tmp_path).test_labels, [0, 1, 2])
    write_amat(tmp_path, {"test": test[::-1]})
    assert load("mnist-static", tmp_path).test_labels is None


@pytest.mark.parametrize("text", ["0 1 0", "0 2 " * 392, "0 . " * 392])
def test_a_damaged_amat_is_refused(tmp_path: Path, text: str) -> None:
    write_amat(tmp_path, {name: RANDOM.integers(0, 2, (1, 28, 28)) for name in SIZES})
    (tmp_path / "binarized_mnist_valid.amat").write_text(text)
    with pytest.raises(ValueError, match="valid"):
        load("mnist-static", tmp_path)


def test_omniglot(tmp_path: Path) -> None:
    n = sets_data.OMNIGLOT_HOLD_OUT + 20
    train = RANDOM.random((n, 28, 28))
    test = RANDOM.random((2, 28, 28))
    columns = {"data": train, "testdata": test}
    arrays = {name: x.swapaxes(1, 2).reshape(len(x), 784).T for name, x in columns.items()}
    savemat(tmp_path / "chardata.mat", arrays)
    data = load("omniglot", tmp_path)
    assert data.dynamic and len(data.train) == 20
    np.testing.assert_array_equal(data.test, np.round(255 * test))
    together = np.concatenate([data.train, data.validation]).reshape(n, -1)
    expected = np.round(255 * train).astype(np.uint8).reshape(n, -1)
    assert not np.array_equal(together, expected)
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(expected, axis=0))


def test_caltech(tmp_path: Path) -> None:
    splits = {s: RANDOM.integers(0, 2, (n, 28, 28)) for s, n in SIZES.items()}
    arrays: dict[str, np.ndarray] = {}
    for name, key in (("train", "train"), ("valid", "val"), ("test", "test")):
        rows = splits[name].swapaxes(1, 2).reshape(-1, 784)
        arrays[f"{key}_data"] = rows.astype(float)
        arrays[f"{key}_labels"] = np.arange(1, len(rows) + 1)[:, None].astype(float)
    path = tmp_path / "caltech101_silhouettes_28_split1.mat"
    savemat(path, arrays)
    data = load("caltech", tmp_path)
    for images, name in ((data.train, "train"), (data.validation, "valid"), (data.test, "test")):
        np.testing.assert_array_equal(images, splits[name])
    np.testing.assert_array_equal(data.test_labels, [1, 2, 3])
    savemat(path, {"train_data": np.zeros((2, 784))})
    with pytest.raises(ValueError, match="val_data"):
        load("caltech", tmp_path)


CIFAR_BATCH = 500  # five of them: enough that something is left to train on


def write_cifar(folder: Path, form: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Five training batches and one test batch, [6, N, 32, 32, 3] and [6, N]."""
    planar = images.transpose(0, 1, 4, 2, 3).reshape(6, -1, 3072)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name, rows, pictures, classes in zip(names, planar, images, labels, strict=True):
        path = folder / f"{name}{form}"
        if form == ".bin":
            np.concatenate([classes[:, None], rows], 1).tofile(path)
        elif form == ".png":
            Image.fromarray(pictures.reshape(-1, 1024, 3)).save(path, compress_level=1)
        else:
            path.write_bytes(pickle.dumps({b"data": rows, b"labels": classes.tolist()}, 2))
    if form == ".png":
        (folder / "train_lables.json").write_text(json.dumps(labels[:5].ravel().tolist()))
        (folder / "test_lables.json").write_text(json.dumps(labels[5].tolist()))


@pytest.mark.parametrize("form", ["", ".bin", ".png"])
def test_cifar10(tmp_path: Path, form: str) -> None:
    images = RANDOM.integers(0, 256, (6, CIFAR_BATCH, 32, 32, 3), np.uint8)
    labels = RANDOM.integers(0, 10, (6, CIFAR_BATCH), np.uint8)
    write_cifar(tmp_path, form, images, labels)
    data = load("cifar10", tmp_path)
    left = 5 * CIFAR_BATCH - sets_data.CIFAR_HOLD_OUT
    train = images[:5].reshape(-1, 32, 32, 3)
    np.testing.assert_array_equal(data.train, train[:left])
    np.testing.assert_array_equal(data.validation, train[left:])
    np.testing.assert_array_equal(data.test, images[5])
    np.testing.assert_array_equal(data.train_labels, labels[:5].ravel()[:left])
    np.testing.assert_array_equal(data.test_labels, labels[5])


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "made"),)

    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}").write_bytes(pickle.dumps({b"data": Evil()}, 2))
    (tmp_path / "test_batch").touch()
    with pytest.raises(ValueError, match="not allowed"):
        load("cifar10", tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("dataset", DATASETS)
def test_absent_files_are_named(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(FileNotFoundError, match="below"):
        load(dataset, tmp_path)


def test_an_unknown_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mnist-static"):
        load("mnist", tmp_path)


def test_binarise_draws_with_the_grey_value_as_probability() -> None:
    levels = np.array([0, 64, 191, 255], np.uint8)
    drawn = binarise(levels.repeat(50_000).reshape(4, -1), RANDOM)
    shares = drawn.mean(1)
    assert shares[0] == 0 and shares[3] == 1
    np.testing.assert_allclose(shares, levels / 255, atol=0.01)


@pytest.mark.parametrize(
    ("dataset", "sizes", "share"),
    [
        # Shares of ones: of MNIST's ink, and of the silhouettes' background.
        ("mnist-static", (50_000, 10_000, 10_000), 0.131),
        ("caltech", (4_100, 2_264, 2_307), 0.551),
    ],
)
def test_published_files(
    dataset: str, sizes: tuple[int, ...], share: float, data_dir: Path
) -> None:
    folder = data_dir / "binary"
    if not folder.is_dir():
        pytest.skip(f"no binary sets in {folder}")
    data = load(dataset, folder)
    splits = (data.train, data.validation, data.test)
    assert tuple(map(len, splits)) == sizes
    for images in splits:
        assert images.dtype == np.uint8 and images.flags.writeable and images.max() == 1
        assert images.mean() == pytest.approx(share, abs=0.02)
