"""What callers hold, as a `Picture` or as bytes, and pictures as what callers want."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from . import images
from .errors import BadImageError, UsageError
from .images import Picture, ReadOptions
from .options import CompressOptions

_READING = ReadOptions()
_TYPES = (
    "a Pillow image, a path, bytes, a binary stream, an array [H, W] or [H, W, 3 or 4] of uint8 or "
    "uint16, or a tensor [3, H, W]"
)


def read_options(options: CompressOptions) -> ReadOptions:
    """How pictures are read, among the options of compressing them."""
    names = ReadOptions.__dataclass_fields__
    return ReadOptions(**{name: getattr(options, name) for name in names})


def as_picture(image: Any, reading: ReadOptions = _READING) -> Picture:
    """A picture from anything that stands for one; see `vlaec.compress`.

    Raises:
        BadImageError: it is of no such kind, or what it holds is no picture.
        UsageError: a path that cannot be read.
    """
    if isinstance(image, Picture):
        reading.check_size(image.width, image.height)
        return image
    if isinstance(image, Image.Image):
        return images.from_pillow(image, reading)
    if isinstance(image, np.ndarray):
        return from_array(image, reading)
    if _is_tensor(image):
        return from_array(_tensor_to_array(image), reading)
    otherwise = BadImageError(f"expected {_TYPES}, not {_name(image)}")
    return images.read(as_bytes(image, otherwise), reading)


def as_bytes(data: Any, otherwise: Exception | None = None) -> bytes:
    """The content of a file from its bytes, its path or a binary stream.

    Raises:
        UsageError: a path that cannot be read, or `otherwise` in place of it for another type.
    """
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if isinstance(data, (str, os.PathLike)):
        try:
            return Path(data).read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"cannot read {os.fspath(data)!r}: {reason}") from error
    if hasattr(data, "read"):
        try:
            content = data.read()
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise UsageError(f"cannot read the stream: {error}") from error
        if isinstance(content, (bytes, bytearray)):
            return bytes(content)
        raise UsageError("the stream gives text; open it in binary mode")
    raise otherwise or UsageError(f"expected bytes, a path or a binary stream, not {_name(data)}")


def from_array(pixels: np.ndarray, reading: ReadOptions = _READING) -> Picture:
    """A picture from [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], uint8 or uint16.

    Raises BadImageError for other shapes and types, and for a picture beyond the limits.
    """
    if np.ma.isMaskedArray(pixels):
        raise BadImageError("a masked array has no values where it is masked: fill it first")
    pixels = np.asarray(pixels)  # of subclasses, such as np.matrix, the plain array
    channels = 1 if pixels.ndim == 2 else pixels.shape[-1]
    if pixels.ndim not in (2, 3) or channels not in (1, 3, 4):
        shape = list(pixels.shape)
        raise BadImageError(f"an array must be [H, W] or [H, W, 3 or 4], not {shape}")
    reading.check_size(pixels.shape[1], pixels.shape[0])
    if pixels.dtype not in (np.uint8, np.uint16):
        raise BadImageError(f"an array must hold uint8 or uint16, not {pixels.dtype}")
    reduced = pixels.dtype == np.uint16
    if reduced:  # 65535 / 255 = 257: rounds to the nearest
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    planes = pixels.reshape(*pixels.shape[:2], channels)
    rgb = np.repeat(planes, 3, 2) if channels == 1 else planes[..., :3].copy()
    alpha = planes[..., 3].copy() if channels == 4 else None
    return Picture(rgb, alpha, channels == 1, reduced=reduced)


def from_picture(picture: Picture, kind: str) -> Any:
    """A picture as `kind`: "pil", "numpy", "torch" or "picture"; see `vlaec.decompress`."""
    if kind == "picture":
        return picture
    if kind == "pil":
        return images.to_pillow(picture)
    planes = picture.rgb
    if picture.alpha is not None:
        planes = np.concatenate([planes, picture.alpha[..., None]], axis=2)
    if kind == "numpy":
        return planes
    torch = _torch()
    return torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1)))


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise UsageError("as_='torch' needs torch: pip install 'vlaec[torch]'") from error
    return torch


def _is_tensor(value: Any) -> bool:
    """Whether it is a tensor of torch, which must not be imported to find out."""
    kind = type(value)
    return any(base.__module__ == "torch" and base.__name__ == "Tensor" for base in kind.__mro__)


def _tensor_to_array(tensor: Any) -> np.ndarray:
    """[C, H, W] uint8 or floats from 0 to 1 as [H, W, C] uint8. Raises BadImageError."""
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4):
        shape = list(tensor.shape)
        raise BadImageError(f"a tensor must be [3, H, W], or [1 or 4, H, W], not {shape}")
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized or tensor.is_meta:
        raise BadImageError("a tensor must hold plain values, not sparse, quantised or none")
    if tensor.is_floating_point():
        values = tensor.detach().double().cpu().numpy()
        if not (values.size and values.min() >= 0 and values.max() <= 1):  # refuses nan, too
            raise BadImageError("a tensor of floats must hold values from 0 to 1")
        values = np.rint(values * 255).astype(np.uint8)
    else:
        values = tensor.detach().cpu().numpy()
        if values.dtype != np.uint8:
            raise BadImageError(f"a tensor must hold uint8 or floats, not {tensor.dtype}")
    array: np.ndarray = np.ascontiguousarray(values.transpose(1, 2, 0))
    return array


def _name(value: Any) -> str:
    return f"a {type(value).__name__}"
