"""Make golden files of the format's newest version: `python tests/golden/make.py`, from the root.

Files of older versions stay as they are: every later program must decode them. Run it only when the
format changes on purpose, with another MARK; say so in CHANGELOG.md.
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

MARK = "v3"

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
        f"photo-q60-{MARK}": (photo, 60),
        f"photo-q5-{MARK}": (photo, 5),
        f"pixel-q50-{MARK}": (photo.crop((0, 0, 1, 1)), 50),
        f"odd-alpha-q40-{MARK}": (alpha, 40),
        f"grey-q80-{MARK}": (photo.resize((61, 19)).convert("L"), 80),
    }
    expected = json.loads((HERE / "expected.json").read_text())
    own = codec.load_codec(zoo.find().id)
    # The model is so small that otherwise all of w is drawn.
    cases[f"photo-q60-steps-{MARK}"] = (photo, 60)
    for name, (image, quality) in cases.items():
        own.coder.bits_back = "steps" not in name
        data = vlaec.compress(image, quality=quality)
        (HERE / f"{name}.vlae").write_bytes(data)
        vlaec.decompress(data).save(HERE / f"{name}.png", optimize=True)
        parsed = container.unpack(data)
        z, parameters = own.read_latent(parsed)
        content = z.tobytes() + parameters.means.tobytes() + parameters.log_scales.tobytes()
        expected[f"{name}.vlae"] = {"latent_sha256": hashlib.sha256(content).hexdigest()}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
