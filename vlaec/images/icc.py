"""ICC profiles made from primaries and transfer curves, and what H.273 code points mean.

Sources: ICC.1:2004-10 (matrix and grey profiles), ITU-T H.273 (tables 2 and 3).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# x, y of red, green, blue and white by code point of H.273.
PRIMARIES = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.3127, 0.3290),  # BT.709, sRGB
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, 0.3127, 0.3290),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, 0.3127, 0.3290),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, 0.3127, 0.3290),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, 0.310, 0.316),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),  # BT.2020
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),  # Display P3
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, 0.3127, 0.3290),
}
PQ, HLG = 16, 18
UNSPECIFIED = 2

# g, a, b, c, d of ICC's parametric curve 3: (a x + b)^g from d on, c x below.
_SRGB = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709 = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES: dict[int, tuple[float, ...]] = {
    1: _BT709,
    4: (2.2,),
    5: (2.8,),
    6: _BT709,
    8: (1.0,),
    13: _SRGB,
    14: _BT709,
    15: _BT709,
    17: (2.6,),
}

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SRGB_GAMMA = 1 / 2.2


@dataclass(frozen=True)
class Signal:
    """Colour as H.273 codes it: code points of primaries and transfer."""

    primaries: int
    transfer: int

    @classmethod
    def of(cls, cicp: bytes) -> Signal:
        return cls(cicp[0], cicp[1])

    @property
    def hdr(self) -> bool:
        return self.transfer in (PQ, HLG)

    @property
    def srgb(self) -> bool:
        """Whether programs without colour management show it right."""
        return self.primaries in (1, UNSPECIFIED) and self.transfer in (13, UNSPECIFIED, 0)

    @property
    def name(self) -> str:
        names = {1: "BT.709", 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
        curves = {1: "BT.709", 13: "sRGB", PQ: "PQ", HLG: "HLG", 8: "linear"}
        primaries = names.get(self.primaries, f"primaries {self.primaries}")
        return f"{primaries}, {curves.get(self.transfer, f'transfer {self.transfer}')}"


def from_cicp(cicp: bytes) -> bytes | None:
    """A profile of these code points; None where one cannot say the same."""
    signal = Signal.of(cicp)
    primaries = PRIMARIES.get(1 if signal.primaries == UNSPECIFIED else signal.primaries)
    curve = _CURVES.get(13 if signal.transfer == UNSPECIFIED else signal.transfer)
    if primaries is None or curve is None:
        return None
    return rgb_profile(primaries, curve, signal.name)


def from_png(gama: bytes | None, chrm: bytes | None, grey: bool) -> bytes | None:
    """A profile of the chunks gAMA and cHRM of a PNG; None where they say sRGB or nothing."""
    gamma = struct.unpack(">I", gama)[0] / 100000 if gama and len(gama) == 4 else 0.0
    chroma: Sequence[float] = PRIMARIES[1]
    if chrm and len(chrm) == 32:
        white_x, white_y, *rest = (value / 100000 for value in struct.unpack(">8I", chrm))
        chroma = (*rest, white_x, white_y)
    usual_gamma = not gamma or abs(gamma - _SRGB_GAMMA) < 0.002
    usual_chroma = all(abs(a - b) < 0.002 for a, b in zip(chroma, PRIMARIES[1], strict=True))
    if (usual_gamma and (usual_chroma or grey)) or (gamma and not 0.01 < gamma < 100):
        return None
    curve = _SRGB if usual_gamma else (1 / gamma,)
    try:
        return grey_profile(curve) if grey else rgb_profile(chroma, curve, "PNG gAMA, cHRM")
    except (np.linalg.LinAlgError, ZeroDivisionError, struct.error, ValueError):
        return None  # chromaticities that are no triangle


def to_xyz(primaries: Sequence[float]) -> np.ndarray:
    """Matrix [3, 3] from linear RGB to XYZ whose Y of white is 1. Raises LinAlgError."""
    x, y = np.array(primaries[0::2]), np.array(primaries[1::2])
    columns = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    scale = np.linalg.solve(columns[:, :3], columns[:, 3])
    matrix: np.ndarray = columns[:, :3] * scale
    return matrix


def rgb_profile(primaries: Sequence[float], curve: Sequence[float], name: str) -> bytes:
    """A display profile of three primaries and one curve. Raises LinAlgError, struct.error."""
    if min(primaries[1::2]) <= 0:
        raise ValueError("no triangle")
    white = np.array(primaries[6:8])
    white_xyz = np.array([white[0] / white[1], 1.0, (1 - white.sum()) / white[1]])
    ratio = (_BRADFORD @ _D50) / (_BRADFORD @ white_xyz)
    adapt = np.linalg.solve(_BRADFORD, ratio[:, None] * _BRADFORD)
    columns = (adapt @ to_xyz(primaries)).T
    if not np.isfinite(columns).all():
        raise ValueError("no triangle")
    tags = {
        kind: _xyz(column)
        for kind, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
    }
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve))
    tags[b"chad"] = b"sf32" + bytes(4) + struct.pack(">9i", *map(_fixed, adapt.ravel()))
    return _profile(b"RGB ", tags, name)


def grey_profile(curve: Sequence[float]) -> bytes:
    """A grey profile of one curve."""
    return _profile(b"GRAY", {b"kTRC": _curve(curve)}, "PNG gAMA")


def _profile(space: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    tags = {
        b"desc": _text(name),
        b"cprt": _text("CC0"),
        b"wtpt": _xyz(_D50),
        **tags,
    }
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    for kind, value in tags.items():
        if value not in places:
            places[value] = start + len(body)
            body += value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", kind, places[value], len(value))
    header = struct.pack(
        ">I4sI4s4s4s6H4s4sIIIQI3i4s",
        start + len(body),
        *(bytes(4), 0x04300000, b"mntr", space, b"XYZ "),
        *(2026, 1, 1, 0, 0, 0),
        *(b"acsp", bytes(4), 0, 0, 0, 0, 0),
        *map(_fixed, _D50),
        b"vlae",
    )
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _fixed(value: float) -> int:
    return round(value * 65536)


def _xyz(value: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *map(_fixed, value))


def _curve(parameters: Sequence[float]) -> bytes:
    kind = 0 if len(parameters) == 1 else 3
    numbers = struct.pack(f">{len(parameters)}i", *map(_fixed, parameters))
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + numbers


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    record = struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28)
    return b"mluc" + bytes(4) + record + encoded
