"""vlaec: a lossy image codec. A Variational Lossy Autoencoder with bits-back ANS coding.

`compress`, `decompress`, `info` and `Codec` are loaded on first use, so that `import vlaec` and
the commands that need no model do not wait seconds for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    BadFileError,
    BadImageError,
    ModelMissingError,
    OutputError,
    UsageError,
    VlaecError,
)

if TYPE_CHECKING:
    from .photo.codec import Codec, compress, decompress
    from .photo.container import info

__version__ = "0.1.0"

__all__ = [
    "BadFileError",
    "BadImageError",
    "Codec",
    "ModelMissingError",
    "OutputError",
    "UsageError",
    "VlaecError",
    "compress",
    "decompress",
    "info",
]

_HOMES = {
    "Codec": "photo.codec",
    "compress": "photo.codec",
    "decompress": "photo.codec",
    "info": "photo.container",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vlaec' has no attribute {name!r}")
    return getattr(import_module(f"vlaec.{_HOMES[name]}"), name)
