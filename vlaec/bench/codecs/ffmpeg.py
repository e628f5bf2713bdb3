"""Adapters for the intra frames of video codecs, through the ffmpeg of PyPI's `imageio-ffmpeg`.

One frame, 10 bit, 4:2:0, BT.709 in the limited range: the form in which these codecs are at their
best and compared in the literature. Frames are padded to a multiple of eight; the four bytes that
tell the picture's size count as part of the file.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

import numpy as np

from ...errors import UsageError, VlaecError
from .protocol import CodecMissingError, Decoder, needs

_SIZE = struct.Struct("<HH")  # height, width
_BLOCK = 8
_EXACT = "flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"
_TO_YUV = f"scale=out_color_matrix=bt709:out_range=tv:{_EXACT},format="
_TO_RGB = f"scale=in_color_matrix=bt709:in_range=tv:{_EXACT},format=rgb24"


@lru_cache(maxsize=1)
def _program() -> str:
    return str(needs("imageio_ffmpeg", "imageio-ffmpeg").get_ffmpeg_exe())


@lru_cache(maxsize=1)
def _program_version() -> str:
    text = subprocess.run([_program(), "-version"], capture_output=True, text=True, check=True)
    package = needs("imageio_ffmpeg", "imageio-ffmpeg").__version__
    return f"ffmpeg {text.stdout.split()[2]} (imageio-ffmpeg {package})"


@lru_cache(maxsize=1)
def _encoders() -> str:
    listing = [_program(), "-hide_banner", "-encoders"]
    return subprocess.run(listing, capture_output=True, text=True, check=True).stdout


def _ffmpeg(arguments: list[str], data: bytes) -> bytes:
    """What ffmpeg writes when it reads `data`. Raises VlaecError with its last line."""
    call = [_program(), "-hide_banner", "-loglevel", "error", "-nostdin", *arguments, "-"]
    done = subprocess.run(call, input=data, capture_output=True)
    if done.returncode or not done.stdout:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise VlaecError(f"ffmpeg: {lines[-1] if lines else 'wrote nothing'}")
    return done.stdout


class _Intra:
    """Shared by the codecs that ffmpeg writes."""

    encoder: ClassVar[str]
    format: ClassVar[str]
    pixels: ClassVar[str] = "yuv420p10le"
    settings: str
    name: str
    levels: tuple[float, ...]
    limits: tuple[float, float]
    lossless = False
    parallel = True
    integer = True

    def options(self, level: float) -> list[str]:
        raise NotImplementedError

    @property
    def version(self) -> str:
        if f" {self.encoder} " not in _encoders():
            raise CodecMissingError(f"this ffmpeg lacks {self.encoder}; pip install imageio-ffmpeg")
        return f"{self.encoder} via {_program_version()}, {self.settings}, 10 bit 4:2:0, one frame"

    def encode(self, image: np.ndarray, level: float, threads: int = 1) -> bytes:
        height, width = image.shape[:2]
        padding = [(0, -height % _BLOCK), (0, -width % _BLOCK), (0, 0)]
        padded = np.pad(image, padding, mode="edge")
        size = f"{padded.shape[1]}x{padded.shape[0]}"
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-i", "-"]
        source += ["-vf", _TO_YUV + self.pixels]
        coding = ["-frames:v", "1", "-c:v", self.encoder, *self.options(level)]
        stream = [*source, *coding, "-threads", str(threads), "-f", self.format]
        return _SIZE.pack(height, width) + _ffmpeg(stream, padded.tobytes())

    def decode(self, data: bytes, threads: int = 1) -> np.ndarray:
        height, width = _SIZE.unpack_from(data)
        stream = ["-threads", str(threads), "-f", self.format, "-i", "-", "-vf", _TO_RGB]
        pixels = _ffmpeg([*stream, "-f", "rawvideo"], data[_SIZE.size :])
        shape = (height + -height % _BLOCK, width + -width % _BLOCK, 3)
        return np.frombuffer(pixels, np.uint8).reshape(shape)[:height, :width]

    def decoders(self) -> Mapping[str, Decoder]:
        return {self.name: self.decode}


class Vvc(_Intra):
    """VVC intra by vvenc, preset medium. A level is a QP.

    As shipped, vvenc moves bits to where the eye needs them, which costs PSNR. `vvc:psnr` does not,
    as in the literature, and spends more on chroma, which PSNR over RGB rewards.
    """

    encoder, format = "libvvenc", "vvc"
    preset: ClassVar[str] = "medium"

    def __init__(self, option: str | None = None) -> None:
        if option not in (None, "psnr"):
            raise UsageError(f"vvc:{option}: the only option is psnr")
        self.name = "vvc:psnr" if option else "vvc"
        self.adaptive = option is None
        adaptation = "perceptual QP adaptation" if self.adaptive else "finer chroma"
        self.settings = f"preset {self.preset}, {adaptation}"
        self.levels: tuple[float, ...] = (52, 47, 42, 37, 32, 27)
        self.limits: tuple[float, float] = (63, 5)

    def options(self, level: float) -> list[str]:
        chroma = "" if self.adaptive else ":CbQpOffset=-6:CrQpOffset=-6"
        quality = ["-qp", f"{level:g}", "-qpa", str(int(self.adaptive))]
        return ["-preset", self.preset, *quality, "-vvenc-params", f"verbosity=0{chroma}"]


class Hevc(_Intra):
    """HEVC intra by x265, preset slow. A level is a constant rate factor."""

    encoder, format, name = "libx265", "hevc", "hevc"
    settings = "preset slow, constant rate factor"
    integer = False

    def __init__(self, option: str | None = None) -> None:
        if option is not None:
            raise UsageError(f"hevc:{option}: hevc has no options")
        self.levels: tuple[float, ...] = (48, 43, 38, 34, 30, 26)
        self.limits: tuple[float, float] = (51, 4)

    def options(self, level: float) -> list[str]:
        # info=0 leaves out the encoder's name and settings, 2 KB of text in every file.
        settings = f"crf={level:g}:keyint=1:log-level=none:info=0"
        return ["-preset", "slow", "-x265-params", settings]
