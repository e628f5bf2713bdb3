"""Sets of images of one size, as arrays in .npz files or as pictures in folders."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .. import images
from ..errors import BadImageError, UsageError
from ..files import read_bytes
from ..images import Picture
from .container import safe_names

# Formats that keep every pixel, by suffix: what pictures are read from, they are written to again.
SUFFIXES = {
    suffix: form
    for form, suffixes in images.OUTPUT_FORMATS.items()
    if form != "jpeg"
    for suffix in suffixes
}


def read(source: str, colour: bool) -> tuple[np.ndarray, list[str] | None]:
    """The images in a folder, an .npz file, or (-) an .npz file on standard input.

    Args:
        colour: whether pictures in a folder are to be [H, W, 3]; an array is taken as it is.

    Returns:
        uint8 [N, H, W] or [N, H, W, 3], and the names of the pictures, sorted; None for arrays.

    Raises:
        UsageError: nothing to read, or no set of images.
        BadImageError: pictures or arrays that no archive can give back as they are.
    """
    if source != "-" and os.path.isdir(source):
        return _read_folder(Path(source), colour)
    return _read_array(read_bytes(source), source), None


def to_npz(array: np.ndarray) -> bytes:
    """An .npz file with the array `images`."""
    out = io.BytesIO()
    np.savez_compressed(out, images=array)
    return out.getvalue()


def to_pictures(
    array: np.ndarray, names: Sequence[str] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of one file per image; numbered PNG files where there are no names."""
    digits = len(str(len(array) - 1))
    for index, pixels in enumerate(array):
        name = names[index] if names else f"{index:0{digits}d}.png"
        grey = pixels.ndim == 2
        rgb = np.repeat(pixels[..., None], 3, 2) if grey else pixels
        form = SUFFIXES.get(Path(name).suffix.lower(), "png")
        yield name, images.to_bytes(Picture(rgb, grey=grey), form)


def _read_folder(folder: Path, colour: bool) -> tuple[np.ndarray, list[str]]:
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if not names:
        raise UsageError(f"there are no pictures in {folder}")
    if not safe_names(tuple(names)):
        raise UsageError(f"the names in {folder} cannot be kept for every system")
    pictures = [_read_picture(folder / name, colour) for name in names]
    for name, picture in zip(names, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            height, width = picture.shape[:2]
            size = f"{pictures[0].shape[1]} x {pictures[0].shape[0]}"
            raise BadImageError(f"{name} is {width} x {height}, but {names[0]} is {size}")
    return np.stack(pictures), names


def _read_picture(path: Path, colour: bool) -> np.ndarray:
    """[H, W, 3], or [H, W] unless `colour`. Raises BadImageError for what would be lost."""
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise BadImageError(f"{path} is not a file that a picture can be restored to ({known})")
    try:
        picture = images.read(io.BytesIO(read_bytes(str(path))))
    except BadImageError as error:
        raise BadImageError(f"{path}: {error}") from error
    if picture.reduced or picture.alpha is not None:
        what = "16 bits per channel" if picture.reduced else "transparency"
        raise BadImageError(f"{path} has {what}, which an archive does not keep")
    if colour:
        return picture.rgb
    if (picture.rgb != picture.rgb[..., :1]).any():
        raise BadImageError(f"{path} has colours, but the model is for black and white")
    return picture.rgb[..., 0]


def _read_array(data: bytes, source: str) -> np.ndarray:
    where = "standard input" if source == "-" else source
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            array = archive["images"]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise BadImageError(f"{where} is not a readable .npz file") from error
    except KeyError as error:
        raise BadImageError(f"{where} holds no array named images") from error
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        raise BadImageError(
            f"{where}: images is {array.dtype} {list(array.shape)}, "
            "not uint8 [N, H, W] or [N, H, W, 3]"
        )
    return np.ascontiguousarray(array)
