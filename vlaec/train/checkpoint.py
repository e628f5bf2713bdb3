"""Checkpoints on disk: written whole or not at all, read without running anything in them."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from .. import files


def write(path: Path, state: dict[str, Any]) -> None:
    """Replace a checkpoint at once: a run that dies leaves the old one."""
    stream = io.BytesIO()
    torch.save(state, stream)
    files.write_atomically(str(path), stream.getvalue(), force=True)


def read(path: Path) -> dict[str, Any]:
    """A checkpoint with its tensors on the host: everything is copied to where it belongs.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged") from error
    return state
