"""Pictures to `.vlae` bytes and back: the model, the coder and the container put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .. import images, zoo
from ..coding.exact import GridError
from ..errors import BadFileError, UsageError
from ..images import Picture
from ..networks.config import STRIDE
from ..networks.streaming import encode_in_rows
from .container import Container, Header, Stack, pack, unpack
from .exact_prior import ExactPrior
from .latent_coder import LatentCoder, Parameters
from .quantise import quantise
from .refine import refine
from .render import render
from .sampler import TextureSampler
from .strength import choose_strength

Progress = Callable[[float], None]

MAX_EFFORT = 9
# Steps of the search for a better latent: 50 at least, fewer find nothing.
STEPS_PER_EFFORT = 50


def encode(
    picture: Picture,
    quality: float = 50,
    model: str | None = None,
    progress: Progress | None = None,
    effort: int = 0,
) -> bytes:
    """A picture as a `.vlae` file.

    Args:
        picture: what to compress.
        quality: 0..100.
        model: name of a model; None for the default one at this quality.
        progress: told the share that is done.
        effort: 0..9, how long to search for a better latent; see `vlaec.photo.refine`.

    Raises:
        VlaecError: a quality or effort out of range, a missing model.
    """
    if not 0 <= quality <= 100:
        raise UsageError(f"quality must be between 0 and 100, not {quality:g}")
    return load_codec(zoo.find(name=model, quality=quality).id).encode(
        picture, quality, progress, effort
    )


def decode(
    data: bytes,
    texture: float | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Picture:
    """The picture in a `.vlae` file.

    Args:
        data: the file.
        texture: strength of the resampled texture, 0..1; None for the file's own.
        seed: seed of that texture, 0..255; None for the file's own.
        progress: told the share that is done.

    Raises:
        VlaecError: a damaged or foreign file, a missing model, an argument out of range.
    """
    container = unpack(data)
    codec = load_codec(zoo.find(model_id=container.header.model_id).id)
    return codec.decode(container, texture, seed, progress)


@lru_cache(maxsize=4)
def load_codec(model_id: str) -> Codec:
    """The codec of a model, loaded once per process."""
    return Codec(zoo.find(model_id=bytes.fromhex(model_id)))


class Codec:
    """One model, ready to encode and decode."""

    def __init__(self, card: zoo.Card) -> None:
        self.card = card
        self.model = zoo.load(card)
        config = self.model.config
        try:
            self.exact = ExactPrior(zoo.read_weights(card)[1], config)
        except GridError as error:
            raise zoo.ModelMissingError(f"model {card.name} cannot be used: {error}") from error
        self.coder = LatentCoder(self.exact)
        self.sampler = TextureSampler(self.model.pixelcnn, config.temperature)

    def encode(
        self,
        picture: Picture,
        quality: float = 50,
        progress: Progress | None = None,
        effort: int = 0,
    ) -> bytes:
        """A `.vlae` file; see the function `encode`."""
        lowest, highest = self.card.qualities
        if not lowest <= quality <= highest:
            raise UsageError(
                f"quality must be between {lowest:g} and {highest:g} for model {self.card.name}, "
                f"not {quality:g}"
            )
        if effort not in range(MAX_EFFORT + 1):
            raise UsageError(f"effort must be a whole number from 0 to {MAX_EFFORT}, not {effort}")
        report = progress or _silent
        hundredths = round(quality * 100)
        steps = effort * STEPS_PER_EFFORT
        x = as_batch(picture.rgb)
        z = self.latent(x, hundredths, steps, lambda share: report(0.4 * share))
        report(0.4)
        coded, parameters = self.coder.encode(z, hundredths)
        report(0.8)
        strength = self._strength(x, z, parameters, hundredths)
        report(0.9)
        excess = round(32 * len(coded.words) - coded.bits)
        header = Header(
            width=picture.width,
            height=picture.height,
            grey=picture.grey,
            quality_hundredths=hundredths,
            model_id=bytes.fromhex(self.card.id),
            seed=0,
            texture_255=round(255 * strength),
            z_crc=0,
        )
        header = replace(header, z_crc=header.checksum(latent_bytes(z)))
        stack = Stack(coded.words, coded.bits_back, excess)
        alpha = None
        if picture.alpha is not None and picture.alpha.min() < 255:
            alpha = images.encode_alpha(picture.alpha)
        data = pack(Container(header, stack, alpha, picture.metadata))
        report(1.0)
        return data

    def decode(
        self,
        container: Container,
        texture: float | None = None,
        seed: int | None = None,
        progress: Progress | None = None,
    ) -> Picture:
        """The picture in a container; see the function `decode`."""
        header = container.header
        strength = header.texture if texture is None else texture
        if not 0 <= strength <= 1:
            raise UsageError(f"texture must be between 0 and 1, not {strength:g}")
        chosen = header.seed if seed is None else seed
        if not 0 <= chosen <= 255:
            raise UsageError(f"seed must be between 0 and 255, not {chosen}")
        report = progress or _silent
        shape = latent_shape(header.height, header.width)
        z, parameters = self.coder.decode(
            container.stack.words, container.stack.bits_back, shape, header.quality_hundredths
        )
        if header.checksum(latent_bytes(z)) != header.z_crc:
            raise BadFileError(
                f"the decoded latent is not the encoded one (model {self.card.name} "
                f"{self.card.id}, torch {torch.__version__}): damaged file, or a fault here"
            )
        report(0.2)
        key = header.z_crc | chosen << 32
        known = self._known(z, parameters, header.quality_hundredths)
        size = (header.height, header.width)

        def share(done: float) -> None:
            report(0.2 + 0.8 * done)

        rgb = render(self.model, self.sampler, known, size, strength, key, share)
        report(1.0)
        if header.grey:
            rgb = np.repeat(_luma(rgb)[:, :, None], 3, 2)
        alpha = None
        if container.alpha is not None:
            alpha = images.decode_alpha(container.alpha, header.width, header.height)
        return Picture(rgb, alpha, header.grey, container.metadata)

    @torch.no_grad()
    def latent(
        self,
        x: Tensor,
        quality_hundredths: int,
        steps: int = 0,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """z [C, h, w] int32 of a picture [1, 3, 16 h, 16 w] in [0, 1] (see `as_batch`), after a
        search of `steps` steps."""
        levels, level = self._levels(quality_hundredths), quality_hundredths / 10000
        y = encode_in_rows(self.model, x, levels)
        if steps:
            with torch.enable_grad():
                z = refine(self.model, x, y, levels, level, steps, progress or _silent)
        else:
            z = quantise(y, self.model.prior, levels)
        chosen: np.ndarray = z[0].to(torch.int32).numpy()
        return chosen

    def _strength(
        self, x: Tensor, z: np.ndarray, parameters: Parameters, quality_hundredths: int
    ) -> float:
        """Default strength of the texture of a file, 0..1."""
        if not self.card.texture:
            return 0.0
        known = self._known(z, parameters, quality_hundredths)
        return self.card.texture * choose_strength(self.model, self.sampler, x, known)

    @torch.inference_mode()
    def _known(self, z: np.ndarray, parameters: Parameters, quality_hundredths: int) -> Tensor:
        """What both synthesis networks start from, [1, C, h, w]."""
        latent, means, log_scales = (
            torch.from_numpy(a).float()[None] for a in (z, parameters.means, parameters.log_scales)
        )
        return self.model.known(latent, means, log_scales, self._levels(quality_hundredths))

    def _levels(self, quality_hundredths: int) -> Tensor:
        return torch.from_numpy(self.exact.level_weights(quality_hundredths)).float()[None]


def as_batch(rgb: np.ndarray) -> Tensor:
    """Pixels [H, W, 3] uint8 as [1, 3, 16 h, 16 w] in [0, 1], the last row and column repeated."""
    height, width = rgb.shape[:2]
    padding = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    padded = torch.from_numpy(np.pad(rgb, padding, mode="edge"))
    x = padded.permute(2, 0, 1)[None].float() / 255
    return x.contiguous(memory_format=torch.channels_last)


def latent_shape(height: int, width: int) -> tuple[int, int]:
    """Height and width of z for a picture."""
    return -(-height // STRIDE), -(-width // STRIDE)


def latent_bytes(z: np.ndarray) -> bytes:
    """z [C, h, w] as little-endian 16-bit integers in that order."""
    return z.astype("<i2").tobytes()


def _luma(rgb: np.ndarray) -> np.ndarray:
    """[H, W, 3] -> [H, W]: for a picture that was grey, the mean of its three estimates."""
    mean: np.ndarray = np.rint(rgb.mean(2)).astype(np.uint8)
    return mean


def _silent(_: float) -> None:
    """No progress to report."""
