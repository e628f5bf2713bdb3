"""What a `.vlae` file spends its bits on, and where its texture is invented.

Both as maps over cells of 16 x 16 pixels, one per latent: the model's -log2 p of the latents of a
cell, and the root mean square of what texture adds to the stored structure, in grey levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from . import images
from .api import read_latent
from .coding.gaussian import Gaussians, gaussian_bits
from .coding.student import student_bits
from .images import Picture
from .photo import codec, container

CELL = 16
# Longest side of a panel of the drawing.
PANEL = 1024
CAPTION = 18
# Red, green and blue from nothing to the most, as in matplotlib's "inferno".
_COLOURS = np.array(
    [(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], float
)


@dataclass(frozen=True)
class Explanation:
    """Maps of a file. `bits` and `texture` [h, w] by cell; `streams`: bytes by stream."""

    picture: Picture
    structure: Picture
    bits: np.ndarray
    texture: np.ndarray
    streams: dict[str, int]
    predicted_bits: float
    strength: float

    def facts(self) -> dict[str, Any]:
        """The numbers, the maps among them as lists of rows."""
        ordered = np.sort(self.bits, None)[::-1]
        tenth = max(1, round(ordered.size / 10))
        total = float(self.bits.sum())
        return {
            "streams": self.streams,
            "predicted_bits": round(float(self.predicted_bits), 1),
            "latent_bits": round(total, 1),
            "other_bits": round(float(self.predicted_bits) - total, 1),
            "cell": CELL,
            "bits_per_cell": {
                "mean": round(float(self.bits.mean()), 2),
                "most": round(float(self.bits.max()), 2),
                "share_of_the_richest_tenth": round(float(ordered[:tenth].sum()) / total, 4),
            },
            "texture": {
                "strength": round(self.strength, 3),
                "mean": round(float(self.texture.mean()), 3),
                "most": round(float(self.texture.max()), 3),
                "share_of_cells_above_2_levels": round(float((self.texture > 2).mean()), 4),
            },
            "map_of_bits": np.round(self.bits, 1).tolist(),
            "map_of_texture": np.round(self.texture, 2).tolist(),
        }

    def draw(self) -> Image.Image:
        """Three panels: the picture, where the bits went, where texture is invented."""
        size = (self.picture.width, self.picture.height)
        scale = max(1.0, max(size) / PANEL)
        width, height = (max(1, round(side / scale)) for side in size)
        grey = np.asarray(Image.fromarray(self.structure.rgb).convert("L").resize((width, height)))
        panels = [
            ("as it is decompressed", Image.fromarray(self.picture.rgb).resize((width, height))),
            (
                f"bits, at most {self.bits.max():.0f} a cell",
                _heat(self.bits, grey, size),
            ),
            (
                f"invented texture, at most {self.texture.max():.1f} levels",
                _heat(self.texture, grey, size),
            ),
        ]
        sheet = Image.new("RGB", (3 * width + 2 * 4, height + CAPTION), "white")
        pen = ImageDraw.Draw(sheet)
        for index, (caption, panel) in enumerate(panels):
            left = index * (width + 4)
            sheet.paste(panel, (left, CAPTION))
            pen.text((left + 2, 2), caption, fill="black")
        return sheet


def explain(data: bytes) -> Explanation:
    """Maps of a `.vlae` file. Raises VlaecError."""
    parts, info = container.unpack(data), container.info(data)
    z, parameters = read_latent(parts)
    gaussians = Gaussians(parameters.means, parameters.log_scales)
    bits = (gaussian_bits if parts.header.first_versions else student_bits)(z, gaussians)
    structure = codec.decode(data, texture=0.0)
    strength = parts.header.texture
    picture = codec.decode(data) if strength else structure
    added = picture.rgb.astype(np.float64) - structure.rgb
    return Explanation(
        picture=picture,
        structure=structure,
        bits=bits.sum(0),
        texture=np.sqrt(_cell_means((added**2).mean(2))),
        streams=info.sizes,
        predicted_bits=info.predicted_bits,
        strength=strength,
    )


def to_png(image: Image.Image) -> bytes:
    """A drawing as a file."""
    rgb = np.asarray(image)
    return images.to_bytes(Picture(rgb=rgb), "png")


def _cell_means(plane: np.ndarray) -> np.ndarray:
    """[H, W] -> [H / 16, W / 16], rounded up: means over cells, of fewer pixels at the edges."""
    rows, columns = (np.arange(0, side, CELL) for side in plane.shape)
    sums = np.add.reduceat(np.add.reduceat(plane, rows, 0), columns, 1)
    counts = np.outer(
        *(np.diff([*at, n]) for at, n in zip((rows, columns), plane.shape, strict=True))
    )
    means: np.ndarray = sums / counts
    return means


def _heat(cells: np.ndarray, grey: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Values of cells as colours over a grey picture [height, width], from 0 to the largest."""
    width, height = size
    large = np.repeat(np.repeat(cells, CELL, 0), CELL, 1)[:height, :width]
    share = Image.fromarray((large / max(float(cells.max()), 1e-9)).astype(np.float32))
    values = np.asarray(share.resize(grey.shape[::-1], Image.Resampling.BOX))
    stops = np.linspace(0, 1, len(_COLOURS))
    colours = np.stack([np.interp(values, stops, c) for c in _COLOURS.T], 2)
    mixed = 0.75 * colours + 0.25 * grey[..., None]
    return Image.fromarray(np.rint(mixed).astype(np.uint8))
