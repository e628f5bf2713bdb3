"""The kind of `.vlae` files: what is said of one, and what can be saved of a damaged one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import zoo
from ..errors import BadFileError
from . import container
from .container import Container, Info, info

__all__ = ["common_facts", "facts", "info", "rows", "salvage", "verify"]


def common_facts(info: Info) -> dict[str, Any]:
    """The facts that every command reports."""
    header = info.header
    return {
        "bytes": info.total,
        "bpp": round(info.bpp, 5),
        "width": header.width,
        "height": header.height,
        "model": zoo.find_name(header.model_id),
        "model_id": header.model_id.hex(),
        "quality": header.quality,
    }


def facts(info: Info) -> dict[str, Any]:
    """What a file holds, ready for JSON."""
    header = info.header
    return {
        **common_facts(info),
        "grey": header.grey,
        "texture": round(header.texture, 3),
        "seed": header.seed,
        "sizes": info.sizes,
        "bits_back_symbols": info.bits_back,
        "stack_bytes": info.stack_bits // 8,
        "predicted_bytes": round(info.predicted_bits / 8, 1),
    }


def rows(info: Info) -> dict[str, str]:
    """What a file holds, as lines of text with labels."""
    header = info.header
    name = zoo.find_name(header.model_id) or "not installed"
    more = info.stack_bits / max(info.predicted_bits, 1) - 1
    return {
        "picture": f"{header.width} x {header.height}, {'grey' if header.grey else 'colour'}",
        "quality": f"{header.quality:g}",
        "model": f"{name} ({header.model_id.hex()})",
        "texture": f"{header.texture:.2f}, seed {header.seed}",
        "size": f"{info.total} bytes, {info.bpp:.4f} bits per pixel",
        "bytes": ", ".join(f"{name} {size}" for name, size in info.sizes.items()),
        "stack": f"{info.stack_bits // 8} bytes; the model predicts "
        f"{round(info.predicted_bits / 8, 1)} ({more:+.2%})",
        "bits-back": f"{info.bits_back} symbols",
    }


def verify(data: bytes) -> dict[str, Any]:
    """What a sound file holds; checksums, metadata, alpha plane and latents are checked.

    Raises:
        BadFileError: the file is damaged.
        ModelMissingError: its model is not installed, so it cannot be said.
    """
    if not data.startswith(container.MAGIC):
        container.unpack(data)  # says that there is nothing to save
    try:
        parts = container.unpack(data)
        header = parts.header
        _read_latent(parts)
        if parts.alpha is not None:
            _check_alpha(parts)
    except BadFileError as error:
        raise BadFileError(f"{error}; {_what_is_whole(data)}") from error
    size = {"width": header.width, "height": header.height}
    return {"kind": "picture", "bytes": len(data), **size, "metadata": sorted(parts.metadata)}


def salvage(data: bytes) -> tuple[bytes, list[str]]:
    """A sound file of all that is whole in a damaged one, and the names of the lost parts.

    A picture may lose its metadata and its alpha plane. Raises BadFileError when the header or the
    stack is damaged, of which every symbol depends on those before it.
    """
    parts, lost = container.salvage(data)
    if parts.alpha is not None:
        try:
            _check_alpha(parts)
        except BadFileError:
            parts, lost = replace(parts, alpha=None), [*lost, "alpha"]
    return container.pack(parts), lost


def _check_alpha(parts: Container) -> None:
    from .. import images

    assert parts.alpha is not None
    images.decode_alpha(parts.alpha, parts.header.width, parts.header.height)


def _read_latent(parts: Container) -> None:
    from .codec import load_codec

    load_codec(zoo.find(model_id=parts.header.model_id).id).read_latent(parts)


def _what_is_whole(data: bytes) -> str:
    try:
        sound, lost = salvage(data)
        _read_latent(container.unpack(sound))
    except BadFileError:
        return "nothing can be saved"
    return f"all can be saved but: {', '.join(lost)}"
