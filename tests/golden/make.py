"""Regenerate the golden files: `python tests/golden/make.py`, from the repository's root.

Only when the format or the golden model changes on purpose; say so in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
os.environ["VLAEC_MODELS"] = str(HERE / "models")

import vlaec  # noqa: E402
from vlaec import zoo  # noqa: E402
from vlaec.photo import codec, container  # noqa: E402


def main() -> None:
    """Write every golden file, its picture, and the hashes of what it must decode to."""
    with Image.open(HERE.parent.parent / "examples" / "photo.png") as image:
        photo = image.convert("RGB").crop((150, 100, 278, 228))
    alpha = photo.resize((37, 23)).convert("RGBA")
    alpha.putalpha(Image.fromarray(np.arange(23 * 37, dtype=np.uint8).reshape(23, 37)))
    cases = {
        "photo-q60": (photo, 60),
        "photo-q5": (photo, 5),
        "odd-alpha-q40": (alpha, 40),
        "grey-q80": (photo.resize((61, 19)).convert("L"), 80),
        "pixel-q50": (photo.resize((1, 1)), 50),
    }
    expected = {}
    for name, (image, quality) in cases.items():
        data = vlaec.compress(image, quality=quality)
        (HERE / f"{name}.vlae").write_bytes(data)
        vlaec.decompress(data).save(HERE / f"{name}.png", optimize=True)
        parsed = container.unpack(data)
        own = codec.load_codec(zoo.find().id)
        shape = codec.latent_shape(parsed.header.height, parsed.header.width)
        z, parameters = own.coder.decode(
            parsed.stack.words, parsed.stack.bits_back, shape, parsed.header.quality_hundredths
        )
        content = z.tobytes() + parameters.means.tobytes() + parameters.log_scales.tobytes()
        expected[f"{name}.vlae"] = {"latent_sha256": hashlib.sha256(content).hexdigest()}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
