"""Pictures in and out, through Pillow: modes, alpha, metadata, limits.

What the codec sees is always 8 bits and three channels; what it must give back is in `Picture`.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from .errors import BadFileError, BadImageError, OutputError
from .photo.container import MAX_PIXELS

# No EPS, PDF or the like: those start other programs.
INPUT_FORMATS = ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM"]
# By what folders of pictures are searched for.
INPUT_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff"),
    *(".bmp", ".gif", ".jp2", ".ppm", ".pgm"),
)
OUTPUT_FORMATS = {  # and the suffixes that stand for them, the usual one first
    "png": (".png",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "jpeg": (".jpg", ".jpeg"),
}

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_EXIF_PREFIX = b"Exif\x00\x00"


def is_picture(path: Path) -> bool:
    """Whether the name's suffix is that of a format that can be read."""
    return Image.registered_extensions().get(path.suffix.lower()) in INPUT_FORMATS


@dataclass(frozen=True)
class Picture:
    """An 8-bit picture with all that is kept besides its colours.

    `rgb` [H, W, 3] uint8, three equal channels when `grey`; `alpha` [H, W] uint8 or None;
    `exif` without the "Exif" prefix of JPEG; `reduced`: it had 16 bits per channel before.
    Raises ValueError when an array has another shape or type.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    reduced: bool = False

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ValueError(f"rgb is {self.rgb.dtype} {self.rgb.shape}, not uint8 [H, W, 3]")
        if self.alpha is not None and (
            self.alpha.shape != self.rgb.shape[:2] or self.alpha.dtype != np.uint8
        ):
            raise ValueError(f"alpha is {self.alpha.dtype} {self.alpha.shape}, not uint8 [H, W]")

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])


def read(source: str | os.PathLike[str] | BinaryIO) -> Picture:
    """Read a picture from a path or a binary stream.

    Metadata is kept from PNG, JPEG, WebP and AVIF; from other formats Pillow may tell less of it.
    Raises OSError when the path cannot be opened, BadImageError on everything that is wrong with
    what is in it: no picture, truncated, too large, several frames, a mode that would lose much.
    """
    data = source.read() if hasattr(source, "read") else Path(source).read_bytes()
    if not data:
        raise BadImageError("the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns at a third of MAX_PIXELS, fails at two
        try:
            with Image.open(io.BytesIO(data), formats=INPUT_FORMATS) as image:
                return from_pillow(image)
        except (BadImageError, MemoryError):
            raise
        except Image.UnidentifiedImageError as error:
            raise BadImageError("not a picture of a known format") from error
        except Image.DecompressionBombError as error:
            raise BadImageError("the picture claims too many pixels") from error
        except Exception as error:  # Pillow's decoders raise whatever broken data leads them to
            raise BadImageError(f"the picture is damaged or truncated ({error})") from error


def from_pillow(image: Image.Image) -> Picture:
    """Convert a Pillow image, loading it if need be. Raises BadImageError, or Pillow's own errors
    when the image is still to be read from a damaged file."""
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        raise BadImageError(f"too large: {size} exceeds the limit of {MAX_PIXELS} pixels")
    if image.width == 0 or image.height == 0:
        raise BadImageError("the picture has no pixels")
    # A phone's JPEG often carries previews as further frames (MPO); the first one is the picture.
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise BadImageError(f"animations are not supported ({frames} frames or pages)")
    sixteen = any(";16" in str(tile) for tile in getattr(image, "tile", ()))
    image.load()
    metadata: dict[str, Any] = {
        "icc": _as_bytes(image.info.get("icc_profile")),
        "exif": _as_bytes(image.info.get("exif")),
        "xmp": _as_bytes(image.info.get("xmp")),
    }
    if metadata["exif"] is not None:
        metadata["exif"] = metadata["exif"].removeprefix(_EXIF_PREFIX)

    # Pillow reads 16-bit grey files of some formats as 32-bit integers.
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format in ("PNG", "PPM")):
        values = np.asarray(image).astype(np.int32)  # [H, W]
        alpha = None
        if isinstance(transparent := image.info.get("transparency"), int):
            alpha = np.where(values == transparent, 0, 255).astype(np.uint8)
        grey = ((values + 128) // 257).astype(np.uint8)  # 65535 / 255 = 257: rounds to nearest
        return Picture(_three(grey), alpha, True, **metadata, reduced=True)
    if image.mode in ("1", "L", "LA"):
        if image.has_transparency_data:
            both = np.array(image.convert("LA"))  # [H, W, 2]
            return Picture(_three(both[..., 0]), both[..., 1].copy(), True, **metadata)
        return Picture(_three(np.array(image.convert("L"))), None, True, **metadata)
    if image.mode in ("P", "PA", "RGB", "RGBA"):
        if image.has_transparency_data:
            four = np.array(image.convert("RGBA"))  # [H, W, 4]
            rgb, alpha = four[..., :3].copy(), four[..., 3].copy()
            return Picture(rgb, alpha, False, **metadata, reduced=sixteen)
        return Picture(np.array(image.convert("RGB")), None, False, **metadata, reduced=sixteen)
    raise BadImageError(f"colour mode {image.mode} is not supported; convert the picture to RGB")


def to_pillow(picture: Picture) -> Image.Image:
    """An image of mode L, LA, RGB or RGBA, with the metadata in `info` as Pillow keeps it."""
    colours = picture.rgb[..., :1] if picture.grey else picture.rgb
    planes = [colours] if picture.alpha is None else [colours, picture.alpha[..., None]]
    pixels = np.concatenate(planes, axis=2)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if picture.icc is not None:
        image.info["icc_profile"] = picture.icc
    if picture.exif is not None:
        image.info["exif"] = _EXIF_PREFIX + picture.exif
    if picture.xmp is not None:
        image.info["xmp"] = picture.xmp
    return image


def to_bytes(picture: Picture, format: str) -> bytes:
    """Encode as one of OUTPUT_FORMATS: PNG, WebP and TIFF without loss, JPEG at quality 95.

    Raises OutputError when the format cannot hold the picture.
    """
    if format == "jpeg" and picture.alpha is not None:
        raise OutputError("JPEG cannot hold transparency; choose png, webp or tiff")
    choices: dict[str, dict[str, Any]] = {
        "png": {},
        "webp": {"lossless": True, "exact": True},  # exact: colours under full transparency, too
        "tiff": {"compression": "tiff_deflate"},
        "jpeg": {"quality": 95, "subsampling": 0},
    }
    options = choices[format]
    image = to_pillow(picture)
    for key in ("icc_profile", "exif", "xmp"):
        if key in image.info:
            options[key] = image.info[key]
    if picture.xmp is not None and format == "png":  # Pillow takes XMP here only as plain text
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", picture.xmp.decode("utf-8", "replace"))
    if picture.xmp is not None and format == "tiff":  # and here as one tag among those of EXIF
        tags = Image.Exif()
        tags.load(image.info.get("exif", b""))
        tags[ExifTags.Base.XMLPacket] = picture.xmp
        options["exif"] = tags
    out = io.BytesIO()
    try:
        image.save(out, format=format, **options)
    except (OSError, ValueError) as error:  # WebP ends at 16383 pixels, JPEG at 64 KiB of EXIF
        raise OutputError(f"{format} cannot hold this picture ({error})") from error
    return out.getvalue()


def encode_alpha(alpha: np.ndarray) -> bytes:
    """The plane [H, W] uint8 as a grey PNG."""
    out = io.BytesIO()
    Image.fromarray(alpha).save(out, format="png", optimize=True)
    return out.getvalue()


def decode_alpha(data: bytes, width: int, height: int) -> np.ndarray:
    """Inverse of `encode_alpha`: [height, width] uint8. Raises BadFileError if it is not that."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode != "L" or image.size != (width, height):
                raise ValueError("other size or mode")
            return np.array(image)
    except MemoryError:
        raise
    except Exception as error:  # as in `read`
        raise BadFileError("damaged file: bad alpha plane") from error


def _three(grey: np.ndarray) -> np.ndarray:
    """[H, W] -> [H, W, 3]."""
    return np.repeat(grey[..., None], 3, axis=2)


def _as_bytes(value: Any) -> bytes | None:
    """Metadata as Pillow's readers leave it: bytes, text or nothing; empty counts as nothing."""
    if isinstance(value, str):
        value = value.encode()
    return bytes(value) if isinstance(value, (bytes, bytearray)) and value else None
