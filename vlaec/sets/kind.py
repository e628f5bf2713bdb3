"""The kind of `.vlaa` files: what is said of one, and what can be saved of a damaged one."""

from __future__ import annotations

from typing import Any

from .. import zoo
from . import container
from .container import Info, info

__all__ = ["facts", "info", "rows", "salvage", "verify"]


def facts(info: Info) -> dict[str, Any]:
    """What an archive holds, ready for JSON."""
    header = info.header
    return {
        "images": header.count,
        "height": header.height,
        "width": header.width,
        "colour": header.colour,
        "lossy": header.lossy,
        "seed": header.seed,
        "model": zoo.find_name(header.model_id),
        "model_id": header.model_id.hex(),
        "bytes": info.total,
        "initial_bits": info.initial_bits,
        "bits_per_dim": round(info.bits_per_dim, 5),
        "bits_per_dim_without_initial": round(info.net_bits_per_dim, 5),
        "sizes": info.sizes,
        "stack_bytes": 4 * len(info.stack.words),
        "predicted_bytes": round(info.predicted_bits / 8, 1),
        "blocks": len(info.stack.blocks),
    }


def rows(info: Info) -> dict[str, str]:
    """What an archive holds, as lines of text with labels."""
    header, said = info.header, facts(info)
    kind = "lossy" if header.lossy else "lossless"
    rows = {
        "images": f"{header.count} of {header.width} x {header.height}, "
        f"{'colour' if header.colour else 'black and white'}, {kind}",
        "model": f"{said['model'] or 'not installed'} ({header.model_id.hex()})",
        "size": f"{info.total} bytes, {info.bits_per_dim:.4f} bits/dim",
        "bytes": ", ".join(f"{name} {size}" for name, size in info.sizes.items()),
        "stack": f"{said['stack_bytes']} bytes, {info.initial_bits // 8} of them initial; "
        f"the model predicts {said['predicted_bytes']} for the rest",
        "blocks": f"{len(info.stack.blocks)}, the largest of {max(info.stack.blocks)} images",
    }
    if info.initial_bits:
        rows["initial"] = (
            f"{info.initial_bits} bits, not of the content; without them "
            f"{info.net_bits_per_dim:.4f} bits/dim"
        )
    if header.lossy:
        rows["seed"] = str(header.seed)
    return rows


def verify(data: bytes) -> dict[str, Any]:
    """What a sound archive holds; every image is decoded.

    Raises:
        BadFileError: the file is damaged.
        ModelMissingError: its model is not installed, so it cannot be said.
    """
    from .archive import extract

    return {"kind": "archive", "bytes": len(data), "images": len(extract(data))}


def salvage(data: bytes) -> tuple[bytes, list[str]]:
    """A sound file of all that is whole in a damaged one, and the names of the lost parts.

    An archive may lose the names of its images. Raises BadFileError when nothing can be saved.
    """
    archive, lost = container.salvage(data)
    return container.pack(archive), lost
