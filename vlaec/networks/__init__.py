"""The networks of vlaec. Needs torch alone."""

from .config import PRESETS, PhotoConfig
from .photo import PhotoVLAE, Synthesised
from .set_config import SET_PRESETS, SetConfig
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
