"""Readers for the sets of small images, from the file formats in which they are published.

Files are looked for by name below a folder, at any depth; the nearest one counts. Nothing is
downloaded.

- `mnist-static`: Larochelle's fixed binarisation (Larochelle & Murray 2011), as his three
  `binarized_mnist_*.amat` or packed as `static_mnist.npz` (`train`, `valid`, `test`).
- `mnist-dynamic`: grey MNIST, the four idx files, gzipped or not; the last 10 000 training images
  are for validation. Its users binarise at random (Salakhutdinov & Murray 2008).
- `omniglot`: `chardata.mat` (Burda et al. 2015); grey, 1 345 training images are for validation.
- `caltech`: `caltech101_silhouettes_28_split1.mat` (Marlin et al. 2010), in its own splits.
- `cifar10`: Python pickles, binaries, or PNG files 1024 wide with one image per row; the last 2 000
  training images are for validation.
"""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MNIST_SIDE = 28
CIFAR_SIDE = 32
MNIST_HOLD_OUT = 10_000
OMNIGLOT_HOLD_OUT = 1_345
CIFAR_HOLD_OUT = 2_000


@dataclass(frozen=True)
class SetData:
    """One set of images in its splits, uint8, and their classes where they are known.

    Images are [N, H, W] with 0 and 1, or [N, H, W] with 0..255 where `dynamic` (a pixel is 1 with
    probability grey / 255, drawn again each time), or [N, H, W, 3]. Labels are [N] uint8.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    dynamic: bool = False
    train_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None


def load(dataset: str, folder: Path) -> SetData:
    """Read a set, by its name in `DATASETS`, from files below `folder`.

    Raises:
        ValueError: there is no such set, or a file is damaged or of another form.
        FileNotFoundError: the files are not there.
    """
    if dataset not in READERS:
        raise ValueError(f"no set named {dataset!r}; there are {', '.join(DATASETS)}")
    data = READERS[dataset](folder)
    train, validation, test = (
        np.array(images, np.uint8, order="C")  # of their own: contiguous and writable
        for images in (data.train, data.validation, data.test)
    )
    return replace(data, train=train, validation=validation, test=test)


def binarise(grey: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A binary sample of grey images 0..255: a pixel is 1 with probability grey / 255."""
    return (random.integers(0, 255, grey.shape, dtype=np.uint8) < grey).astype(np.uint8)


def _static_mnist(folder: Path) -> SetData:
    packed = _find(folder, "static_mnist.npz")
    if packed is not None:
        with np.load(packed) as file:
            train, validation, test = (
                _square(np.unpackbits(file[split], axis=1), packed)
                for split in ("train", "valid", "test")
            )
    else:
        train, validation, test = (
            _amat(_require(folder, f"binarized_mnist_{split}.amat"))
            for split in ("train", "valid", "test")
        )
    return SetData(train, validation, test, test_labels=_static_test_labels(folder, test))


def _static_test_labels(folder: Path, test: np.ndarray) -> np.ndarray | None:
    """The classes of the static test set. Its rows are those of grey MNIST ordered by digit, which
    is checked: a pixel that is certain (0 or 255) must have been drawn accordingly."""
    if _find_idx(folder, "t10k-images-idx3-ubyte") is None:
        return None
    grey = _idx(folder, "t10k-images-idx3-ubyte")
    labels = _idx(folder, "t10k-labels-idx1-ubyte")
    order = np.argsort(labels, kind="stable")
    if grey.shape != test.shape or labels.shape != test.shape[:1]:
        return None
    grey = grey[order]
    agree = np.where(test == 1, grey > 0, grey < 255).all()
    return labels[order] if agree else None


def _dynamic_mnist(folder: Path) -> SetData:
    images = _idx(folder, "train-images-idx3-ubyte")
    labels = _idx(folder, "train-labels-idx1-ubyte")
    held_out = slice(-MNIST_HOLD_OUT, None)
    rest = slice(None, -MNIST_HOLD_OUT)
    return SetData(
        images[rest],
        images[held_out],
        _idx(folder, "t10k-images-idx3-ubyte"),
        dynamic=True,
        train_labels=labels[rest],
        test_labels=_idx(folder, "t10k-labels-idx1-ubyte"),
    )


def _matlab(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a MATLAB file by name.

    Raises:
        ImportError: scipy is missing.
        ValueError: the file is not one of MATLAB 4 to 7.2, or damaged.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError("Caltech and OMNIGLOT need scipy: pip install 'vlaec[bench]'") from error
    try:
        arrays: dict[str, np.ndarray] = loadmat(path)
    except Exception as error:  # whatever damage may lead to
        raise ValueError(f"{path} cannot be read as a MATLAB file: {error}") from error
    return arrays


def _omniglot(folder: Path) -> SetData:
    path = _require(folder, "chardata.mat")
    arrays = _matlab(path)
    train, test = (  # stored in columns, each image column by column, in [0, 1]
        _square(np.round(255 * _array(arrays, name, path).T).astype(np.uint8), path).swapaxes(1, 2)
        for name in ("data", "testdata")
    )
    # Its rows are ordered by alphabet: a fixed shuffle, so that all are held out from alike.
    order = np.random.Generator(np.random.Philox(0)).permutation(len(train))
    train = train[order]
    return SetData(train[:-OMNIGLOT_HOLD_OUT], train[-OMNIGLOT_HOLD_OUT:], test, dynamic=True)


def _caltech(folder: Path) -> SetData:
    path = _require(folder, "caltech101_silhouettes_28_split1.mat")
    arrays = _matlab(path)
    train, validation, test = (  # each image is stored column by column
        _square(_array(arrays, f"{split}_data", path), path).swapaxes(1, 2)
        for split in ("train", "val", "test")
    )
    train_labels, test_labels = (
        _array(arrays, f"{split}_labels", path).ravel().astype(np.uint8)
        for split in ("train", "test")
    )
    return SetData(train, validation, test, train_labels=train_labels, test_labels=test_labels)


def _cifar10(folder: Path) -> SetData:
    for suffix, read in _CIFAR_FORMS.items():
        if (last := _find(folder, f"test_batch{suffix}")) is not None:
            parts = [read(_require(folder, f"data_batch_{i}{suffix}"), i - 1) for i in range(1, 6)]
            test, test_labels = read(last, None)
            break
    else:
        raise FileNotFoundError(f"no test_batch, test_batch.bin or test_batch.png below {folder}")
    images = np.concatenate([part[0] for part in parts])
    labels = np.concatenate([part[1] for part in parts])
    held_out = slice(-CIFAR_HOLD_OUT, None)
    rest = slice(None, -CIFAR_HOLD_OUT)
    return SetData(
        images[rest],
        images[held_out],
        test,
        train_labels=labels[rest],
        test_labels=test_labels,
    )


READERS: dict[str, Callable[[Path], SetData]] = {
    "mnist-static": _static_mnist,
    "mnist-dynamic": _dynamic_mnist,
    "omniglot": _omniglot,
    "caltech": _caltech,
    "cifar10": _cifar10,
}
DATASETS = tuple(READERS)


def _find(folder: Path, name: str) -> Path | None:
    """The file of this name that is nearest below `folder`."""
    paths = sorted(folder.rglob(name), key=lambda path: (len(path.parts), path))
    return paths[0] if paths else None


def _require(folder: Path, name: str) -> Path:
    path = _find(folder, name)
    if path is None:
        raise FileNotFoundError(f"no {name} below {folder}")
    return path


def _square(rows: np.ndarray, path: Path) -> np.ndarray:
    """[N, 784] -> [N, 28, 28]."""
    if rows.ndim != 2 or rows.shape[1] != MNIST_SIDE**2:
        raise ValueError(f"{path} does not hold images of {MNIST_SIDE}x{MNIST_SIDE}")
    return rows.reshape(-1, MNIST_SIDE, MNIST_SIDE)


def _array(arrays: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f"{path} has no array {name!r}")
    return arrays[name]


def _amat(path: Path) -> np.ndarray:
    """Larochelle's text form: one image per line, digits 0 and 1 apart from each other."""
    text = np.frombuffer(path.read_bytes(), np.uint8)
    digits = text[text > ord(" ")] - ord("0")  # beyond the blanks; below "0" wraps around
    if digits.size % MNIST_SIDE**2 or (digits > 1).any():
        raise ValueError(f"{path} does not hold images of {MNIST_SIDE}x{MNIST_SIDE} in 0 and 1")
    return digits.reshape(-1, MNIST_SIDE, MNIST_SIDE)


def _find_idx(folder: Path, name: str) -> Path | None:
    return _find(folder, name) or _find(folder, f"{name}.gz")


def _idx(folder: Path, name: str) -> np.ndarray:
    """A uint8 array of any rank in LeCun's idx format, from `name` or `name`.gz."""
    path = _find_idx(folder, name)
    if path is None:
        raise FileNotFoundError(f"no {name} or {name}.gz below {folder}")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if data[:3] != b"\0\0\x08":  # the third byte says uint8, the fourth is the rank
            raise ValueError("no idx file of uint8")
        rank = data[3]
        shape = np.frombuffer(data, ">u4", rank, 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (EOFError, gzip.BadGzipFile, IndexError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


Batch = tuple[np.ndarray, np.ndarray]  # images [N, 32, 32, 3] and labels [N]


def _cifar_pickle(path: Path, _part: int | None) -> Batch:
    with open(path, "rb") as file:
        try:
            values = _ArrayUnpickler(file, encoding="bytes").load()
            return _planar(values[b"data"]), np.array(values[b"labels"], np.uint8)
        except (EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error


class _ArrayUnpickler(pickle.Unpickler):
    """Only arrays and plain values: a pickle may otherwise run any code."""

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "_frombuffer"})

    def find_class(self, module: str, name: str) -> Any:
        if module == "_codecs" and name == "encode":
            return super().find_class(module, name)
        if module.split(".")[0] == "numpy" and name in self.ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a set of images")


def _cifar_binary(path: Path, _part: int | None) -> Batch:
    rows = np.fromfile(path, np.uint8)
    if rows.size % (1 + 3 * CIFAR_SIDE**2):
        raise ValueError(f"{path} is damaged")
    rows = rows.reshape(-1, 1 + 3 * CIFAR_SIDE**2)
    return _planar(rows[:, 1:]), rows[:, 0]


def _cifar_png(path: Path, part: int | None) -> Batch:
    """Labels are next to the pictures in JSON, all of the training set in one file."""
    with Image.open(path) as picture:
        images = np.asarray(picture.convert("RGB"))
    if images.shape[1] != CIFAR_SIDE**2:
        raise ValueError(f"{path} is not {CIFAR_SIDE**2} pixels wide")
    images = images.reshape(-1, CIFAR_SIDE, CIFAR_SIDE, 3)
    split = "test" if part is None else "train"
    labels = np.array(json.loads((path.parent / f"{split}_lables.json").read_text()), np.uint8)
    start = (part or 0) * len(images)
    return images, labels[start : start + len(images)]


def _planar(rows: np.ndarray) -> np.ndarray:
    """[N, 3072], red before green before blue -> [N, 32, 32, 3]."""
    return np.ascontiguousarray(rows.reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE).transpose(0, 2, 3, 1))


_CIFAR_FORMS: dict[str, Callable[[Path, int | None], Batch]] = {
    "": _cifar_pickle,
    ".bin": _cifar_binary,
    ".png": _cifar_png,
}
