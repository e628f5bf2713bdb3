"""Pillow's warnings about EXIF and TIFF, which this package says in its own words."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()


@contextmanager
def quiet(raising: bool = False) -> Iterator[None]:
    """Silence warnings, one thread at a time: `warnings.catch_warnings` is not safe in threads.

    Args:
        raising: turn them into errors instead.
    """
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("error" if raising else "ignore")
        yield
