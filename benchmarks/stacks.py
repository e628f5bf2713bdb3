"""Whether files hold the same words as those of an earlier commit, with its weights in both.

    git worktree add --detach OLD 1094bbd
    python -m benchmarks.stacks OLD PHOTOS --out benchmarks/results/stacks.json

Whole files differ by the format's version. What is compared is the entropy-coded stack, which is
all but the header.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.before import PHOTO, provide_models
from benchmarks.common import command, evenly, write
from vlaec.photo import container

ENCODE = """
import sys
from pathlib import Path
from PIL import Image
import vlaec
model, out, *photographs = sys.argv[1:]
for index, path in enumerate(photographs):
    with Image.open(path) as image:
        data = vlaec.compress(image.convert("RGB"), 50, model=model)
    Path(out, f"{index}.vlae").write_bytes(data)
"""


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path, help="a checkout of the earlier commit")
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    paths = sorted(p.resolve() for p in args.photographs.iterdir())
    chosen = [str(paths[i]) for i in evenly(len(paths), args.count)]
    trees = {"before": args.old.resolve(), "now": Path(__file__).resolve().parent.parent}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        provide_models(trees["before"], folder)
        models = {"before": trees["before"] / "models", "now": folder}
        parsed: dict[str, list[container.Container]] = {}
        sizes: dict[str, int] = {}
        for tree, root in trees.items():
            out = folder / tree
            out.mkdir()
            places = {"PYTHONPATH": str(root), "VLAEC_MODELS": str(models[tree])}
            call = [sys.executable, "-W", "ignore", "-c", ENCODE, PHOTO, str(out), *chosen]
            subprocess.run(call, cwd=root, env={**os.environ, **places}, check=True)
            files = [(out / f"{index}.vlae").read_bytes() for index in range(len(chosen))]
            parsed[tree] = [container.unpack(data) for data in files]
            sizes[tree] = sum(map(len, files))
    pairs = list(zip(parsed["before"], parsed["now"], strict=True))
    result = {
        "command": command("stacks", ["OLD", "PHOTOS", *sys.argv[3:]]),
        "photographs": len(pairs),
        "the same words": sum(np.array_equal(a.stack.words, b.stack.words) for a, b in pairs),
        "the same strength": sum(a.header.texture == b.header.texture for a, b in pairs),
        "bytes": sizes,
    }
    print(result)
    if args.out:
        write(args.out, result)


if __name__ == "__main__":
    main()
