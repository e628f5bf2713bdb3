"""Whether a file is whole: everything in it is decoded but the picture's pixels."""

from __future__ import annotations

from typing import Any

from . import images
from .api import read_latent
from .errors import BadFileError
from .inputs import as_bytes
from .photo import container
from .photo.salvage import salvage as salvage_photo
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
    try:
        parts = container.unpack(data)
        header = parts.header
        read_latent(parts)
        if parts.alpha is not None:
            images.decode_alpha(parts.alpha, header.width, header.height)
    except BadFileError as error:
        raise BadFileError(f"{error}; {_what_is_whole(data)}") from error
    size = {"width": header.width, "height": header.height}
    return {"kind": "picture", "bytes": len(data), **size, "metadata": sorted(parts.metadata)}


def salvage(data: bytes) -> tuple[bytes, list[str]]:
    """A sound file of all that is whole in a damaged one, and the names of the parts that are lost.

    A picture may lose its metadata and its alpha plane, an archive the names of its images. The
    latent is not decoded here: whoever decompresses the result learns whether it is whole.

    Raises:
        BadFileError: nothing can be saved.
    """
    if data.startswith(archive_container.MAGIC):
        archive, lost = archive_container.salvage(data)
        return archive_container.pack(archive), lost
    parts, lost = salvage_photo(data)
    return container.pack(parts), lost


def _what_is_whole(data: bytes) -> str:
    try:
        sound, lost = salvage(data)
        read_latent(container.unpack(sound))
    except BadFileError:
        return "nothing can be saved"
    return f"all can be saved but: {', '.join(lost)}"
