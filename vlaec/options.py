"""What can be asked of `compress` and `decompress`, checked once for every way in.

The command line, the functions of `vlaec.api`, the Pillow plugin and the worker processes hand
these objects on whole. A new option of `compress` is a field here, a flag in `cli/compress.py`, an
argument in `api.py`, and its use in the codec.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .errors import UsageError
from .limits import MAX_PIXELS
from .target import Target, parse_size

MAX_EFFORT = 9
# Metrics that the search of an effort can be asked for.
TUNES = ("psnr", "ms-ssim")
STRIPPABLE = frozenset(("all", "exif", "xmp", "icc", "gps"))
SCALES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class CompressOptions:
    """How a picture is compressed. Raises UsageError when a value is out of its range.

    `quality`: 0..100; `model`: a name from `vlaec models`, None for the default one at this
    quality; `effort`: 0..9, how long to search for a better latent; `tune`: the metric to search
    for, psnr or ms-ssim, None for both.

    At most one of three replaces the quality. `size`: most bytes of the file, as a number or as
    text with a unit, "40k"; `bpp`: most bits per pixel; `target`: fidelity, such as "lpips=0.1".

    The rest is how the picture is read. `strip`: metadata to leave out, among all, exif, xmp, icc
    and gps, as names or as text with commas; `frame`: index of the frame or page to take;
    `tone_map`: turn HDR into SDR instead of refusing it; `upright`: turn the picture as its EXIF
    block says; `max_pixels`: refuse larger pictures; `max_memory`: refuse pictures that need more
    bytes of memory, a number or text with a unit, "800M".
    """

    quality: float = 50.0
    model: str | None = None
    effort: int = 0
    tune: str | None = None
    size: int | str | None = None
    bpp: float | None = None
    target: Target | str | None = None
    strip: Iterable[str] = ()
    frame: int | None = None
    tone_map: bool = False
    upright: bool = False
    max_pixels: int = MAX_PIXELS
    max_memory: int | str | None = None

    def __post_init__(self) -> None:
        _set(self, "quality", number("quality", self.quality, 0, 100))
        _set(self, "effort", whole("effort", self.effort, 0, MAX_EFFORT))
        if self.tune is not None:
            if self.tune not in TUNES:
                raise UsageError(f"tune must be {' or '.join(TUNES)}, not {self.tune!r}")
            if not self.effort:
                raise UsageError("tune is for the search of an effort: give effort 1 or more")
        if self.model is not None and not isinstance(self.model, str):
            raise UsageError(f"model must be a name, not {_type(self.model)}")
        aims = [name for name in ("size", "bpp", "target") if getattr(self, name) is not None]
        if len(aims) > 1:
            raise UsageError(f"{aims[0]} and {aims[1]} exclude each other")
        _set(self, "size", _bytes("size", self.size))
        if self.bpp is not None:
            _set(self, "bpp", number("bpp", self.bpp, 1e-4, 100))
        if isinstance(self.target, str):
            _set(self, "target", Target.parse(self.target))
        _set(self, "strip", _names(self.strip))
        if self.frame is not None:
            _set(self, "frame", whole("frame", self.frame, 0, 2**31))
        _set(self, "max_pixels", whole("max_pixels", self.max_pixels, 1, MAX_PIXELS))
        _set(self, "max_memory", _bytes("max_memory", self.max_memory))

    @property
    def memory(self) -> int | None:
        """Most bytes of memory; None for any number."""
        return None if self.max_memory is None else int(self.max_memory)

    @property
    def searches(self) -> bool:
        """Whether the quality is to be found."""
        return any(aim is not None for aim in (self.size, self.bpp, self.target))

    def limit(self, pixels: int) -> int | None:
        """Most bytes of the file of a picture; None for any number."""
        if self.bpp is not None:
            return max(1, int(self.bpp * pixels / 8))
        return None if self.size is None else int(self.size)


@dataclass(frozen=True)
class DecompressOptions:
    """How a picture is decompressed. Raises UsageError when a value is out of its range.

    `texture`: strength of the resampled texture, 0..1, None for the file's own; `seed`: 0..255,
    of that texture, None for the file's own; `scale`: divisor of both sides for a preview without
    texture, 1 for the picture itself; `max_pixels`: refuse larger pictures; `max_memory`: refuse
    pictures that need more bytes of memory, a number or text with a unit, "800M".
    """

    texture: float | None = None
    seed: int | None = None
    scale: int = 1
    max_pixels: int = MAX_PIXELS
    max_memory: int | str | None = None

    def __post_init__(self) -> None:
        if self.texture is not None:
            _set(self, "texture", number("texture", self.texture, 0, 1))
        if self.seed is not None:
            _set(self, "seed", whole("seed", self.seed, 0, 255))
        _set(self, "scale", whole("scale", self.scale, 1, SCALES[-1]))
        if self.scale not in SCALES:
            raise UsageError(f"scale must be one of {', '.join(map(str, SCALES))}")
        _set(self, "max_pixels", whole("max_pixels", self.max_pixels, 1, MAX_PIXELS))
        _set(self, "max_memory", _bytes("max_memory", self.max_memory))

    @property
    def memory(self) -> int | None:
        """Most bytes of memory; None for any number."""
        return None if self.max_memory is None else int(self.max_memory)


def number(name: str, value: Any, lowest: float, highest: float) -> float:
    """`value` as a float within a closed range; numbers of numpy are numbers.

    Raises UsageError.
    """
    wanted = f"{name} must be a number from {lowest:g} to {highest:g}"
    if isinstance(value, (bool, str, bytes)):
        raise UsageError(f"{wanted}, not {_type(value)}")
    try:
        result = float(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{wanted}, not {_type(value)}") from error
    if math.isnan(result) or not lowest <= result <= highest:
        raise UsageError(f"{wanted}, not {result:g}")
    return result


def whole(name: str, value: Any, lowest: int, highest: int) -> int:
    """`value` as an int within a closed range; 1.0 and numpy's integers are whole numbers.

    Raises UsageError.
    """
    wanted = f"{name} must be a whole number from {lowest} to {highest}"
    if isinstance(value, bool):
        raise UsageError(f"{wanted}, not {_type(value)}")
    try:
        result = operator.index(value)
    except TypeError:
        broken = number(name, value, lowest, highest)
        if not broken.is_integer():
            raise UsageError(f"{wanted}, not {broken:g}") from None
        result = int(broken)
    if not lowest <= result <= highest:
        raise UsageError(f"{wanted}, not {result}")
    return result


def _bytes(name: str, value: Any) -> int | None:
    """A number of bytes from a number, from text with a unit, or None. Raises UsageError."""
    if value is None or isinstance(value, str):
        return None if value is None else parse_size(value)
    return whole(name, value, 1, 2**40)


def _names(strip: Any) -> frozenset[str]:
    """Names of metadata from text with commas, or one by one. Raises UsageError."""
    try:
        names = frozenset(strip.split(",") if isinstance(strip, str) else strip)
    except TypeError as error:
        raise UsageError(f"strip takes names, not {_type(strip)}") from error
    if unknown := names - STRIPPABLE:
        choices = ", ".join(sorted(STRIPPABLE))
        raise UsageError(f"strip takes {choices}, not {next(iter(unknown))!r}")
    return names


def _set(options: Any, name: str, value: Any) -> None:
    """Put a checked value into a frozen object while it is made."""
    object.__setattr__(options, name, value)


def _type(value: Any) -> str:
    return f"a {type(value).__name__}"
