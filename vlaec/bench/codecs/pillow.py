"""Adapters for the codecs that Pillow writes: JPEG, WebP, PNG and AVIF."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from PIL import Image, features

from ...errors import UsageError
from .protocol import CodecMissingError, Decoder


class _Pillow:
    """Shared by the codecs that Pillow writes."""

    format: ClassVar[str]
    name: str
    levels: tuple[float, ...]
    limits: tuple[float, float] = (1, 100)
    lossless = False
    parallel = False
    integer = True

    def save_options(self, level: float, threads: int) -> dict[str, Any]:
        raise NotImplementedError

    def encode(self, image: np.ndarray, level: float, threads: int = 1) -> bytes:
        buffer = io.BytesIO()
        options = self.save_options(level, threads)
        Image.fromarray(image).save(buffer, self.format, **options)
        return buffer.getvalue()

    def decode(self, data: bytes, threads: int = 1) -> np.ndarray:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))

    def decoders(self) -> Mapping[str, Decoder]:
        return {self.name: self.decode}


_SUBSAMPLING = {"444": "4:4:4", "422": "4:2:2", "420": "4:2:0"}


def _subsampling(name: str, option: str | None, default: str) -> str:
    if option is not None and option not in _SUBSAMPLING:
        raise UsageError(f"{name}:{option}: chroma subsampling is one of {', '.join(_SUBSAMPLING)}")
    return _SUBSAMPLING[option or default]


class Jpeg(_Pillow):
    """libjpeg-turbo through Pillow: optimised Huffman tables, 4:2:0 by default.

    Progressive files are 3 % smaller at high rates and 10 % larger at the lowest, so the smaller
    of both is taken, as a careful user would.
    """

    format = "JPEG"

    def __init__(self, option: str | None = None) -> None:
        self.name = f"jpeg:{option}" if option else "jpeg"
        self.levels = (5, 10, 20, 35, 50, 65)
        self.orders = {"baseline": (False,), "progressive": (True,)}.get(
            option or "", (False, True)
        )
        sampling = option if len(self.orders) == 2 else None
        self.subsampling = _subsampling("jpeg", sampling, "420")

    @property
    def version(self) -> str:
        turbo = features.version("libjpeg_turbo")
        order = " or ".join("progressive" if order else "baseline" for order in self.orders)
        return f"libjpeg-turbo {turbo} via Pillow, optimised, {order}, {self.subsampling}"

    def encode(self, image: np.ndarray, level: float, threads: int = 1) -> bytes:
        source, files = Image.fromarray(image), []
        for progressive in self.orders:
            buffer = io.BytesIO()
            source.save(
                *(buffer, "JPEG"),
                quality=round(level),
                optimize=True,
                progressive=progressive,
                subsampling=self.subsampling,
            )
            files.append(buffer.getvalue())
        return min(files, key=len)


class WebP(_Pillow):
    """libwebp through Pillow, method 6."""

    format = "WEBP"

    def __init__(self, option: str | None = None) -> None:
        if option not in (None, "lossless"):
            raise UsageError(f"webp:{option}: the only option is lossless")
        self.lossless = option == "lossless"
        self.name = "webp:lossless" if self.lossless else "webp"
        self.levels = (100,) if self.lossless else (1, 10, 25, 45, 65, 80)
        self.limits = (100, 100) if self.lossless else (0, 100)

    @property
    def version(self) -> str:
        return f"libwebp {features.version('webp')} via Pillow, method 6"

    def save_options(self, level: float, threads: int) -> dict[str, Any]:
        return {"quality": round(level), "method": 6, "lossless": self.lossless, "exact": True}


class Png(_Pillow):
    """zlib through Pillow, optimised."""

    format = "PNG"
    lossless = True

    def __init__(self, option: str | None = None) -> None:
        self.name = "png"
        self.levels, self.limits = (9,), (9, 9)
        if option is not None:
            raise UsageError(f"png:{option}: png has no options")

    @property
    def version(self) -> str:
        return f"zlib {features.version('zlib')} via Pillow, optimised"

    def save_options(self, level: float, threads: int) -> dict[str, Any]:
        return {"optimize": True, "compress_level": round(level)}


class Avif(_Pillow):
    """libavif through Pillow: AV1 intra frames tuned for the eye (`tune=iq`).

    As most use it, speed 6 and 4:4:4, or `avif:420`; `avif:best` is speed 3 and 4:2:0, which takes
    seconds and is 5 to 15 % smaller.
    """

    format = "AVIF"
    parallel = True

    def __init__(self, option: str | None = None) -> None:
        self.name = f"avif:{option}" if option else "avif"
        self.levels = (5, 10, 20, 30, 42, 54, 65) if option == "best" else (10, 20, 30, 42, 54, 65)
        self.limits = (0, 99)  # 100 is lossless, which `tune=iq` is not for
        self.speed = 3 if option == "best" else 6
        sampling = "420" if option == "best" else option
        self.subsampling = _subsampling("avif", sampling, "444")

    @property
    def version(self) -> str:
        if not features.check("avif"):
            raise CodecMissingError("this Pillow has no AVIF; pip install 'pillow>=11.3'")
        from PIL import _avif

        versions = f"libavif {features.version('avif')} ({_avif.codec_versions()})"
        return f"{versions} via Pillow, speed {self.speed}, tune iq, {self.subsampling}"

    def save_options(self, level: float, threads: int) -> dict[str, Any]:
        return {
            "quality": round(level),
            "speed": self.speed,
            "subsampling": self.subsampling,
            "max_threads": threads,
            "autotiling": False,  # tiles cost 1-3 % in size
            "advanced": {"tune": "iq"},  # libavif's own default from 1.4 on
        }

    def decode(self, data: bytes, threads: int = 1) -> np.ndarray:
        from PIL import AvifImagePlugin

        # Pillow reads the number of threads from the module when it opens a file.
        AvifImagePlugin.DEFAULT_MAX_THREADS = threads
        return super().decode(data, threads)
