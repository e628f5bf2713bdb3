"""What a file is to reach instead of a quality: a number of bytes, or a fidelity."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import UsageError

_UNITS = {
    letter + kind: base**power
    for power, letter in enumerate("kmg", 1)
    for kind, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
} | {"": 1, "b": 1}


@dataclass(frozen=True)
class _Scale:
    """A metric's values from `lowest` to `highest`, and how they grow with the rate.

    `rise`: change of `gain` when the file becomes e times as large, roughly; `tolerance`: a gain
    this far above the aim is near enough.
    """

    lowest: float
    highest: float
    rise: float
    tolerance: float


_SCALES = {
    "psnr": _Scale(1, 100, 3.5, 0.05),
    "ms-ssim": _Scale(0.01, 0.9999, 0.9, 0.03),
    "lpips": _Scale(0.0001, 1, 0.9, 0.03),
    "dists": _Scale(0.0001, 1, 0.6, 0.03),
}
METRICS = tuple(_SCALES)


@dataclass(frozen=True)
class Target:
    """A metric and the value that the decompressed picture is to reach. Raises UsageError."""

    metric: str
    value: float

    def __post_init__(self) -> None:
        if self.metric not in _SCALES:
            raise UsageError(f"no target metric {self.metric!r}; there are {', '.join(METRICS)}")
        if not self.scale.lowest <= self.value <= self.scale.highest:
            raise UsageError(
                f"the target for {self.metric} must be between {self.scale.lowest:g} and "
                f"{self.scale.highest:g}, not {self.value:g}"
            )

    @classmethod
    def parse(cls, text: str) -> Target:
        """A target from METRIC=VALUE. Raises UsageError."""
        name, equals, value = text.partition("=")
        try:
            number = float(value) if equals else math.nan
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise UsageError(f"a target is METRIC=VALUE, as in lpips=0.1, not {text!r}")
        return cls(name.strip().lower(), number)

    @property
    def scale(self) -> _Scale:
        return _SCALES[self.metric]

    def excess(self, value: float) -> float:
        """How far a measured value misses the target, on a scale that is even; at most 0 if good
        enough."""
        return self._gain(self.value) - self._gain(value)

    def _gain(self, value: float) -> float:
        """Fidelity on a scale on which it grows evenly with the logarithm of the size."""
        if self.metric == "psnr":
            return value
        return -math.log(max(1 - value if self.metric == "ms-ssim" else value, 1e-9))

    def __str__(self) -> str:
        return f"{self.metric}={self.value:g}"


def parse_size(text: str) -> int:
    """Bytes from a number with a unit or without: 40000, 40k (1000), 40Ki (1024), 1.5M.

    Raises UsageError.
    """
    digits = text.strip().lower().rstrip("kmgib")
    unit = text.strip().lower()[len(digits) :]
    try:
        size = float(digits) * _UNITS[unit]
    except (KeyError, ValueError):
        size = math.nan
    if not 1 <= size < 2**40:
        raise UsageError(f"{text!r} is no size; it is a number of bytes, as in 40000, 40k or 1.5M")
    return int(size)
