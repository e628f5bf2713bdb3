"""vlaec: a lossy image codec. A Variational Lossy Autoencoder with bits-back ANS coding.

Everything here is loaded on first use, so that `import vlaec` and the commands that need no model
start at once.
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
    from .api import (
        compress,
        compress_batch,
        create_archive,
        decompress,
        decompress_batch,
        extract_archive,
        info,
        latents,
        verify,
    )
    from .density import likelihood
    from .images import Picture
    from .photo.codec import Codec
    from .pillow_plugin import register

__version__ = "0.1.0"

__all__ = [
    "BadFileError",
    "BadImageError",
    "Codec",
    "ModelMissingError",
    "OutputError",
    "Picture",
    "UsageError",
    "VlaecError",
    "compress",
    "compress_batch",
    "create_archive",
    "decompress",
    "decompress_batch",
    "extract_archive",
    "info",
    "latents",
    "likelihood",
    "register",
    "verify",
]

# Modules of the names that are not in `errors`.
_HOMES = {
    "Codec": "photo.codec",
    "Picture": "images",
    "compress": "api",
    "compress_batch": "api",
    "create_archive": "api",
    "decompress": "api",
    "decompress_batch": "api",
    "extract_archive": "api",
    "info": "api",
    "latents": "api",
    "likelihood": "density",
    "register": "pillow_plugin",
    "verify": "api",
}
# Modules by the names that they had before the package was divided.
_MODULES = {"codec": "photo.codec", "container": "photo.container", "image_sets": "sets.images"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"vlaec.{_MODULES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module 'vlaec' has no attribute {name!r}")
    return getattr(import_module(f"vlaec.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
