"""Adapters for JPEG XL and jpegli."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...errors import UsageError
from .protocol import Decoder, needs


class Jxl:
    """libjxl through imagecodecs, effort 7. A level is a distance: 1 is visually lossless."""

    parallel = True
    integer = False

    def __init__(self, option: str | None = None) -> None:
        if option not in (None, "lossless"):
            raise UsageError(f"jxl:{option}: the only option is lossless")
        self.lossless = option == "lossless"
        self.name = "jxl:lossless" if self.lossless else "jxl"
        self.levels: tuple[float, ...] = (0,) if self.lossless else (15, 10, 7, 5, 3.5, 2.5)
        self.limits: tuple[float, float] = (0, 0) if self.lossless else (25, 0.1)

    @property
    def version(self) -> str:
        imagecodecs = needs("imagecodecs", "imagecodecs")
        return f"{imagecodecs.jpegxl_version()} via imagecodecs, effort 7"

    def encode(self, image: np.ndarray, level: float, threads: int = 1) -> bytes:
        imagecodecs = needs("imagecodecs", "imagecodecs")
        quality = {"lossless": True} if self.lossless else {"distance": level}
        return bytes(imagecodecs.jpegxl_encode(image, effort=7, numthreads=threads, **quality))

    def decode(self, data: bytes, threads: int = 1) -> np.ndarray:
        imagecodecs = needs("imagecodecs", "imagecodecs")
        return np.asarray(imagecodecs.jpegxl_decode(data, numthreads=threads))

    def decoders(self) -> Mapping[str, Decoder]:
        return {self.name: self.decode}


class Jpegli:
    """jpegli through pyjpegli, with its defaults: what JPEG reaches with the best encoder."""

    lossless = False
    parallel = False
    integer = True

    def __init__(self, option: str | None = None) -> None:
        if option is not None:
            raise UsageError(f"jpegli:{option}: jpegli has no options")
        self.name = "jpegli"
        self.levels: tuple[float, ...] = (1, 10, 20, 35, 50, 65)
        self.limits: tuple[float, float] = (1, 100)

    @property
    def version(self) -> str:
        return f"jpegli via pyjpegli {needs('pyjpegli', 'pyjpegli').__version__}, its defaults"

    def encode(self, image: np.ndarray, level: float, threads: int = 1) -> bytes:
        height, width = image.shape[:2]
        encode = needs("pyjpegli", "pyjpegli").encode
        return bytes(encode(np.ascontiguousarray(image), width, height, round(level)))

    def decode(self, data: bytes, threads: int = 1) -> np.ndarray:
        pixels, width, height = needs("pyjpegli", "pyjpegli").decode(data)
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)

    def decoders(self) -> Mapping[str, Decoder]:
        return {self.name: self.decode}
