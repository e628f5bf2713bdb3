"""Sets of images: damaged arrays are one error, and what an archive would lose is said."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pictures import chunk, exif_block, png, smooth, stored
from PIL import Image

from vlaec.errors import BadImageError, UsageError
from vlaec.sets import images as image_sets

SET = (np.random.default_rng(0).integers(0, 2, (6, 9, 7)) * 255).astype(np.uint8)


def npz(array: np.ndarray = SET, squeezed: bool = True) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if squeezed else np.savez)(out, images=array)
    return out.getvalue()


def read(data: bytes, folder: Path) -> np.ndarray:
    path = folder / "set.npz"
    path.write_bytes(data)
    return image_sets.read(str(path), colour=False).array


@pytest.mark.parametrize("squeezed", [False, True])
def test_damaged_arrays_are_one_error(tmp_path: Path, squeezed: bool) -> None:
    """zlib.error, NotImplementedError, struct.error and others come out of zipfile and numpy."""
    data = npz(squeezed=squeezed)
    rng = np.random.default_rng(1)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= rng.integers(1, 256)
        with contextlib.suppress(BadImageError):
            assert np.array_equal(read(bytes(damaged), tmp_path), SET)
    for length in range(0, len(data), 5):
        with pytest.raises(BadImageError):
            read(data[:length], tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_of_zip(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(io.BytesIO(npz())) as archive:
        content = archive.read("images.npy")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("images.npy", content)
    assert np.array_equal(read(out.getvalue(), tmp_path), SET)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_both_orders(tmp_path: Path, order: str) -> None:
    assert np.array_equal(read(npz(np.array(SET, order=order)), tmp_path), SET)


def test_claims_of_size_cost_nothing(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (2**20, 2**10, 2**10)}
    )
    for shape in (head.getvalue(), head.getvalue().replace(b"1048576, ", b"2, ")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("images.npy", shape)
        with pytest.raises(BadImageError):
            read(out.getvalue(), tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (stored(Image.fromarray(smooth()), "png", exif=b"Exif\0\0" + exif_block()), "orientation"),
        (stored(Image.fromarray(smooth()), "png", icc_profile=b"profile"), "ICC profile"),
        (png(smooth(), before=chunk(b"cICP", bytes([12, 13, 0, 1]))), "colour code points"),
        (png(smooth().astype(int) * 257, 16), "16 bits"),
        (stored(Image.new("RGBA", (56, 40)), "png"), "transparency"),
        (png(smooth(), keep=0.5), "truncated"),
    ],
)
def test_what_changes_the_look_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(BadImageError, match=message):
        image_sets.read(str(tmp_path), colour=True)


def test_other_metadata_is_named(tmp_path: Path) -> None:
    for name in "ab":
        exif = exif_block({0x010F: "maker"})
        data = png(smooth(), before=chunk(b"eXIf", exif) + chunk(b"tEXt", b"Title\0x"))
        (tmp_path / f"{name}.png").write_bytes(data)
    (tmp_path / "c.png").write_bytes(png(smooth()))
    array, names, notes = image_sets.read(str(tmp_path), colour=True)
    assert names == ["a.png", "b.png", "c.png"] and array.shape == (3, 40, 56, 3)
    assert notes == [
        "not kept: EXIF blocks of 2 pictures",
        "not kept: text (Title) of 2 pictures",
    ]


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be made there")
def test_names_that_other_systems_cannot_hold(tmp_path: Path) -> None:
    for name in ("NUL.png", "a?.png"):
        path = tmp_path / name
        path.write_bytes(png(smooth()))
        with pytest.raises(UsageError, match="every system"):
            image_sets.read(str(tmp_path), colour=True)
        path.unlink()
