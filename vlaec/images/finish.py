"""The last steps of reading: HDR, stripping, orientation, limits."""

from __future__ import annotations

import re

import numpy as np

from ..errors import BadImageError
from ..limits import MAX_METADATA
from . import colour, exif, icc
from .findings import Findings
from .options import ReadOptions
from .picture import METADATA, Picture
from .pixels import Planes

_GPS = re.compile(
    rb"\s+[\w-]+:GPS\w+\s*=\s*(?:\"[^\"]*\"|'[^']*')"
    rb"|<([\w-]+:GPS\w+)(?:\s[^>]*)?(?:/>|>.*?</\1\s*>)",
    re.DOTALL,
)


def finish(planes: Planes, findings: Findings, reduced: bool, options: ReadOptions) -> Picture:
    """A picture of what was read. Raises BadImageError for HDR, unless it is to be converted."""
    rgb, alpha = planes.rgb, planes.alpha
    metadata = {name: findings.metadata[name] for name in METADATA if name in findings.metadata}
    rgb = _standard_range(rgb, metadata, findings, options)
    if exif.has_resolution(metadata.get("exif")):
        findings.dropped = [what for what in findings.dropped if not what.startswith("resolution")]
    for name in tuple(metadata):
        if len(metadata[name]) > MAX_METADATA:
            findings.drop(f"{name.upper()} (above {MAX_METADATA >> 20} MiB)")
            del metadata[name]
    strip = options.strip | {"exif", "xmp", "icc"} if "all" in options.strip else options.strip
    if "icc" in strip:
        rgb = _without_profile(rgb, metadata, planes.grey, findings)
    turn = 1
    if options.upright or "exif" in strip:
        turn = exif.orientation(metadata.get("exif"))
    if "gps" in strip:
        _strip_gps(metadata, findings)
    for name in ("exif", "xmp"):
        if name in strip:
            metadata.pop(name, None)
    if turn != 1:
        rgb = turned(rgb, turn)
        alpha = None if alpha is None else turned(alpha, turn)
        if "exif" in metadata:
            metadata["exif"] = exif.upright(metadata["exif"])
    if reduced:
        findings.notes.append("has more than 8 bits per channel; only 8 are kept")
    return Picture(
        rgb, alpha, planes.grey, metadata, reduced, tuple(findings.dropped), tuple(findings.notes)
    )


def orientation(picture: Picture) -> int:
    """Orientation 1..8 that the EXIF block of a picture asks for; 1 is upright."""
    return exif.orientation(picture.exif)


def turned(plane: np.ndarray, orientation: int) -> np.ndarray:
    """[H, W, ...] as it is to be seen, from an EXIF orientation of 1..8."""
    if orientation in (5, 6, 7, 8):
        plane = plane.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        plane = plane[::-1]
    if orientation in (2, 3, 6, 7):
        plane = plane[:, ::-1]
    return np.ascontiguousarray(plane)


def _standard_range(
    rgb: np.ndarray, metadata: dict[str, bytes], findings: Findings, options: ReadOptions
) -> np.ndarray:
    """Pixels that are not HDR, and code points that most pictures do not have."""
    code = metadata.get("cicp")
    if not colour.is_hdr(metadata.get("icc"), code):
        if code is not None and icc.Signal.of(code).srgb and "icc" not in metadata:
            del metadata["cicp"]
        return rgb
    if code is None or not icc.Signal.of(code).hdr:
        code = colour.cicp_of(metadata.get("icc"))
    assert code is not None
    name = icc.Signal.of(code).name
    if not options.tone_map:
        raise BadImageError(
            f"HDR pictures ({name}) are not supported; --tone-map makes a standard one of it"
        )
    findings.notes.append(f"HDR ({name}) was converted to sRGB")
    metadata.pop("icc", None)
    metadata.pop("cicp", None)
    return colour.tone_mapped(rgb, code)


def _without_profile(
    rgb: np.ndarray, metadata: dict[str, bytes], grey: bool, findings: Findings
) -> np.ndarray:
    """Pixels in sRGB, and no profile."""
    code, profile = metadata.pop("cicp", None), metadata.pop("icc", None)
    if code is not None:
        profile = icc.from_cicp(code) or profile
    if profile is None:
        return rgb
    converted = colour.to_srgb(rgb, profile, grey)
    if converted is None:
        findings.drop("ICC profile (not converted)")
        return rgb
    return converted


def _strip_gps(metadata: dict[str, bytes], findings: Findings) -> None:
    """Take places out of EXIF and XMP; a block that cannot be taken apart goes whole."""
    if "exif" in metadata:
        block = exif.without_gps(metadata["exif"])
        if block is None:
            findings.drop("EXIF (damaged, and might hold a place)")
            del metadata["exif"]
        else:
            metadata["exif"] = block
    if b"GPS" in metadata.get("xmp", b""):
        packet = _GPS.sub(b"", metadata["xmp"])
        if b"GPS" in packet:
            findings.drop("XMP (holds a place)")
            del metadata["xmp"]
        else:
            metadata["xmp"] = packet
