"""Colours converted where they cannot be kept: CMYK, HDR, profiles that are taken off.

Sources: SMPTE ST 2084 (PQ), ITU-R BT.2100 (HLG), BT.2408 (203 cd/m^2 is the white of a picture).
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image, ImageCms

from ..errors import BadImageError
from . import icc

_WHITE = 203.0  # cd/m^2
_KNEE = 0.75  # light above it is compressed
_BAND = 64


def is_hdr(profile: bytes | None, cicp: bytes | None) -> bool:
    """Whether one of the two says PQ or HLG. Profiles do so with a tag of their own."""
    return any(icc.Signal.of(code).hdr for code in (cicp, cicp_of(profile)) if code)


def cicp_of(profile: bytes | None) -> bytes | None:
    """The code points in a profile's `cicp` tag."""
    if profile is None or len(profile) < 132:
        return None
    (count,) = struct.unpack_from(">I", profile, 128)
    for at in range(132, min(132 + 12 * count, len(profile) - 11), 12):
        kind, offset, size = struct.unpack_from(">4sII", profile, at)
        if kind == b"cicp" and size >= 12:
            block = profile[offset + 8 : offset + 12]
            return block if len(block) == 4 else None
    return None


def through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """An image in another colour space as RGB in sRGB. Raises BadImageError for a bad profile."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        out = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise BadImageError(
            f"colour mode {image.mode} needs its profile, and that is damaged; "
            "convert the picture to RGB"
        ) from error
    assert out is not None
    return out


def to_srgb(rgb: np.ndarray, profile: bytes, grey: bool) -> np.ndarray | None:
    """Pixels [H, W, 3] of a profile in sRGB; None when the profile is of no use."""
    image = Image.fromarray(rgb[..., 0] if grey and profile[16:20] == b"GRAY" else rgb)
    try:
        return np.array(through_profile(image, profile))
    except BadImageError:
        return None


def tone_mapped(rgb: np.ndarray, cicp: bytes) -> np.ndarray:
    """HDR pixels [H, W, 3] as sRGB: light up to three quarters of white stays, more is compressed.

    Raises BadImageError for primaries without a name.
    """
    signal = icc.Signal.of(cicp)
    primaries = icc.PRIMARIES.get(9 if signal.primaries == icc.UNSPECIFIED else signal.primaries)
    if primaries is None:
        raise BadImageError(f"HDR with primaries {signal.primaries} is not supported")
    matrix = np.linalg.solve(icc.to_xyz(icc.PRIMARIES[1]), icc.to_xyz(primaries))
    luma = icc.to_xyz(primaries)[1]
    levels = np.arange(256) / 255
    table = _pq(levels) if signal.transfer == icc.PQ else _hlg(levels)
    out = np.empty_like(rgb)
    for start in range(0, len(rgb), _BAND):
        light = table[rgb[start : start + _BAND]]  # of the scene for HLG, [h, W, 3]
        if signal.transfer == icc.HLG:
            light = light * np.maximum(light @ luma, 1e-6)[..., None] ** 0.2 * 1000
        light = np.maximum(light / _WHITE @ matrix.T, 0)
        peak = np.maximum(light.max(2, keepdims=True), 1e-6)
        over = np.maximum(peak - _KNEE, 0) / (1 - _KNEE)
        mapped = np.minimum(peak, _KNEE) + (1 - _KNEE) * over / (1 + over)
        light = light * (mapped / peak)
        coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        out[start : start + _BAND] = np.rint(255 * np.clip(coded, 0, 1))
    return out


def _pq(signal: np.ndarray) -> np.ndarray:
    """Light of a display in cd/m^2."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = signal ** (1 / m2)
    light: np.ndarray = 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return light


def _hlg(signal: np.ndarray) -> np.ndarray:
    """Light of the scene, 0..1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
