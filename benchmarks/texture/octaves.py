"""Energy of pictures by octave of frequency: where texture is, and where chance decides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

EDGES = (0.0, 1 / 16, 1 / 8, 1 / 4, 1.0)  # cycles per pixel
NAMES = ("below 1/16", "1/16 to 1/8", "1/8 to 1/4", "above 1/4")
# Luma, then what blue and red differ from it by: rows of ITU-R BT.601.
_LUMA = np.array([0.299, 0.587, 0.114])
_CHROMA = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def luma(difference: np.ndarray) -> np.ndarray:
    """Mean square of the luma of a difference `[H, W, 3]` by octave, `[4]`."""
    return by_octave(difference @ _LUMA)


def chroma(difference: np.ndarray) -> np.ndarray:
    """The same of both chroma planes together."""
    return by_octave(difference @ _CHROMA[0]) + by_octave(difference @ _CHROMA[1])


def by_octave(plane: np.ndarray) -> np.ndarray:
    """Mean square of a plane `[H, W]` by octave, `[4]`; their sum is the plane's mean square."""
    power = np.square(np.abs(np.fft.fft2(plane))) / plane.size**2
    rows, columns = np.fft.fftfreq(plane.shape[0]), np.fft.fftfreq(plane.shape[1])
    octave = np.digitize(np.hypot(rows[:, None], columns), EDGES) - 1
    return np.bincount(octave.ravel(), power.ravel(), len(NAMES))


def chance(plain: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """Mean squares by octave of luma: of the texture of a sample, and of what chance decides.

    All `[H, W, 3]` uint8. Two samples differ by twice the variance that chance decides.
    """
    flat, one, two = (picture.astype(np.float64) for picture in (plain, first, second))
    return {"texture": luma(one - flat), "chance": luma(one - two) / 2}


def shares(energies: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Root mean squares over pictures by octave and in all, and chance's shares of the texture."""
    means = {key: np.mean([energy[key] for energy in energies], 0) for key in energies[0]}
    root = {key: np.sqrt(np.append(mean, mean.sum())) for key, mean in means.items()}
    *by_octave_share, share = root["chance"] / np.maximum(root["texture"], 1e-9)
    return {
        "rms": {key: value.round(3).tolist() for key, value in root.items()},
        "share_by_octave": [round(float(value), 3) for value in by_octave_share],
        "share": round(float(share), 3),
    }
