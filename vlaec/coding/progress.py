"""Progress of long work."""

from __future__ import annotations

from collections.abc import Callable

# Is told the share of the work that is done, 0 to 1.
Progress = Callable[[float], None]


def silent(share: float) -> None:
    """Tells nobody."""
