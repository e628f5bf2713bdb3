"""The layer that makes previews of the latent, fitted to the means of the network's own pictures.

Training photographs are not needed: the example photograph, turned, shrunk and recoloured in many
ways, is enough to fit one layer by least squares.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..networks import PhotoVLAE
from ..networks.blocks import level_weights
from ..networks.config import STRIDE
from ..networks.seeded import Seeded
from ..photo.graphs import PREVIEW

PHOTO = Path(__file__).parent.parent.parent / "examples" / "photo.png"
PICTURES = 60
# Share of the inputs' mean square: some of them depend on each other.
RIDGE = 1e-5
FACTOR = STRIDE // PREVIEW


@torch.no_grad()
def fit_preview(model: PhotoVLAE, photo: Path = PHOTO, pictures: int = PICTURES) -> nn.Conv2d:
    """A layer from `PhotoVLAE.known` to 3 x FACTOR^2 channels, before a pixel-shuffle: means of
    `PhotoVLAE.mean` less 0.5.

    Raises FileNotFoundError without the photograph.
    """
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    with Image.open(photo) as opened:
        original = opened.convert("RGB")
    squares: Tensor | float = 0.0
    products: Tensor | float = 0.0
    for _ in range(pictures):
        x = torch.from_numpy(_varied(original, rng)).permute(2, 0, 1)[None].float() / 255
        levels = level_weights(torch.rand(1, generator=generator), model.config.levels)
        z = model.encode(x, levels).round()
        prior = model.prior(z, z, levels, model.prior.draw_noise(z, generator))
        code = model.code(z, prior.mean, prior.log_scale, levels)
        means = F.avg_pool2d(model.mean(model.synthesis.trunk(code)) - 0.5, PREVIEW)
        inputs = F.unfold(code.contiguous(), 3, padding=1)[0].double()
        inputs = torch.cat([inputs, torch.ones_like(inputs[:1])])
        wanted = F.pixel_unshuffle(means, FACTOR).flatten(2)[0].double()
        squares = squares + inputs @ inputs.T
        products = products + inputs @ wanted.T
    assert isinstance(squares, Tensor) and isinstance(products, Tensor)
    ridge = RIDGE * squares.diagonal().mean() * torch.eye(len(squares), dtype=torch.double)
    solution = torch.linalg.solve(squares + ridge, products).T.float()
    with Seeded():
        layer = nn.Conv2d(code.shape[1], len(solution), 3, padding=1)
    layer.weight.copy_(solution[:, :-1].reshape(layer.weight.shape))
    assert layer.bias is not None
    layer.bias.copy_(solution[:, -1])
    return layer


def _varied(photo: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A picture [16 h, 16 w, 3] of another size, orientation, contrast and colour."""
    share = rng.choice([1, 0.8, 0.6])
    size = (int(photo.width * share), int(photo.height * share))
    pixels = np.asarray(photo.resize(size, Image.Resampling.LANCZOS)) / 255
    pixels = np.rot90(pixels, int(rng.integers(4)))[:, :: int(rng.choice([-1, 1]))]
    colours = 3 if rng.random() < 0.5 else 1
    if colours == 3:
        pixels = pixels[:, :, rng.permutation(3)]
    pixels = pixels ** np.exp(rng.uniform(-0.6, 0.6, colours))
    dark, light = rng.uniform(0, 40), rng.uniform(180, 255)
    height, width = (STRIDE * (length // STRIDE) for length in pixels.shape[:2])
    return np.rint(dark + (light - dark) * pixels[:height, :width]).astype(np.uint8)
