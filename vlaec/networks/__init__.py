"""The networks of vlaec. Their sizes (`config`, `set_config`) need nothing; the rest needs torch
and is loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .config import PRESETS, PhotoConfig
from .set_config import SET_PRESETS, SetConfig

if TYPE_CHECKING:
    from .photo import PhotoVLAE, Synthesised
    from .sets import SetVLAE

__all__ = [
    "PRESETS",
    "SET_PRESETS",
    "PhotoConfig",
    "PhotoVLAE",
    "SetConfig",
    "SetVLAE",
    "Synthesised",
]

_HOMES = {"PhotoVLAE": "photo", "SetVLAE": "sets", "Synthesised": "photo"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
