"""The networks of vlaec. Needs torch alone."""

from .config import PRESETS, PhotoConfig
from .vlae import PhotoVLAE, Synthesised

__all__ = ["PRESETS", "PhotoConfig", "PhotoVLAE", "Synthesised"]
