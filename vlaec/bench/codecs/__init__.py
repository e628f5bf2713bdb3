"""Codecs compared: one small protocol, adapters for vlaec and for the classical codecs.

A codec is asked for by a specification, `NAME` or `NAME:OPTION`: `jpeg`, `avif:best`,
`vlaec:my-model`. To add one, write a class that meets `Codec` and name it in `CODECS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import UsageError
from .ffmpeg import Hevc, Vvc
from .jpegs import Jpegli, Jxl
from .pillow import Avif, Jpeg, Png, WebP
from .protocol import Codec, CodecMissingError, Decoder
from .vlaec import Vlaec

__all__ = [
    "CODECS",
    "Avif",
    "Codec",
    "CodecMissingError",
    "Decoder",
    "Vlaec",
    "make_codec",
    "warm_up",
    "why_unavailable",
]

CODECS: dict[str, Callable[[str | None], Codec]] = {
    "vlaec": Vlaec,
    "jpeg": Jpeg,
    "jpegli": Jpegli,
    "webp": WebP,
    "avif": Avif,
    "jxl": Jxl,
    "hevc": Hevc,
    "vvc": Vvc,
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


def warm_up(codec: Codec, threads: int = 1) -> bool:
    """Code and decode a small picture, so that models and libraries are loaded.

    Returns whether its size came back.
    """
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)
    image = np.ascontiguousarray(np.broadcast_to(ramp[:, None, None], (32, 32, 3)))
    data = codec.encode(image, codec.levels[-1], threads)
    decoded = [decode(data, threads) for decode in codec.decoders().values()]
    return all(picture.shape == image.shape for picture in decoded)


def why_unavailable(codec: Codec) -> str | None:
    """The reason why `codec` does not work here, or None if it codes a small picture."""
    try:
        if not warm_up(codec):
            return "gives back a picture of another size"
    except CodecMissingError as error:
        return str(error)
    except Exception as error:  # a missing plugin, library or model: each says so in its own way
        return f"{type(error).__name__}: {error}"
    return None
