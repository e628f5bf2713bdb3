"""The same latent and the same picture under other processors, threads and versions: a table.

    python -m benchmarks.versions --python OTHER/bin/python --out benchmarks/results/versions.json

The repository's photograph is compressed here and decompressed with full texture in one process per
setting. OpenBLAS takes other instructions with OPENBLAS_CORETYPE; ONNX Runtime has no such switch.
Every `--python` is an interpreter of an environment with other versions. Where PyTorch is there,
its networks take the place of ONNX Runtime's, too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = [
    {"VLAEC_THREADS": "1"},
    {"VLAEC_THREADS": "2"},
    *({"OPENBLAS_CORETYPE": name} for name in ("Prescott", "Nehalem", "Sandybridge", "Haswell")),
    {"OPENBLAS_CORETYPE": "SkylakeX"},
]
_CHILD = """
import hashlib, json, os, sys
import numpy as np, onnxruntime, PIL
from vlaec import zoo
from vlaec.images import read
from vlaec.photo import codec, container
source, target, torchs = sys.argv[1:4]
parts = container.unpack(open(source, "rb").read())
own = codec.load_codec(parts.header.model_id.hex())
z, _ = own.read_latent(parts)
if torchs:
    import torch
    from vlaec.photo.strips import Held
    from vlaec.photo.codec import Latents
    network = zoo.load(own.card)
    weights = own.exact.level_weights(parts.header.quality_hundredths)
    z, parameters = own.read_latent(parts)
    rows = Latents(z, parameters)
    given = [torch.from_numpy(np.ascontiguousarray(p)) for p in rows.rows(0, rows.height)]
    with torch.inference_mode():
        made = [m.numpy() for m in network.decode(*given, torch.from_numpy(weights).float()[None])]
    own.graphs.mean = lambda known: Held(1, made[0])
    own.graphs.texture = lambda known: Held(1, *made[1:])
np.save(target, own.decode(parts, 1.0).rgb)
again = b"" if torchs else own.encode(read(os.environ["PICTURE"]), 50)
print(json.dumps({"latent": hashlib.sha256(z.astype("<i2").tobytes()).hexdigest(),
                  "file": hashlib.sha256(again).hexdigest(),
                  "python": sys.version.split()[0], "numpy": np.__version__,
                  "onnxruntime": onnxruntime.__version__, "Pillow": PIL.__version__}))
"""


def decode(python: str, setting: dict[str, str], folder: Path, torchs: bool = False) -> Any:
    """What a process says, and its picture [H, W, 3]."""
    import numpy as np

    target = folder / "picture.npy"
    done = subprocess.run(
        [python, "-c", _CHILD, str(folder / "photo.vlae"), str(target), "torch" if torchs else ""],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PICTURE": str(ROOT / "examples" / "photo.png"),
            **setting,
        },
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1]), np.load(target).astype(int)


def main() -> None:
    """Compare every setting with this process's own, print the table and write it."""
    import numpy as np

    import vlaec

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", nargs="*", default=[], help="of other environments")
    parser.add_argument("--torch", action="store_true", help="PyTorch's networks, too")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photo.vlae").write_bytes(vlaec.compress(ROOT / "examples" / "photo.png"))
        said, picture = decode(sys.executable, {}, folder)
        cases = [(sys.executable, setting, False) for setting in SETTINGS]
        cases += [(python, {}, False) for python in options.python]
        cases += [(sys.executable, {}, True)] if options.torch else []
        for python, setting, torchs in cases:
            other, shown = decode(python, setting, folder, torchs)
            difference = np.abs(shown - picture)
            versions = {k: other[k] for k in ("python", "numpy", "onnxruntime", "Pillow")}
            rows.append(
                {
                    "setting": setting or ({"networks": "torch"} if torchs else versions),
                    "same_latent": other["latent"] == said["latent"],
                    "same_file": None if torchs else other["file"] == said["file"],
                    "share_of_values_that_differ": round(float((difference > 0).mean()), 8),
                    "by_more_than_one_level": int((difference > 1).sum()),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
            if options.out:
                result = {"command": "python -m benchmarks.versions", "base": said, "rows": rows}
                options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
