"""What this installation runs on, for `vlaec --version` and bug reports. Imports none of it."""

from __future__ import annotations

import platform
import sys

PACKAGES = ("numpy", "pillow", "constriction", "onnxruntime", "torch", "safetensors")


def versions() -> dict[str, str]:
    """Names and versions, in the order in which they are shown."""
    from importlib import metadata

    from .. import zoo
    from ..threads import processors

    versions_by_name = {"Python": f"{platform.python_version()} on {platform.platform(terse=True)}"}
    for package in PACKAGES:
        try:
            versions_by_name[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions_by_name[package] = "not installed"
    versions_by_name["processor"] = f"{platform.machine()}, {_instructions()}"
    versions_by_name["threads"] = f"{processors()} processors may be used"
    cards = zoo.list_models()
    versions_by_name["models"] = ", ".join(f"{card.name} ({card.id})" for card in cards) or "none"
    return versions_by_name


def _instructions() -> str:
    """The widest vector instructions that the system tells of without a library."""
    names = ("avx512f", "avx2", "sse4_1", "asimd")
    try:
        with open("/proc/cpuinfo") as stream:
            flags = next((line for line in stream if line.startswith(("flags", "Features"))), "")
    except OSError:
        flags = ""
    words = set(flags.split())
    named = next((name for name in names if name in words), None)
    return named or f"instruction set unknown ({sys.platform})"
