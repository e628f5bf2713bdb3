"""The alpha plane as a grey PNG, the form in which a file carries it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, PngImagePlugin

from ..errors import BadFileError
from . import png


def encode_alpha(alpha: np.ndarray) -> bytes:
    """The plane [H, W] uint8 as a grey PNG."""
    out = io.BytesIO()
    Image.fromarray(alpha).save(out, format="png", optimize=True)
    return out.getvalue()


def decode_alpha(data: bytes, width: int, height: int) -> np.ndarray:
    """Inverse of `encode_alpha`: [height, width] uint8. Raises BadFileError if it is not that."""
    try:
        scan = png.scan(data)
        if (scan.width, scan.height, scan.depth, scan.colour) != (width, height, 8, png.GREY):
            raise ValueError("other size or mode")
        png.check_rows(scan)
        with PngImagePlugin.PngImageFile(io.BytesIO(scan.pixels)) as image:
            return np.array(image)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever broken data leads them to
        raise BadFileError("damaged file: bad alpha plane") from error
