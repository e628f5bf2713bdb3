"""Standard streams that the caller has closed, as daemons and `2>&-` do.

A file that is opened while descriptor 2 is free becomes descriptor 2, and whatever a library says
goes into it. So the null device takes the place of each closed stream, before anything is opened.
"""

from __future__ import annotations

import os
import sys


def fill_closed() -> None:
    """Open the null device in place of each standard stream that is closed."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
            # `files` asks for it: what was to go through a closed stream must not vanish.
            stream.closed_by_caller = True  # type: ignore[attr-defined]
            setattr(sys, name, stream)
