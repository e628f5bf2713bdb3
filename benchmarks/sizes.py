"""How near files come to the size that was asked for, and that none is larger.

    python -m benchmarks.sizes DATA/kodak --out benchmarks/results/sizes.json

Every picture is compressed to a few limits in bytes, given as bits per pixel.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from PIL import Image

import vlaec
from benchmarks.common import command, write
from vlaec import zoo

TARGETS = (0.1, 0.15, 0.2, 0.3, 0.5)  # bits per pixel
NEAR = 0.97


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    for path in sorted(args.folder.glob("*.png")):
        with Image.open(path) as image:
            image.load()
        for bpp in TARGETS:
            limit = int(bpp * image.width * image.height / 8)
            size = len(vlaec.compress(image, size=limit))
            rows.append({"picture": path.name, "limit": limit, "bytes": size})
    shares = [row["bytes"] / row["limit"] for row in rows]
    result = {
        "command": command("sizes", [str(args.folder), *sys.argv[2:]]).replace(
            str(args.folder), f"DATA/{args.folder.name}"
        ),
        "model": zoo.find().name,
        "files": len(rows),
        "above": sum(share > 1 for share in shares),
        "nearer_than_3_percent": sum(NEAR <= share <= 1 for share in shares),
        "farthest": [row for row, share in zip(rows, shares, strict=True) if share < NEAR],
        "mean_share": round(sum(shares) / len(shares), 4),
    }
    print(json.dumps(result, indent=1))
    if args.out:
        write(args.out, result)


if __name__ == "__main__":
    main()
