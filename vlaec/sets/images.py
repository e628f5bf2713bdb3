"""Sets of images of one size, as arrays in .npz files or as pictures in folders."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from .. import images
from ..errors import BadImageError, UsageError
from ..files import read_bytes
from ..images import Picture
from ..limits import MAX_VALUES
from .container import safe_names

# Formats that keep every pixel, by suffix: what pictures are read from, they are written to again.
SUFFIXES = {
    suffix: form
    for form, suffixes in images.OUTPUT_FORMATS.items()
    if form != "jpeg"
    for suffix in suffixes
}


class ImageSet(NamedTuple):
    """`array` uint8 [N, H, W] or [N, H, W, 3]; `names` of the pictures, sorted, None for arrays;
    `notes`: what of the pictures is not kept, in words."""

    array: np.ndarray
    names: list[str] | None
    notes: list[str]


def read(source: str, colour: bool) -> ImageSet:
    """The images in a folder, an .npz file, or (-) an .npz file on standard input.

    Args:
        colour: whether pictures in a folder are to be [H, W, 3]; an array is taken as it is.

    Raises:
        UsageError: nothing to read, or no set of images.
        BadImageError: pictures or arrays that no archive can give back as they are.
    """
    if source != "-" and os.path.isdir(source):
        return _read_folder(Path(source), colour)
    return ImageSet(read_array(read_bytes(source), source), None, [])


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


def _read_folder(folder: Path, colour: bool) -> ImageSet:
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if not names:
        raise UsageError(f"there are no pictures in {folder}")
    if not safe_names(tuple(names)):
        raise UsageError(f"the names in {folder} cannot be kept for every system")
    arrays, lost = [], dict[str, int]()
    for name in names:
        picture = _read_picture(folder / name)
        arrays.append(_pixels(folder / name, picture, colour))
        kept = [f"{block.upper()} blocks" for block in picture.metadata]
        for what in dict.fromkeys([*kept, *picture.dropped]):
            lost[what] = lost.get(what, 0) + 1
        if arrays[-1].shape != arrays[0].shape:
            height, width = arrays[-1].shape[:2]
            size = f"{arrays[0].shape[1]} x {arrays[0].shape[0]}"
            raise BadImageError(f"{name} is {width} x {height}, but {names[0]} is {size}")
        if len(names) * arrays[0].size > MAX_VALUES:
            raise BadImageError(f"the images have more than {MAX_VALUES} values together")
    notes = [f"not kept: {what} of {count} pictures" for what, count in lost.items()]
    return ImageSet(np.stack(arrays), names, notes)


def _read_picture(path: Path) -> Picture:
    """Raises BadImageError for what would be lost of how the picture looks."""
    if path.suffix.lower() not in SUFFIXES:
        formats = ", ".join(SUFFIXES)
        raise BadImageError(f"{path} is not a file that a picture can be restored to ({formats})")
    try:
        picture = images.read(read_bytes(str(path)))
    except BadImageError as error:
        raise BadImageError(f"{path}: {error}") from error
    losses = {
        "more than 8 bits (16 bits) per channel": picture.reduced,
        "transparency": picture.alpha is not None and picture.alpha.min() < 255,
        "an orientation in its EXIF block": images.orientation(picture) != 1,
        "an ICC profile": "icc" in picture.metadata,
        "colour code points (cICP)": "cicp" in picture.metadata,
    }
    for what, present in losses.items():
        if present:
            raise BadImageError(f"{path} has {what}, which an archive does not keep")
    return picture


def _pixels(path: Path, picture: Picture, colour: bool) -> np.ndarray:
    """[H, W, 3], or [H, W] unless `colour`."""
    if colour:
        return picture.rgb
    if (picture.rgb != picture.rgb[..., :1]).any():
        raise BadImageError(f"{path} has colours, but the model is for black and white")
    return picture.rgb[..., 0]


def read_array(data: bytes, source: str) -> np.ndarray:
    """The array `images` of an .npz file, read in pieces so that no header can claim memory."""
    where = "standard input" if source == "-" else source
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if "images.npy" not in names:
                raise BadImageError(f"{where} holds no array named images")
            with archive.open("images.npy") as stream:
                return _checked_array(stream, where)
    except (BadImageError, MemoryError):
        raise
    except Exception as error:  # zlib.error, struct.error, NotImplementedError, AttributeError, ...
        raise BadImageError(f"{where} is not a readable .npz file") from error


def _checked_array(stream: IO[bytes], where: str) -> np.ndarray:
    version = np.lib.format.read_magic(stream)
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, by_columns, dtype = header(stream)
    if dtype.hasobject:
        raise ValueError("pickled objects")
    if dtype != np.uint8 or len(shape) not in (3, 4):
        raise BadImageError(
            f"{where}: images is {dtype} {list(shape)}, not uint8 [N, H, W] or [N, H, W, 3]"
        )
    size = math.prod(shape)
    if size > MAX_VALUES:
        raise BadImageError(f"{where}: the images have more than {MAX_VALUES} values together")
    values = bytearray()
    while len(values) <= size and (part := stream.read(min(size + 1 - len(values), 2**20))):
        values += part
    if len(values) != size:
        raise BadImageError(f"{where} is not a readable .npz file")
    array = np.frombuffer(values, np.uint8).reshape(shape, order="F" if by_columns else "C")
    return np.ascontiguousarray(array)
