"""Photographs for training: decoded once, kept as uint8, cropped and reduced on the device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...images import is_picture

# Every HOLD_OUT-th photo (by name) is for validation and never trained on; unless there is a folder
# of this name, which then holds all those.
HOLD_OUT = 48
HELD_OUT_FOLDER = "held-out"


def photo_paths(folder: Path, held_out: bool) -> list[Path]:
    """Photographs below `folder`, sorted; either those held out for validation or all others.

    Raises:
        FileNotFoundError: there is none.
    """
    pictures = sorted(p for p in folder.rglob("*") if is_picture(p))
    if (folder / HELD_OUT_FOLDER).is_dir():
        members = [p for p in pictures if (p.parent.name == HELD_OUT_FOLDER) == held_out]
    else:
        members = [p for i, p in enumerate(pictures) if (i % HOLD_OUT == 0) == held_out]
    if not members:
        raise FileNotFoundError(f"no photographs in {folder}")
    return members


class PhotoSet:
    """Random crops from photographs held in one flat uint8 tensor on `device`."""

    def __init__(self, paths: list[Path], device: torch.device) -> None:
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
            self.sizes = np.array(list(pool.map(_size, paths)))  # [images, 2]: height, width
            areas = self.sizes.prod(1)
            self.starts = np.concatenate([[0], np.cumsum(areas)[:-1]])
            flat = np.empty((areas.sum(), 3), np.uint8)
            parts = np.split(flat, self.starts[1:])
            list(pool.map(_read_into, paths, parts))
        self.pixels = torch.from_numpy(flat).to(device)  # [sum of H * W, 3]
        # A photo's chance grows with the root of its area: large ones show more, small ones
        # differ more from each other.
        self.weights = np.sqrt(areas)

    def crops(self, n: int, size: int, scale: float, random: np.random.Generator) -> Tensor:
        """`n` crops [n, 3, size, size] in [0, 1], reduced by `scale` <= 1, flipped at random.

        Raises:
            ValueError: no photograph is large enough.
        """
        side = round(size / scale)
        weights = self.weights * (self.sizes.min(1) >= side)
        if not weights.any():
            raise ValueError(f"no photograph has {side} pixels on both sides")
        index = random.choice(len(weights), n, p=weights / weights.sum())
        height, width = self.sizes[index].T
        top = random.integers(0, height - side + 1)
        left = random.integers(0, width - side + 1)
        flips = random.random(n) < 0.5
        choices = np.stack([self.starts[index] + top * width + left, width, flips])
        device = self.pixels.device
        corner, stride, flip = upload(choices, device)
        across = torch.arange(side, device=device)
        rows = corner[:, None] + across * stride[:, None]  # [n, side]
        picked = self.pixels[(rows[:, :, None] + across).flatten()]
        x = picked.view(n, side, side, 3).permute(0, 3, 1, 2).float() / 255
        if side != size:
            x = F.interpolate(x, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        return torch.where(flip[:, None, None, None] == 1, x.flip(3), x)


def _size(path: Path) -> tuple[int, int]:
    """Height and width, from the header alone."""
    with Image.open(path) as image:
        return image.height, image.width


def _read_into(path: Path, target: np.ndarray) -> None:
    """Decode a photograph into `target` [H * W, 3] uint8."""
    with Image.open(path) as image:
        target[:] = np.asarray(image.convert("RGB")).reshape(-1, 3)


def upload(values: np.ndarray, device: torch.device) -> Tensor:
    """An array on `device`; from page-locked memory, so that the host need not wait."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
