"""Formats by their first bytes, and how Pillow opens each.

The plugins are called directly: `Image.open` depends on the caller's settings (the limit of pixels,
which plugins are registered) and knows formats that start other programs.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ..errors import BadImageError
from .quiet import quiet

OUTPUT_FORMATS = {  # and the suffixes that stand for them, the usual one first
    "png": (".png",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "jpeg": (".jpg", ".jpeg"),
}
# Suffixes of files that folders are searched for; what a file holds is seen from its first bytes.
INPUT_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"),
    *(".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".jxl"),
)

_OPENERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}
READABLE = (*_OPENERS, "MPO")
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\xff\x0a", "JXL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JXL"),
)
_PLUGINS = {  # package, module, class
    "HEIF": ("pillow-heif", "pillow_heif", "HeifImageFile"),
    "JXL": ("pillow-jxl-plugin", "pillow_jxl.JpegXLImagePlugin", "JXLImageFile"),
}
# Files of cameras: what they hold besides raw data is a small picture, which nobody means.
_RAW_MAGIC = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb")
_RAW_BRAND, _CANON_MARK = b"crx ", b"CR"
_DNG_VERSION, _SUB_DIRECTORIES, _COLOUR_FILTERS = 50706, 330, 32803
_NEW_SUBFILE_TYPE, _PHOTOMETRIC, _REDUCED = 254, 262, 1
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")


def identify(data: bytes) -> str:
    """Name of the format. Raises BadImageError for none that is known, and for camera raw."""
    if _is_raw(data):
        raise BadImageError(
            "camera raw files are not read: develop the picture first, with darktable for instance"
        )
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        brands = [data[8:12], *(data[i : i + 4] for i in range(16, _first_box(data), 4))]
        if any(brand in _AVIF_BRANDS for brand in brands):
            return "AVIF"
        if any(brand in _HEIC_BRANDS for brand in brands):
            return "HEIF"
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        return "PPM"
    raise BadImageError("not a picture of a known format")


def _is_raw(data: bytes) -> bool:
    """Whether a camera's raw data are in the file. Many such files are TIFFs that Pillow takes for
    their thumbnail."""
    if data.startswith(_RAW_MAGIC) or data[4:12] == b"ftyp" + _RAW_BRAND:
        return True
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return False
    if data[8:10] == _CANON_MARK:
        return True
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        stream = io.BytesIO(data)
        stream.seek(tags.next)
        with quiet():
            tags.load(stream)
            reduced = bool(tags.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED)
            filtered = tags.get(_PHOTOMETRIC) == _COLOUR_FILTERS
            return _DNG_VERSION in tags or filtered or (reduced and _SUB_DIRECTORIES in tags)
    except Exception:  # the decoder says what is wrong with it
        return False


def is_picture(path: Path) -> bool:
    """Whether the name's suffix belongs to a format that can be read."""
    return path.suffix.lower() in INPUT_SUFFIXES


def open_as(name: str, stream: io.BytesIO) -> Image.Image:
    """A Pillow image of that format, its pixels not read yet.

    Raises BadImageError when the plugin for it is not installed, or whatever Pillow raises for
    damaged data.
    """
    if name == "WEBP":
        stream = _HeadFirst(stream.getvalue())
    opener: Any = _OPENERS.get(name)
    if opener is None:
        opener = _installed(name)
    image: Image.Image = opener(stream)
    return image


def make_room(image: Image.Image) -> None:
    """Make a TIFF's pixels, which Pillow would measure by the caller's limit before."""
    size = getattr(image, "_tile_size", None)
    if size is not None and getattr(image, "_im", image) is None:
        image.im = Image.core.new(image.mode, size)


class _HeadFirst(io.BytesIO):
    """A WebP file that gives Pillow too little at first to apply the caller's limit of pixels."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(16 if size == 30 and self.tell() == 0 else size)


def _first_box(data: bytes) -> int:
    return min(int.from_bytes(data[:4], "big"), len(data), 256)


def _installed(name: str) -> Callable[[io.BytesIO], Image.Image]:
    """Plugins that are packages of their own."""
    package, module, opener = _PLUGINS[name]
    try:
        open_image: Callable[[io.BytesIO], Image.Image] = getattr(import_module(module), opener)
        return open_image
    except ImportError as error:
        raise BadImageError(f"{name} pictures need a plugin: pip install {package}") from error
