"""Whether a file is whole: everything in it is decoded but the picture's pixels."""

from __future__ import annotations

from typing import Any

from . import images
from .api import read_latent
from .inputs import as_bytes
from .photo import container
from .sets import container as archive_container


def verify(data: Any) -> dict[str, Any]:
    """What a sound `.vlae` or `.vlaa` file holds, by its bytes, its path or a binary stream.

    Of a picture all checksums, the metadata, the alpha plane and the latents are checked; of an
    archive every image is decoded.

    Raises:
        BadFileError: the file is damaged.
        ModelMissingError: its model is not installed, so it cannot be said.
    """
    data = as_bytes(data)
    if data.startswith(archive_container.MAGIC):
        from .sets import archive

        decoded = archive.extract(data)
        return {"kind": "archive", "bytes": len(data), "images": len(decoded)}
    parts = container.unpack(data)
    header = parts.header
    read_latent(parts)
    if parts.alpha is not None:
        images.decode_alpha(parts.alpha, header.width, header.height)
    size = {"width": header.width, "height": header.height}
    return {"kind": "picture", "bytes": len(data), **size, "metadata": sorted(parts.metadata)}
