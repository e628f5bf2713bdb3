"""Codecs side by side: one small protocol, adapters for vlaec and for the classical codecs.

A codec is asked for by a specification, `NAME` or `NAME:OPTION`: `jpeg`, `avif:420`,
`vlaec:my-model`. To add one, write a class that meets `Codec` and name it in `CODECS`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from PIL import Image, features

from ..errors import UsageError

Decoder = Callable[[bytes, int], np.ndarray]


class Codec(Protocol):
    """What the benchmark needs of a codec. Pictures are `[H, W, 3]` uint8."""

    name: str
    levels: tuple[float, ...]  # the usual ones, from the smallest files to the largest
    lossless: bool
    parallel: bool  # whether `threads` changes anything
    integer: bool  # whether levels are whole numbers

    @property
    def version(self) -> str:
        """Implementation and version, in words; results are reused only while it stays."""

    def encode(self, image: np.ndarray, level: float, threads: int = 1) -> bytes: ...

    def decoders(self) -> Mapping[str, Decoder]:
        """By the name of a row in the results: what turns data and a number of threads into a
        picture. One file may be decoded in several ways."""


class _Pillow:
    """Shared by the codecs that Pillow writes."""

    format: ClassVar[str]
    name: str
    levels: tuple[float, ...]
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
        self.levels = (9,)
        if option is not None:
            raise UsageError(f"png:{option}: png has no options")

    @property
    def version(self) -> str:
        return f"zlib {features.version('zlib')} via Pillow, optimised"

    def save_options(self, level: float, threads: int) -> dict[str, Any]:
        return {"optimize": True, "compress_level": round(level)}


class Avif(_Pillow):
    """libavif through Pillow: AV1 intra frames, speed 6, 4:4:4 by default."""

    format = "AVIF"
    parallel = True

    def __init__(self, option: str | None = None) -> None:
        self.name = f"avif:{option}" if option else "avif"
        self.levels = (10, 20, 30, 42, 54, 65)
        self.subsampling = _subsampling("avif", option, "444")

    @property
    def version(self) -> str:
        from PIL import _avif

        versions = f"libavif {features.version('avif')} ({_avif.codec_versions()})"
        return f"{versions} via Pillow, speed 6, {self.subsampling}"

    def save_options(self, level: float, threads: int) -> dict[str, Any]:
        return {
            "quality": round(level),
            "speed": 6,
            "subsampling": self.subsampling,
            "max_threads": threads,
            "autotiling": False,  # tiles cost 1-3 % in size
        }

    def decode(self, data: bytes, threads: int = 1) -> np.ndarray:
        from PIL import AvifImagePlugin

        # Pillow reads the number of threads from the module when it opens a file.
        AvifImagePlugin.DEFAULT_MAX_THREADS = threads
        return super().decode(data, threads)


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

    @property
    def version(self) -> str:
        import imagecodecs

        return f"{imagecodecs.jpegxl_version()} via imagecodecs, effort 7"

    def encode(self, image: np.ndarray, level: float, threads: int = 1) -> bytes:
        import imagecodecs

        quality = {"lossless": True} if self.lossless else {"distance": level}
        return bytes(imagecodecs.jpegxl_encode(image, effort=7, numthreads=threads, **quality))

    def decode(self, data: bytes, threads: int = 1) -> np.ndarray:
        import imagecodecs

        return np.asarray(imagecodecs.jpegxl_decode(data, numthreads=threads))

    def decoders(self) -> Mapping[str, Decoder]:
        return {self.name: self.decode}


@lru_cache(maxsize=1)
def _vlaec_source() -> str:
    """Hash of vlaec's own code, so that results of older code are not taken for its own."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if root / "bench" not in path.parents and root / "train" not in path.parents:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Vlaec:
    """vlaec itself; every strength of texture is a row of its own, decoded from the same file."""

    lossless = False
    parallel = True
    integer = False

    def __init__(self, option: str | None = None, textures: Sequence[float] = (0.0,)) -> None:
        """`option` is a model's name, "effort=N", or both with a plus in between."""
        parts = option.split("+") if option else []
        efforts = [part for part in parts if part.startswith("effort=")]
        models = [part for part in parts if part not in efforts]
        if len(efforts) > 1 or len(models) > 1 or not all(e[7:].isdecimal() for e in efforts):
            raise UsageError(f"vlaec:{option}: give MODEL, effort=N or MODEL+effort=N")
        self.model = models[0] if models else None
        self.effort = int(efforts[0][7:]) if efforts else 0
        self.name = f"vlaec:{option}" if option else "vlaec"
        self.levels: tuple[float, ...] = (0, 20, 40, 60, 80, 100)
        self.textures = tuple(textures)

    @property
    def version(self) -> str:
        from .. import __version__, zoo

        named = (card for card in zoo.list_models() if card.default)
        cards = [zoo.find(self.model)] if self.model else named
        models = " ".join(card.id for card in cards)
        effort = f", effort {self.effort}" if self.effort else ""
        return f"vlaec {__version__}, model {models}, code {_vlaec_source()}{effort}"

    def encode(self, image: np.ndarray, level: float, threads: int = 1) -> bytes:
        from ..images import Picture
        from ..photo.codec import encode

        with _torch_threads(threads):
            return encode(Picture(image), float(level), self.model, effort=self.effort)

    def decode(self, data: bytes, threads: int = 1, texture: float | None = None) -> np.ndarray:
        from ..photo.codec import decode

        with _torch_threads(threads):
            return decode(data, texture=texture).rgb

    def decoders(self) -> Mapping[str, Decoder]:
        rows: dict[str, Decoder] = {self.name: self.decode}
        for texture in self.textures:
            rows[f"{self.name} texture={texture:g}"] = partial(self.decode, texture=texture)
        return rows


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """torch with that many threads, and with as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


CODECS: dict[str, Callable[[str | None], Codec]] = {
    "vlaec": Vlaec,
    "jpeg": Jpeg,
    "webp": WebP,
    "avif": Avif,
    "jxl": Jxl,
    "png": Png,
}


def make_codec(specification: str, textures: Sequence[float] = (0.0,)) -> Codec:
    """The codec for `NAME` or `NAME:OPTION`; `textures` are further rows of vlaec.

    Raises UsageError for an unknown name or option.
    """
    name, _, option = specification.partition(":")
    if name not in CODECS:
        raise UsageError(f"no codec {name!r}; there are {', '.join(CODECS)}")
    if name == "vlaec":
        return Vlaec(option or None, textures)
    return CODECS[name](option or None)


def why_unavailable(codec: Codec) -> str | None:
    """The reason why `codec` does not work here, or None if it codes a small picture."""
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)
    image = np.ascontiguousarray(np.broadcast_to(ramp[:, None, None], (32, 32, 3)))
    try:
        data = codec.encode(image, codec.levels[-1])
        for decode in codec.decoders().values():
            if decode(data, 1).shape != image.shape:
                return "gives back a picture of another size"
    except Exception as error:  # a missing plugin, library or model: each says so in its own way
        return f"{type(error).__name__}: {error}"
    return None
