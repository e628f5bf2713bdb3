"""Do files decode to the same latent in other processes, thread counts and instruction sets?

    python -m benchmarks.exactness --out benchmarks/results/exactness.json IMAGE ...

Every picture is compressed here and its latent decoded in one process per setting. Decoding fails
unless the CRC of the latent and the emptiness of the stack agree; the hashes are compared besides.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import SETTINGS, write
from vlaec import images, zoo
from vlaec.photo import codec, container

QUALITIES = (10, 50, 90)


def latent_hash(data: bytes) -> str:
    """SHA-256 of the latent in a file; raises BadFileError if it is not the encoder's."""
    parsed = container.unpack(data)
    own = codec.load_codec(zoo.find(model_id=parsed.header.model_id).id)
    z, _ = own.read_latent(parsed)
    return hashlib.sha256(z.tobytes()).hexdigest()


def main() -> None:
    """Measure and write the results, or (--decode) hash the latents of files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--decode", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.decode:
        print(json.dumps([latent_hash(path.read_bytes()) for path in args.images]))
        return
    with tempfile.TemporaryDirectory() as folder:
        files, expected = [], []
        for path in args.images:
            for quality in QUALITIES:
                data = codec.encode(images.read(path), quality)
                files.append(Path(folder) / f"{path.stem}-{quality}.vlae")
                files[-1].write_bytes(data)
                expected.append(latent_hash(data))
        agreement = {}
        for setting in SETTINGS:
            out = subprocess.run(
                [sys.executable, "-m", "benchmarks.exactness", "--decode", *map(str, files)],
                env={**os.environ, **setting},
                capture_output=True,
                text=True,
                check=True,
            )
            same = sum(a == b for a, b in zip(json.loads(out.stdout), expected, strict=True))
            agreement[" ".join("=".join(item) for item in setting.items())] = same
    result = {
        "command": f"python -m benchmarks.exactness {len(args.images)} images",
        "models": sorted({zoo.find(quality=quality).name for quality in QUALITIES}),
        "files": len(files),
        "files_with_the_same_latent": agreement,
    }
    print(json.dumps(result, indent=1))
    if args.out:
        write(args.out, result)
    if any(same != len(files) for same in agreement.values()):
        raise SystemExit("some latents differ")


if __name__ == "__main__":
    main()
