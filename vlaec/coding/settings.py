"""Settings of a model: dataclasses that travel as JSON inside a weights file."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


def settings(cls: type, values: dict[str, Any], what: str) -> dict[str, Any]:
    """Values read from JSON as arguments of a dataclass: its lists are tuples.

    Raises:
        ValueError: a field that `cls` does not have.
    """
    unknown = sorted(set(values) - {field.name for field in fields(cls)})
    if unknown:
        raise ValueError(f"unknown {what} settings: {', '.join(unknown)}")
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
