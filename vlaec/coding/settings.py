"""Settings of models and recipes: dataclasses that travel as JSON, as inside a weights file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Settings:
    """A dataclass to and from plain values; a field may hold settings in turn."""

    KIND: ClassVar[str] = "model"  # word for it in messages

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of `to_dict`; what is not given has its default.

        Raises:
            ValueError: an unknown field, or values that contradict each other.
        """
        kinds: dict[str, Any] = {field.name: field.default_factory for field in fields(cls)}
        if unknown := sorted(set(values) - set(kinds)):
            raise ValueError(f"unknown {cls.KIND} settings: {', '.join(unknown)}")
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        for name, kind in kinds.items():
            if name in plain and isinstance(kind, type) and issubclass(kind, Settings):
                plain[name] = kind.from_dict(values[name])
        return cls(**plain)

    def check_choice(self, name: str, choices: Collection[str]) -> None:
        """Raise ValueError where a field is not among its choices."""
        if getattr(self, name) not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}")
