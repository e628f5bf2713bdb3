"""What both codecs say of a latent: its bytes, and that it is not the one that was encoded."""

from __future__ import annotations

import numpy as np

from ..errors import BadFileError


def latent_bytes(z: np.ndarray) -> bytes:
    """A latent's integers as little-endian 16-bit ones, in C order: for its checksum."""
    return z.astype("<i2").tobytes()


def mismatch(what: str, model: str) -> BadFileError:
    """The error of a file whose `what` decodes to something else.

    Args:
        model: name and id of the model.
    """
    return BadFileError(
        f"the decoded {what} are not the encoded ones (model {model}, numpy {np.__version__}): "
        "damaged file, or a fault here"
    )
