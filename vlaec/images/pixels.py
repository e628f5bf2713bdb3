"""Pixels of Pillow images as 8-bit planes: modes, depths, transparent colours."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin

from ..errors import BadImageError
from . import png

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_BAND = 256  # rows that are converted at a time


@dataclass(frozen=True)
class Planes:
    """`rgb` [H, W, 3] uint8; `alpha` [H, W] uint8 or None; `grey`: three equal channels."""

    rgb: np.ndarray
    alpha: np.ndarray | None
    grey: bool


def planes_of(image: Image.Image) -> Planes:
    """The planes of a loaded image. Raises BadImageError for a mode that would lose much."""
    # Pillow reads 16-bit grey files of some formats as 32-bit integers.
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format in ("PNG", "PPM")):
        values = np.asarray(image)  # [H, W]
        alpha = None
        if isinstance(key := image.info.get("transparency"), int):
            alpha = _alpha_of(values != key)
        return Planes(_three(eight_bits(values)), alpha, True)
    if image.mode in ("1", "L", "LA", "La"):
        if image.has_transparency_data:
            both = array_of(image, "LA")  # [H, W, 2]
            return Planes(_three(both[..., 0]), both[..., 1].copy(), True)
        return Planes(_three(array_of(image, "L")), None, True)
    if image.mode in ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr"):
        if image.has_transparency_data:
            four = array_of(image, "RGBA")  # [H, W, 4]
            return Planes(four[..., :3].copy(), four[..., 3].copy(), False)
        return Planes(array_of(image, "RGB"), None, False)
    raise BadImageError(f"colour mode {image.mode} is not supported; convert the picture to RGB")


def planes_of_png(image: PngImagePlugin.PngImageFile, findings: png.PngFindings) -> Planes:
    """The planes of a PNG that was opened and not loaded, its transparent colour not in `image`.

    Pillow cuts 16-bit colours to their high bytes. Reading the file once more as if its bytes were
    swapped gives the low ones, so that the transparent colour is compared at full depth.
    """
    image.load()
    if findings.key is None:
        planes = planes_of(image)
        # Pillow reads 16-bit grey with alpha as RGBA.
        return replace(planes, grey=planes.grey or findings.colour == png.GREY_ALPHA)
    values = np.array(image)
    if findings.colour == png.RGB:
        key = np.array(findings.key)
        shown = (values != (key >> 8 if findings.depth == 16 else key)).any(2)
        if findings.depth == 16:
            shown |= (_low_bytes(findings) != (key & 255)).any(2)
        return Planes(values, _alpha_of(shown), False)
    if findings.depth == 16:
        return Planes(_three(eight_bits(values)), _alpha_of(values != findings.key[0]), True)
    levels = (1 << findings.depth) - 1
    grey = np.array(image.convert("L"))
    return Planes(_three(grey), _alpha_of(grey != findings.key[0] * (255 // levels)), True)


def array_of(image: Image.Image, mode: str) -> np.ndarray:
    """[H, W] or [H, W, C] uint8 of an image in another mode.

    It goes in bands of rows: Pillow's own way would need twice the memory in between.
    """
    image.load()
    channels = Image.getmodebands(mode)
    shape = (image.height, image.width, channels)[: 2 + (channels > 1)]
    out = np.empty(shape, np.uint8)
    for top in range(0, image.height, _BAND):
        bottom = min(top + _BAND, image.height)
        band = image._new(image.im.crop((0, top, image.width, bottom)))
        out[top:bottom] = np.asarray(band if mode == band.mode else band.convert(mode))
    return out


def checksum(image: Image.Image) -> int:
    """CRC32 of all pixels."""
    image.load()
    crc = 0
    for top in range(0, image.height, _BAND):
        bottom = min(top + _BAND, image.height)
        crc = zlib.crc32(image._new(image.im.crop((0, top, image.width, bottom))).tobytes(), crc)
    return crc


def eight_bits(values: np.ndarray) -> np.ndarray:
    """[H, W] or [H, W, C] of 16 bits, rounded to the nearest of 8 bits: 65535 / 255 = 257."""
    out = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _BAND):
        band = values[start : start + _BAND].astype(np.int32)
        out[start : start + _BAND] = np.clip((band + 128) // 257, 0, 255)
    return out


def _low_bytes(findings: png.PngFindings) -> np.ndarray:
    """[H, W, 3] uint8: low bytes of the colours of 16 bits."""
    image = PngImagePlugin.PngImageFile(io.BytesIO(findings.pixels))
    image.tile = [
        ImageFile._Tile(tile.codec_name, tile.extents, tile.offset, "RGB;16L")
        for tile in image.tile
    ]
    return np.array(image)


def _alpha_of(opaque: np.ndarray) -> np.ndarray:
    alpha: np.ndarray = opaque.astype(np.uint8) * np.uint8(255)
    return alpha


def _three(grey: np.ndarray) -> np.ndarray:
    """[H, W] -> [H, W, 3]."""
    return np.repeat(grey[..., None], 3, axis=2)
