"""Pictures out: as Pillow images, and as files with their metadata."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from ..errors import OutputError
from . import exif, formats, icc, png, tiff
from .finish import turned
from .formats import OUTPUT_FORMATS
from .options import Encoded, WriteOptions
from .picture import Picture
from .quiet import quiet

_DEFAULT = WriteOptions()
# Takes half the time of zlib's own choice, for files that are 1 % larger.
_PNG_LEVEL = 4
_JPEG_QUALITY = 95
_MAX_SIDE = {"webp": 16383, "jpeg": 65535}
_JPEG_SEGMENT = 65533  # bytes of a segment's content
_JPEG_LIMITS = {
    "exif": _JPEG_SEGMENT - len(exif.PREFIX),
    "xmp": 65502,
    "icc": 255 * (_JPEG_SEGMENT - 14),
}


def to_pillow(picture: Picture) -> Image.Image:
    """An image of mode L, LA, RGB or RGBA, with the metadata in `info` as Pillow keeps it."""
    colours = picture.rgb[..., :1] if picture.grey else picture.rgb
    planes = [colours] if picture.alpha is None else [colours, picture.alpha[..., None]]
    pixels = np.concatenate(planes, axis=2)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if (profile := _profile(picture.metadata)) is not None:
        image.info["icc_profile"] = profile
    if picture.exif is not None:
        image.info["exif"] = exif.PREFIX + picture.exif
    if picture.xmp is not None:
        image.info["xmp"] = picture.xmp
    return image


def to_bytes(picture: Picture, format: str) -> bytes:
    """Encode as one of OUTPUT_FORMATS; see `encode`."""
    return encode(picture, format).data


def check(
    format: str,
    width: int,
    height: int,
    has_alpha: bool,
    options: WriteOptions = _DEFAULT,
) -> None:
    """Raise OutputError at once for a picture that `encode` would refuse."""
    if format not in OUTPUT_FORMATS:
        raise OutputError(f"cannot write {format}; choose one of {', '.join(OUTPUT_FORMATS)}")
    if format == "jpeg" and has_alpha and options.background is None:
        raise OutputError("JPEG cannot hold transparency; choose png, webp or tiff")
    limit = _MAX_SIDE.get(format)
    if limit is not None and max(width, height) > limit:
        raise OutputError(f"{format} cannot hold this picture (sides above {limit} pixels)")


def encode(picture: Picture, format: str, options: WriteOptions = _DEFAULT) -> Encoded:
    """Encode as one of OUTPUT_FORMATS: PNG, WebP and TIFF without loss, JPEG with.

    Metadata that the format cannot hold is left out and named. Raises OutputError when the format
    cannot hold the picture itself.
    """
    check(format, picture.width, picture.height, picture.alpha is not None, options)
    if format == "jpeg" and picture.alpha is not None and options.background is not None:
        picture = _on_background(picture, options.background)
    blocks = dict(picture.metadata)
    dropped: list[str] = []
    if format == "png":
        return Encoded(_png(picture, blocks))
    if "cicp" in blocks:
        profile = _profile(blocks)
        if profile is None:
            dropped.append("cICP")
        else:
            blocks["icc"] = profile
        del blocks["cicp"]
    for name, limit in _JPEG_LIMITS.items():
        if format == "jpeg" and len(blocks.get(name, b"")) > limit:
            dropped.append(f"{name.upper()} (too long for JPEG)")
            del blocks[name]
    settings: dict[str, Any] = {}
    if format == "jpeg":
        settings = {"quality": options.quality or _JPEG_QUALITY, "subsampling": 0}
    elif format == "webp":
        settings = {"lossless": True, "exact": True}  # exact: colours under full transparency, too
    image = to_pillow(Picture(picture.rgb, picture.alpha, picture.grey))
    while True:
        try:
            if format == "tiff":
                data = _tiff(image, blocks)
            else:
                data = _save(image, format, settings, blocks)
            return Encoded(data, tuple(dropped))
        except MemoryError:
            raise
        except Exception as error:  # broken EXIF: struct.error, SyntaxError, RuntimeError, ...
            left = [name for name in ("exif", "xmp", "icc") if name in blocks]
            if not left:
                raise OutputError(f"{format} cannot hold this picture ({error})") from error
            dropped.append(f"{left[0].upper()} (damaged, or not possible in {format})")
            del blocks[left[0]]


def _save(
    image: Image.Image, format: str, settings: dict[str, Any], blocks: Mapping[str, bytes]
) -> bytes:
    """The file as Pillow writes it. Raises whatever Pillow raises."""
    settings = dict(settings)
    if "icc" in blocks:
        settings["icc_profile"] = blocks["icc"]
    if "exif" in blocks:
        settings["exif"] = exif.PREFIX + blocks["exif"]
    if "xmp" in blocks:
        settings["xmp"] = blocks["xmp"]
    out = io.BytesIO()
    image.save(out, format=format, **settings)
    return out.getvalue()


def _tiff(image: Image.Image, blocks: Mapping[str, bytes]) -> bytes:
    """The file; its EXIF block was checked not to change the picture. Raises at will."""
    pixels = np.asarray(image)
    with quiet():
        data = tiff.encode(pixels.reshape(*pixels.shape[:2], -1), blocks)
        if "exif" in blocks:
            _check_tiff(data, image)
    return data


def _check_tiff(data: bytes, image: Image.Image) -> None:
    """Raise ValueError when tags of the EXIF block have changed the picture.

    Pillow turns a TIFF as its orientation says, so the comparison does the same.
    """
    with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as back:
        formats.make_room(back)
        turn = back.getexif().get(exif.ORIENTATION, 1)
        wanted = turned(np.asarray(image), turn if turn in range(1, 9) else 1)
        if back.mode != image.mode or not np.array_equal(np.asarray(back), wanted):
            raise ValueError("EXIF changes the picture")


def _png(picture: Picture, blocks: Mapping[str, bytes]) -> bytes:
    """A PNG file; metadata is written here, since Pillow alters or refuses some of it."""
    out = io.BytesIO()
    image = to_pillow(Picture(picture.rgb, picture.alpha, picture.grey))
    image.save(out, format="png", compress_level=_PNG_LEVEL)
    data = out.getvalue()
    head = len(png.MAGIC) + 25
    parts: list[bytes | memoryview] = [data[:head]]
    if "cicp" in blocks:
        parts.append(_chunk(b"cICP", blocks["cicp"]))
    if "icc" in blocks:
        parts.append(_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(blocks["icc"])))
    if "exif" in blocks:
        parts.append(_chunk(b"eXIf", blocks["exif"]))
    if "xmp" in blocks:
        parts.append(_chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + blocks["xmp"]))
    return b"".join([*parts, memoryview(data)[head:]]) if len(parts) > 1 else data


def _chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def _profile(metadata: Mapping[str, bytes]) -> bytes | None:
    """The ICC profile, made from code points where there is none or those come first."""
    if "cicp" in metadata and (made := icc.from_cicp(metadata["cicp"])) is not None:
        return made
    return metadata.get("icc")


def _on_background(picture: Picture, background: tuple[int, int, int]) -> Picture:
    """The picture without alpha, its transparency over one colour."""
    assert picture.alpha is not None
    grey = picture.grey and len(set(background)) == 1
    rgb = np.empty_like(picture.rgb)
    colour = np.array(background, np.float32)
    for row in range(picture.height):
        share = picture.alpha[row, :, None].astype(np.float32) / 255
        rgb[row] = np.rint(picture.rgb[row] * share + colour * (1 - share))
    return Picture(rgb, None, grey, picture.metadata)
