"""Photographs for a machine that is lent: reduced, in one archive of a size that can be sent."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from .data import HELD_OUT_FOLDER, photo_paths
from .typefaces import FOLDER, typefaces

SCALE = 0.58
# Photographs are not reduced below this on their short side: crops are cut from them.
SHORT_SIDE = 400
QUALITY = 88
# Crops of held-out photographs, for validation.
CROPS, CROP, CROP_SCALE = 24, 256, 0.7


def stage(
    folder: Path,
    target: Path,
    first: list[str],
    then: list[str],
    most: int,
    fonts: Path | None = None,
) -> int:
    """Write the photographs of `folder` as the archive `target`, of at most `most` bytes.

    Those held out are left out, but for crops of them in a folder of their own, where
    `data.photo_paths` looks for them.

    Args:
        first: names of subfolders that are taken whole.
        then: names of subfolders that fill what is left.
        fonts: a folder of typefaces for drawn pages, which are taken as well.

    Returns:
        how many photographs there are.
    """
    size = count = 0
    held_out = photo_paths(folder, held_out=True)
    held_out.sort(key=lambda p: p.parent.name not in first)
    training = photo_paths(folder, held_out=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w") as tar:

        def add(name: str, data: bytes) -> bool:
            nonlocal size
            if size + len(data) + 1536 > most - 10240:
                return False
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
            size += len(data) + 1536
            return True

        for face in typefaces(fonts) if fonts else []:
            if face.path is not None:
                add(f"{FOLDER}/{face.path.name}", face.path.read_bytes())
        for i, data in enumerate(_validation(held_out)):
            add(f"{HELD_OUT_FOLDER}/{i:02}.webp", data)
        for group in (first, then):
            members = [p for p in training if p.parent.name in group]
            order = np.random.default_rng(0).permutation(len(members))
            with ThreadPoolExecutor() as pool:
                paths = [members[i] for i in order]
                for path, data in zip(paths, pool.map(_reduced, paths), strict=True):
                    count += add(f"{path.parent.name}/{path.stem}.webp", data)
    return count


def _reduced(path: Path) -> bytes:
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = min(1.0, max(SCALE, SHORT_SIDE / min(image.size)))
    width, height = (round(scale * side) for side in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS)
    return _webp(small, quality=QUALITY, method=4)


def _webp(image: Image.Image, **how: int | bool) -> bytes:
    data = io.BytesIO()
    image.save(data, "WEBP", **how)
    return data.getvalue()


def _validation(paths: Iterable[Path]) -> list[bytes]:
    """Crops from the middles of photographs that are large enough."""
    crops: list[bytes] = []
    side = round(CROP / CROP_SCALE)
    for path in paths:
        with Image.open(path) as image:
            if min(image.size) < CROP or len(crops) == CROPS:
                continue
            whole = side if min(image.size) >= side else CROP
            left, top = ((length - whole) // 2 for length in image.size)
            crop = image.convert("RGB").crop((left, top, left + whole, top + whole))
        small = crop.resize((CROP, CROP), Image.Resampling.LANCZOS)
        crops.append(_webp(small, lossless=True))
    return crops
