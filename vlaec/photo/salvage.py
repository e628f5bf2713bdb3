"""What can be saved of a damaged `.vlae` file: its picture without the parts that are damaged."""

from __future__ import annotations

from dataclasses import replace

from .. import images
from ..errors import BadFileError
from . import container
from .container import Container


def salvage(data: bytes) -> tuple[Container, list[str]]:
    """The parts of a file that are whole, ready to be decoded, and the names of the others.

    Nothing can be saved when the header or the stack is damaged: every symbol of the stack depends
    on those before it. Raises BadFileError then.
    """
    parts, lost = container.salvage(data)
    if parts.alpha is not None:
        header = parts.header
        try:
            images.decode_alpha(parts.alpha, header.width, header.height)
        except BadFileError:
            parts, lost = replace(parts, alpha=None), [*lost, "alpha"]
    return parts, lost
