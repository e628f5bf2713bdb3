"""The likelihood of a picture: what the latent costs, and p(x | z) at every pixel. Needs torch.

-log2 p(x, z) = -log2 p(z) - log2 p(x | z) with z as the encoder chooses it; the latent's bits are
exact, the pixels' are the PixelCNN's over the residual that it models. Together they are
an upper bound of -log2 p(x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import zoo
from .api import check_model, encode, read_latent
from .errors import UsageError
from .inputs import as_picture
from .options import CompressOptions
from .photo import container

# Rows at a time: bounds the memory.
ROWS = 256


@dataclass(frozen=True)
class Likelihood:
    """Bits of a picture under a model. `pixel_bits` [H, W]: -log2 p of the values of each pixel."""

    latent_bits: float
    pixel_bits: np.ndarray

    @property
    def bits(self) -> float:
        """-log2 p(x, z)."""
        return self.latent_bits + float(self.pixel_bits.sum())

    @property
    def bits_per_dim(self) -> float:
        """Bits per value of a pixel: 8 would be no model at all."""
        return self.bits / (3 * self.pixel_bits.size)


def likelihood(image: Any, quality: float = 50, *, model: str | None = None) -> Likelihood:
    """The likelihood of a picture of any kind that `vlaec.compress` takes.

    Args:
        image: the picture; transparency does not count.
        quality: 0..100, of the latent.
        model: name of a model; None for the default one at this quality.

    Raises:
        VlaecError: as `vlaec.compress`; torch is not installed.
    """
    options = CompressOptions(quality=quality, model=model)
    card = check_model(options)
    try:
        import torch

        from .networks.pixelcnn import mixture_bits
    except ImportError as error:
        raise UsageError("likelihood needs torch: pip install 'vlaec[torch]'") from error
    picture = as_picture(image)
    data = encode(picture, options)
    z, parameters = read_latent(container.unpack(data))
    network = zoo.load(card)
    height, width = picture.height, picture.width

    def tensor(plane: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(plane, np.float32))[None]

    with torch.inference_mode():
        levels = torch.from_numpy(_level_weights(card, options))[None]
        mean, detail, features = network.decode(
            tensor(z), tensor(parameters.means), tensor(parameters.log_scales), levels
        )
        features = features[:, :, :height, :width]
        x = tensor(picture.rgb.transpose(2, 0, 1)) / 255
        residual = x - (mean + detail)[:, :, :height, :width]
        above = -min(row for row, _ in network.pixelcnn.offsets)
        bits = []
        for top in range(0, height, ROWS):
            first = max(0, top - above)
            part = residual[:, :, first : top + ROWS]
            mixture = network.pixelcnn(part, features[:, :, first : top + ROWS])
            bits.append(mixture_bits(mixture, part)[0, top - first :].numpy())
    return Likelihood(container.info(data).predicted_bits, np.concatenate(bits))


def _level_weights(card: zoo.Card, options: CompressOptions) -> np.ndarray:
    """Weights of the two levels around a quality."""
    from .photo.codec import load_codec

    exact = load_codec(card.id).exact
    return exact.level_weights(round(100 * options.quality)).astype(np.float32)
