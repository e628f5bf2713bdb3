"""The kinds of files. A new one is a folder with a module `kind`, and a line in `KINDS`."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

# Folders by the bytes that their files begin with.
KINDS = {b"VLAE": "photo", b"VLAA": "sets"}


class Kind(Protocol):
    """What a folder's module `kind` has. Bytes that are no such file raise BadFileError."""

    def info(self, data: bytes) -> Any:
        """What a file holds, without decoding it: at least `version` and `header`."""

    def facts(self, info: Any) -> dict[str, Any]:
        """What `info` says, ready for JSON."""

    def rows(self, info: Any) -> dict[str, str]:
        """What `info` says, as lines of text with labels."""

    def verify(self, data: bytes) -> dict[str, Any]:
        """What a sound file holds, all decoded but a picture's pixels."""

    def salvage(self, data: bytes) -> tuple[bytes, list[str]]:
        """A sound file of all that is whole in a damaged one, and the names of the lost parts."""


def kind_of(data: bytes) -> Kind:
    """The kind of a file; a foreign one counts as a picture, whose kind says so."""
    folder = next((KINDS[magic] for magic in KINDS if data.startswith(magic)), "photo")
    return cast(Kind, import_module(f".{folder}.kind", __package__))
