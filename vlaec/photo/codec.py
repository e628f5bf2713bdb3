"""Pictures to `.vlae` bytes and back: the model, the coder and the container put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from .. import images, zoo
from ..coding.exact import GridError
from ..coding.latents import latent_bytes, mismatch
from ..coding.progress import Progress, silent
from ..errors import ModelMissingError, UsageError
from ..images import Picture
from ..networks.config import STRIDE, PhotoConfig
from ..threads import background, spread
from .container import Container, Header, Stack, pack, unpack
from .exact_prior import ExactPrior, PlainPrior
from .graphs import PREVIEW, Graphs, release
from .latent_coder import LatentCoder, Parameters
from .quantise import quantise
from .render import render, rows_sampled
from .sampler import BAND, TextureSampler
from .strength import EDGE, Corner, choose_strength
from .strips import LARGE, Held, Planes, Rows

MAX_EFFORT = 9
# Rows of latents that are gathered at a time.
ROWS = 64
# Pixels around a crop that a sample of it begins with, at least as many as a window reaches.
SEEN = 4


def encode(
    picture: Picture,
    quality: float = 50,
    model: str | None = None,
    progress: Progress | None = None,
    **how: Any,
) -> bytes:
    """A picture as a `.vlae` file, by a named model or the default one at this quality.

    `how`: further options of `Codec.encode`. Raises VlaecError for a quality or effort out of
    range, or a missing model.
    """
    if not 0 <= quality <= 100:
        raise UsageError(f"quality must be between 0 and 100, not {quality:g}")
    own = load_codec(zoo.find(name=model, quality=quality).id)
    return own.encode(picture, quality, progress, **how)


def decode(
    data: bytes,
    texture: float | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Picture:
    """The picture in a `.vlae` file.

    `texture`: strength, 0..1, and `seed`: seed of the texture, 0..255; None for the file's own.
    Raises VlaecError as `Codec.decode` does, or for a missing model.
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
        self.card = zoo.for_photos(card)
        weights = zoo.open_weights(card)
        try:
            self.config = PhotoConfig.from_dict(weights.config)
            self.exact = ExactPrior(weights.tensors, self.config)
        except (GridError, KeyError, ValueError) as error:
            raise ModelMissingError(f"model {card.name} cannot be used: {error}") from error
        self.coder = LatentCoder(self.exact)
        self.graphs = Graphs(weights, self.config)
        self.sampler = TextureSampler(self.graphs.draw, self.config)
        self._weights = weights

    @cached_property
    def _plain(self) -> PlainPrior:
        return PlainPrior(self._weights.tensors, self.config)

    def encode(
        self,
        picture: Picture,
        quality: float = 50,
        progress: Progress | None = None,
        effort: int = 0,
        tune: str | None = None,
    ) -> bytes:
        """A `.vlae` file.

        Args:
            picture: what to compress.
            quality: 0..100, within what the model is for.
            progress: told the share that is done.
            effort: 0..9, how long to search for a better latent; see `vlaec.photo.refine`.
            tune: the metric to search for, "psnr" or "ms-ssim"; None for both.
        """
        lowest, highest = self.card.qualities
        if not lowest <= quality <= highest:
            raise UsageError(
                f"quality must be between {lowest:g} and {highest:g} for model {self.card.name}, "
                f"not {quality:g}"
            )
        if effort not in range(MAX_EFFORT + 1):
            raise UsageError(f"effort must be a whole number from 0 to {MAX_EFFORT}, not {effort}")
        report = progress or silent
        hundredths = round(quality * 100)
        z = self.latent(picture.rgb, hundredths, effort, lambda share: report(0.4 * share), tune)
        report(0.4)
        grey = picture.grey or _is_grey(picture.rgb)
        with background() as start:
            chosen = start(lambda: self._strength(picture.rgb, z, hundredths, grey))
            coded = self.coder.encode(z, hundredths)
            report(0.8)
            strength = chosen()
        report(0.9)
        excess = round(32 * len(coded.words) - coded.bits)
        header = Header(
            width=picture.width,
            height=picture.height,
            grey=grey,
            three=grey and not picture.grey,
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
        seed_used = header.seed if seed is None else seed
        if not 0 <= seed_used <= 255:
            raise UsageError(f"seed must be between 0 and 255, not {seed_used}")
        report = progress or silent
        pixels = header.width * header.height
        key = header.z_crc | seed_used << 32
        step = rows_sampled(header.width)

        def noise(top: int) -> np.ndarray:
            rows = min(step, header.height - top)
            bands = range(top // BAND, -(-(top + rows) // BAND))
            return self.sampler.noise(key, bands, min(rows, BAND), header.width)

        # The first is made beside the latents, which have one thread.
        ahead = strength > 0 and pixels <= LARGE
        with background(ahead) as start:
            first = start(lambda: noise(0))
            z, parameters = self.read_latent(container)
            made = {0: first()} if ahead else {}
        z = z.astype(np.int16)  # large pictures have many
        release(pixels)
        report(0.2)
        code = self._known(Latents(z, parameters), header.quality_hundredths)
        mean = self.graphs.mean(code, alone=strength == 0)
        added = self.graphs.texture(code) if strength > 0 else None
        size = (header.height, header.width)

        def share(done: float) -> None:
            report(0.2 + 0.8 * done)

        def noise_from(top: int) -> np.ndarray:
            return made.pop(top) if top in made else noise(top)

        rgb = render(mean, added, self.sampler, size, strength, noise_from, share)
        rgb = _coloured(rgb, header)
        report(1.0)
        alpha = None
        if container.alpha is not None:
            alpha = images.decode_alpha(container.alpha, header.width, header.height)
        return Picture(rgb, alpha, header.one_channel, container.metadata)

    @property
    def has_preview(self) -> bool:
        """Whether the model has a network for `preview`."""
        return "preview" in self.card.graphs

    def preview(self, container: Container, progress: Progress | None = None) -> np.ndarray:
        """About the means over squares of PREVIEW pixels, [H / 8, W / 8, 3] uint8 rounded up, by a
        network of one layer."""
        header, report = container.header, progress or silent
        z, parameters = self.read_latent(container)
        report(0.9)
        code = self._known(Latents(z, parameters), header.quality_hundredths)
        size = -(-header.height // PREVIEW), -(-header.width // PREVIEW)
        rgb = render(self.graphs.preview(code), None, self.sampler, size, 0.0, _no_noise, silent)
        report(1.0)
        return _coloured(rgb, header)

    def read_latent(self, container: Container) -> tuple[np.ndarray, Parameters]:
        """z [C, h, w] int32 in a container, and what the prior says of it.

        Raises:
            BadFileError: the file is damaged.
        """
        header, stack = container.header, container.stack
        shape = latent_shape(header.height, header.width)
        z, parameters = self.coder.decode(
            stack.words,
            stack.bits_back,
            shape,
            header.quality_hundredths,
            header.first_versions,
        )
        if header.checksum(latent_bytes(z)) != header.z_crc:
            raise mismatch("latents", f"{self.card.name} {self.card.id}")
        return z, parameters

    def latent(
        self,
        rgb: np.ndarray,
        quality_hundredths: int,
        effort: int = 0,
        progress: Progress | None = None,
        tune: str | None = None,
    ) -> np.ndarray:
        """z [C, h, w] int32 of a picture [H, W, 3] uint8, after the search that an effort is.

        Raises:
            UsageError: the search needs torch, which is not installed.
        """
        weights = self.exact.level_weights(quality_hundredths)
        rows = self.graphs.latents(Pixels(rgb), weights)
        y = np.empty((1, self.config.latent_channels, rows.height, rows.width), np.float32)
        for top in range(0, rows.height, ROWS):  # never twice in memory
            (part,) = rows.rows(top, min(top + ROWS, rows.height))
            y[:, :, top : top + ROWS] = part

        def integers(y: np.ndarray) -> np.ndarray:
            return quantise(y, self._plain, weights)

        if not effort:
            return integers(y[0])
        refine = _search()
        pixels = Pixels(rgb)
        (x,) = pixels.rows(0, pixels.height)
        level = quality_hundredths / 10000
        given = x[0], y[0], weights, level
        return refine(self.card, *given, effort, integers, progress or silent, tune)

    def _strength(
        self, rgb: np.ndarray, z: np.ndarray, quality_hundredths: int, grey: bool
    ) -> float:
        """Default strength of the texture of a file, 0..1."""
        if not self.card.texture:
            return 0.0
        weights = self.exact.level_weights(quality_hundredths)

        def decode(corners: list[Corner], side: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
            height, width = side
            windows = [
                # Nearly what coding will say of them, which need not be waited for.
                self._plain.expected(z, (slice(y, y + height), slice(x, x + width)), weights)
                for y, x in corners
            ]
            held = Held(STRIDE, *map(np.stack, zip(*windows, strict=True)))
            code = self._known(held, quality_hundredths)
            both = [self.graphs.mean(code), self.graphs.texture(code)]
            (picture,), (detail, features) = spread(lambda rows: rows.rows(0, rows.height), both)
            # Of what is not compared the sampler only makes what the rest sees.
            near, edge = EDGE - SEEN, EDGE
            crops = features[:, :, near:-edge, near:-near].swapaxes(0, 1)
            channels, bands, rows, columns = crops.shape
            sample = self.sampler.sample(
                crops.reshape(channels, bands * rows, columns),
                self.sampler.noise(0, range(bands), rows, columns),
            )
            sample = sample.reshape(3, bands, rows, columns).swapaxes(0, 1)[:, :, SEEN:, SEEN:-SEEN]
            inner = (slice(None), slice(None), slice(edge, -edge), slice(edge, -edge))
            picture, added = picture[inner], detail[inner] + sample
            return (_in_grey(picture), _in_grey(added)) if grey else (picture, added)

        return self.card.texture * choose_strength(rgb, z.shape[1:], decode)

    def _known(self, latents: Rows, quality_hundredths: int) -> Rows:
        """What both synthesis networks start from, [1, C + levels, h, w]."""
        return self.graphs.known(latents, self.exact.level_weights(quality_hundredths))


class Pixels:
    """Pixels [H, W, 3] uint8 as rows of [1, 3, 16 h, 16 w] in [0, 1], the last row and column
    repeated."""

    stride = 1

    def __init__(self, rgb: np.ndarray) -> None:
        self._rgb = rgb
        self.height, self.width = (STRIDE * size for size in latent_shape(*rgb.shape[:2]))

    def rows(self, top: int, bottom: int) -> Planes:
        part = self._rgb[top:bottom]
        if not len(part):
            part = self._rgb[-1:]
        x = np.empty((1, 3, bottom - top, self.width), np.float32)
        height, width = part.shape[:2]
        np.divide(part.transpose(2, 0, 1), np.float32(255), out=x[0, :, :height, :width])
        x[0, :, height:, :width] = x[0, :, height - 1 : height, :width]
        x[0, :, :, width:] = x[0, :, :, width - 1 : width]
        return [x]


class Latents:
    """Latents, and the means and log scales of their prior, as rows of [1, C, h, w] each."""

    stride = STRIDE

    def __init__(self, z: np.ndarray, parameters: Parameters) -> None:
        self.height, self.width = z.shape[1:]
        self._z, self._parameters = z, parameters

    def rows(self, top: int, bottom: int) -> Planes:
        parts = (self._z[:, top:bottom], *self._parameters.rows(top, bottom))
        return [part[None].astype(np.float32, copy=False) for part in parts]


def _search() -> Callable[..., np.ndarray]:
    """`refine.refine`, which needs torch."""
    try:
        from .refine import refine
    except ImportError as error:
        raise UsageError("--effort needs torch: pip install 'vlaec[torch]'") from error
    return refine


def latent_shape(height: int, width: int) -> tuple[int, int]:
    """Height and width of z for a picture."""
    return -(-height // STRIDE), -(-width // STRIDE)


def _coloured(rgb: np.ndarray, header: Header) -> np.ndarray:
    """Pixels [H, W, 3]: for a picture that was grey, the mean of its three estimates in each."""
    if not header.grey:
        return rgb
    mean: np.ndarray = np.rint(rgb.mean(2)).astype(np.uint8)
    return np.repeat(mean[:, :, None], 3, 2)


def _is_grey(rgb: np.ndarray) -> bool:
    """Whether the channels of a picture [H, W, 3] are equal."""
    return bool((rgb[..., :1] == rgb[..., 1:]).all())


def _no_noise(top: int) -> np.ndarray:
    raise AssertionError("there is no texture")


def _in_grey(planes: np.ndarray) -> np.ndarray:
    """[N, 3, H, W] as the decoder shows them of a grey picture: three times their mean."""
    return np.repeat(planes.mean(1, keepdims=True), 3, 1)
