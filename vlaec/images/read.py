"""Pictures in: from files, and from Pillow images of the API's callers.

Every format is scanned for what it says apart from its pixels; Pillow decodes the pixels. What
cannot be kept is named in the picture's `dropped`, what was converted in its `notes`.
"""

from __future__ import annotations

import contextlib
import io
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from ..errors import BadImageError, UsageError
from . import colour, exif, formats, isobmff, jpeg, others, png
from .findings import Findings
from .finish import finish as _finish
from .options import STRIPPABLE, ReadOptions
from .picture import Picture
from .pixels import Planes, checksum, planes_of, planes_of_png
from .quiet import quiet

_DEFAULT = ReadOptions()
_INFO_KEYS = (("icc", "icc_profile"), ("exif", "exif"), ("xmp", "xmp"))


def read(
    source: str | os.PathLike[str] | BinaryIO | bytes, options: ReadOptions = _DEFAULT
) -> Picture:
    """Read a picture from a path, a binary stream or bytes.

    Raises OSError when the path cannot be opened, BadImageError on everything that is wrong with
    what is in it: no picture, truncated, too large, several frames, a mode that would lose much.
    """
    _check(options)
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, (str, os.PathLike)):
        data = Path(source).read_bytes()
    else:
        data = source.read()
    if not data:
        raise BadImageError("the file is empty")
    try:
        return _finish(*_decode(data, options), options)
    except (BadImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise whatever broken data leads them to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadImageError(f"the picture is damaged or truncated ({reason})") from error


def from_pillow(image: Image.Image, options: ReadOptions = _DEFAULT) -> Picture:
    """Convert a Pillow image, loading it if need be.

    An image that was opened and not read yet is read again from its file, which says more than
    Pillow does; metadata that the caller has changed in `image.info` counts.
    Raises BadImageError.
    """
    _check(options)
    options.check_size(image.width, image.height)
    try:
        data = _unread(image)
        if data is not None:
            planes, findings, reduced = _decode(data, options)
            if planes.rgb.shape[1::-1] == image.size:
                if image.format == "PNG":  # Pillow finds what follows the rows after loading
                    with contextlib.suppress(Exception):
                        image.load()
                _replace_info(findings, image)
                return _finish(planes, findings, reduced, options)
        return _finish(*_as_it_stands(image, options), options)
    except (BadImageError, MemoryError):
        raise
    except Exception as error:  # as in `read`
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadImageError(f"the picture is damaged or truncated ({reason})") from error


def _check(options: ReadOptions) -> None:
    unknown = set(options.strip) - set(STRIPPABLE)
    if unknown:
        raise UsageError(f"cannot strip {', '.join(sorted(unknown))}: {', '.join(STRIPPABLE)}")


def _decode(data: bytes, options: ReadOptions) -> tuple[Planes, Findings, bool]:
    """Planes, what else the file says, and whether bits were lost."""
    name = formats.identify(data)
    if name == "PNG":
        return _decode_png(data, options)
    depth = 8
    if name == "JPEG":
        findings: Findings = jpeg.scan(data)
    elif name in ("AVIF", "HEIF"):
        findings, depth = isobmff.scan_heif(data)
    elif name == "JPEG2000":
        isobmff.check_codestream(data)
        findings, depth = isobmff.scan_jp2(data)
    else:
        findings = Findings(data)
    stream = _StrictStream(findings.pixels)
    with _quiet(name), formats.open_as(name, stream) as image:
        options.check_size(image.width, image.height)
        _choose_frame(image, options)
        if isinstance(findings, jpeg.JpegFindings):
            _check_whole(findings, image)
        reduced = depth > 8 or any(";16" in str(tile) for tile in getattr(image, "tile", ()))
        reduced = reduced or others.is_deep(name, image)
        if name == "TIFF":
            formats.make_room(image)
        stream.strict = name != "JPEG2000"  # whose decoder reads up to the end of any file
        image.load()
        others.note(findings, name, image, data)
        if name != "JPEG":  # the scan has them all
            _take_info(findings, image)
        return _planes(image, findings), findings, reduced or image.mode.startswith("I")


def _quiet(name: str) -> AbstractContextManager[None]:
    """Silence for the formats that Pillow warns about."""
    return quiet() if name in ("TIFF", "GIF", "HEIF", "JXL") else contextlib.nullcontext()


def _decode_png(data: bytes, options: ReadOptions) -> tuple[Planes, Findings, bool]:
    findings = png.scan(data)
    options.check_size(findings.width, findings.height)
    if findings.animated and options.frame:
        with quiet(), PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
            _choose_frame(image, options)
            return planes_of(image), findings, findings.depth == 16
    png.check_rows(findings)
    said = quiet() if findings.animated else contextlib.nullcontext()  # a broken count of frames
    with said, PngImagePlugin.PngImageFile(_StrictStream(findings.pixels)) as image:
        _choose_frame(image, options)
        return planes_of_png(image, findings), findings, findings.depth == 16


def _choose_frame(image: Image.Image, options: ReadOptions) -> None:
    frames = getattr(image, "n_frames", 1)
    if options.frame is None:
        if frames > 1:
            raise BadImageError(f"animations are not supported ({frames} frames or pages)")
        return
    if not 0 <= options.frame < frames:
        raise BadImageError(f"there is no frame {options.frame}: the file has {frames}")
    if options.frame:
        image.seek(options.frame)
        options.check_size(image.width, image.height)


def _check_whole(findings: jpeg.JpegFindings, image: Image.Image) -> None:
    """Raise BadImageError when junk behind the coded data changes the picture."""
    sums = []
    for junk in jpeg.junk_behind_scans(findings):
        with formats.open_as("JPEG", io.BytesIO(junk)) as other:
            sums.append(checksum(other))
    if sums and {checksum(image)} != set(sums):
        raise BadImageError("the picture is damaged or truncated: coded data is missing")


def _planes(image: Image.Image, findings: Findings) -> Planes:
    """Planes of a loaded image, through its profile where it is in another colour space."""
    if image.mode == "CMYK" and "icc" in findings.metadata:
        converted = colour.through_profile(image, findings.metadata.pop("icc"))
        findings.notes.append("CMYK colours were converted to sRGB through the picture's profile")
        return Planes(np.array(converted), None, False)
    return planes_of(image)


def _take_info(findings: Findings, image: Image.Image) -> None:
    """Metadata as Pillow's readers leave it, where the scan has none of its own."""
    for name, key in _INFO_KEYS:
        if block := _as_bytes(image.info.get(key)):
            findings.metadata.setdefault(name, block.removeprefix(exif.PREFIX))


def _unread(image: Image.Image) -> bytes | None:
    """The file of an image that was opened and not loaded, or None."""
    if getattr(image, "tell", lambda: 0)():
        if image.format == "MPO":
            raise BadImageError("the image stands at a later frame: seek(0) or copy it")
        return None
    stream = getattr(image, "fp", None)
    if stream is None or not getattr(image, "tile", None) or image.format not in formats.READABLE:
        return None
    try:
        position = stream.tell()
        stream.seek(0)
        data: bytes = stream.read()
        stream.seek(position)
    except (OSError, ValueError, AttributeError):
        return None
    return data or None


def _replace_info(findings: Findings, image: Image.Image) -> None:
    """Take metadata as the caller has left it; blocks that Pillow does not show stay."""
    for name, key in _INFO_KEYS:
        if name in findings.hidden:
            continue
        if block := _as_bytes(image.info.get(key)):
            findings.metadata[name] = block.removeprefix(exif.PREFIX)
        else:
            findings.metadata.pop(name, None)


def _as_it_stands(image: Image.Image, options: ReadOptions) -> tuple[Planes, Findings, bool]:
    """The pixels and the information that a Pillow image has now."""
    frames = getattr(image, "n_frames", 1)
    # A phone's JPEG often carries previews as further frames (MPO); the first one is the picture.
    if frames > 1 and image.format != "MPO" and options.frame is None:
        raise BadImageError(f"animations are not supported ({frames} frames or pages)")
    reduced = any(";16" in str(tile) for tile in getattr(image, "tile", ()))
    image.load()
    findings = Findings(b"")
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        image = image.copy()
        del image.info["transparency"]
        findings.drop("transparent colour (of 16 bits)")
    _take_info(findings, image)
    others.note(findings, image.format or "", image, b"")
    return _planes(image, findings), findings, reduced or image.mode.startswith("I")


def _as_bytes(value: Any) -> bytes | None:
    """Metadata as Pillow's readers leave it: bytes, text or nothing; empty counts as nothing."""
    if isinstance(value, str):
        value = value.encode()
    return bytes(value) if isinstance(value, (bytes, bytearray)) and value else None


class _StrictStream(io.BytesIO):
    """A stream whose end is an error while pixels are read.

    Pillow says so itself unless the caller has set LOAD_TRUNCATED_IMAGES for the whole process.
    """

    strict = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.strict and not data and size:
            raise EOFError("it ends within its rows")
        return data
