"""Sets of small images to `.vlaa` bytes and back.

Lossless archives are chained bits-back ANS (Townsend et al. 2019). Block after block of images on
one stack: pop z ~ q(z | x), push x given z, push z. The bits that z is popped from belong to the
images before; the first block's are a few initial words, which the decoder finds again at the end.
Blocks grow with what the stack can seed. Lossy archives hold z alone, more coarsely, and are
decoded by sampling x given z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from .. import zoo
from ..coding.ans import RESERVE_BITS, AnsCoder, initial_words, new_stack
from ..coding.exact import GridError
from ..coding.gaussian import ENTROPY_OF_UNIT, Gaussians, cell_bits
from ..coding.latents import latent_bytes, mismatch
from ..coding.progress import Progress, silent
from ..coding.symbols import Sampler, StackReader, StackWriter, draw, put_back
from ..errors import BadFileError, BadImageError, ModelMissingError, UsageError
from ..networks.set_config import SetConfig
from .coder import SetCoder
from .container import MAX_VALUES, Archive, Header, Stack, pack, safe_names, unpack
from .lossy import choose_steps, quanta, round_to

# Images that are coded together, at most: bounds memory. The format has no such limit.
MAX_BLOCK = 256


def create(
    images: np.ndarray,
    model: str,
    lossy: bool = False,
    seed: int = 0,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> bytes:
    """A set of images as a `.vlaa` file.

    Args:
        images: uint8, [N, H, W] of 0 and 255 or [N, H, W, 3], as the model wants them.
        model: name of a set model, from `vlaec models`.
        lossy: keep only what z says of the images.
        seed: 32 bits; of what a lossy archive resamples when it is extracted.
        names: one for each image, kept in the file.
        progress: told the share of the work that is done.

    Raises:
        VlaecError: images that the model does not take, bad names, a missing model.
    """
    return load_archiver(zoo.find(name=model).id).create(images, lossy, seed, names, progress)


def extract(data: bytes, seed: int | None = None, progress: Progress | None = None) -> np.ndarray:
    """The images in a `.vlaa` file, as `create` takes them.

    Args:
        seed: seed for another sample (lossy archives only); None for the file's own.

    Raises:
        VlaecError: a damaged or foreign file, a missing model, a seed for a lossless archive.
    """
    archive = unpack(data)
    archiver = load_archiver(zoo.find(model_id=archive.header.model_id).id)
    return archiver.extract(archive, seed, progress)


@lru_cache(maxsize=2)
def load_archiver(model_id: str) -> Archiver:
    """The archiver of a model, loaded once per process."""
    return Archiver(zoo.find(model_id=bytes.fromhex(model_id)))


class Archiver:
    """One set model, ready to encode and decode."""

    def __init__(self, card: zoo.Card) -> None:
        self.card = zoo.for_sets(card)
        weights = zoo.open_weights(card)
        try:
            self.config = SetConfig.from_dict(weights.config)
            self.coder = SetCoder(weights.tensors, self.config)
        except (GridError, KeyError, TypeError, ValueError) as error:
            raise ModelMissingError(f"model {card.name} cannot be used: {error}") from error

    def create(
        self,
        images: np.ndarray,
        lossy: bool = False,
        seed: int = 0,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> bytes:
        """A `.vlaa` file; see the function `create`."""
        x = self._check(images)
        if not 0 <= seed < 2**32:
            raise UsageError(f"the seed must be between 0 and {2**32 - 1}, not {seed}")
        if names is not None and (len(names) != len(x) or not safe_names(tuple(names))):
            raise UsageError("the names of the images cannot be names of files in one folder")
        report = progress or silent
        steps = None
        if lossy:
            stack, z, steps = self._push_latents(x, report)
            content = latent_bytes(z)
        else:
            stack = self._push_chain(x, report)
            content = images.tobytes()
        header = Header(
            count=len(x),
            height=self.config.height,
            width=self.config.width,
            colour=self.config.kind == "colour",
            lossy=lossy,
            model_id=bytes.fromhex(self.card.id),
            seed=seed,
            crc=0,
        )
        header = replace(header, crc=header.checksum(content))
        return pack(Archive(header, stack, steps, None if names is None else tuple(names)))

    def extract(
        self, archive: Archive, seed: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """The images in an archive; see the function `extract`."""
        header, c = archive.header, self.config
        if (header.height, header.width) != (c.height, c.width) or header.colour != (
            c.kind == "colour"
        ):
            raise BadFileError("damaged file: its images are not of the model's kind and size")
        report = progress or silent
        if archive.steps is not None:
            z = self._pop_latents(archive.stack, archive.steps)
            if header.checksum(latent_bytes(z)) != header.crc:
                raise self._mismatch("latents")
            seed_used = header.seed if seed is None else seed
            if not 0 <= seed_used < 2**32:
                raise UsageError(f"the seed must be between 0 and {2**32 - 1}, not {seed_used}")
            return self._images(self._sample(z, header.crc | seed_used << 32, report))
        if seed is not None:
            raise UsageError("a lossless archive has nothing to resample: --seed is for lossy ones")
        images = self._images(self._pop_chain(archive.stack, report))
        if header.checksum(images.tobytes()) != header.crc:
            raise self._mismatch("images")
        return images

    def _push_chain(self, x: np.ndarray, report: Progress) -> Stack:
        """All of x [N, C, H, W] on one stack, started with as few words as will do."""
        initial = 0
        while True:
            try:
                return self._push_blocks(x, initial, report)
            except _TooFewBitsError as error:
                initial += 1 + int(error.bits / 32)

    def _push_blocks(self, x: np.ndarray, initial: int, report: Progress) -> Stack:
        stack = new_stack(initial_words(initial))
        every = np.ones(self.coder.dimensions)
        blocks: list[int] = []
        bits, done = 0.0, 0
        while done < len(x):
            reach = min(2 * blocks[-1], MAX_BLOCK) if blocks else 1
            candidates = x[done : done + reach]
            stack, z, taken = _draw(stack, self.coder.posterior(candidates))
            bits += self.coder.push_pixels(stack, candidates[: len(z)], z) - taken
            writer = StackWriter()
            self.coder.code_latent(writer, every, len(z), z)
            writer.flush(stack)
            bits += writer.bits
            blocks.append(len(z))
            done += len(z)
            report(done / len(x))
        words = np.asarray(stack.get_compressed())
        excess = round(32 * (len(words) - initial) - bits)
        return Stack(words, initial, excess, tuple(blocks))

    def _pop_chain(self, stack: Stack, report: Progress) -> np.ndarray:
        """Inverse of `_push_chain`: x [N, C, H, W]."""
        reader = StackReader(new_stack(stack.words))
        every = np.ones(self.coder.dimensions)
        parts: list[np.ndarray] = []
        done = 0
        for size in reversed(stack.blocks):
            # A writer draws z from bits above a reserve, so none ever leaves less than that.
            if self.coder.dimensions and reader.stack.num_valid_bits() < RESERVE_BITS:
                raise BadFileError("damaged file: its data end before the last image")
            z = self.coder.code_latent(reader, every, size)
            parts.append(self.coder.pull_pixels(reader, z))
            try:
                put_back(reader.stack, self.coder.posterior(parts[-1]), z)
            except KeyError as error:  # no draw could have given this z
                raise self._mismatch("latents") from error
            done += size
            report(done / sum(stack.blocks))
        if not np.array_equal(reader.stack.get_compressed(), initial_words(stack.initial)):
            raise self._mismatch("initial words")
        return np.concatenate(parts[::-1])

    def _push_latents(self, x: np.ndarray, report: Progress) -> tuple[Stack, np.ndarray, bytes]:
        """Coarse z of x alone: the stack, z [N, D], and the steps of its channels."""
        if not self.coder.dimensions:
            raise UsageError(f"model {self.card.name} has no latent, so nothing to keep of images")
        posteriors = []
        for start in range(0, len(x), MAX_BLOCK):
            posteriors.append(self.coder.posterior(x[start : start + MAX_BLOCK]))
            report(0.5 * start / len(x))
        steps = choose_steps(self.coder, posteriors)
        spacing = quanta(steps, self.coder)
        stack = new_stack(initial_words(0))
        bits, parts = 0.0, []
        for posterior in posteriors:
            writer = StackWriter()
            rounded = round_to(posterior, spacing)
            parts.append(self.coder.code_latent(writer, spacing, len(rounded), rounded))
            writer.flush(stack)
            bits += writer.bits
            report(0.5 + 0.5 * sum(map(len, parts)) / len(x))
        words = np.asarray(stack.get_compressed())
        blocks = tuple(map(len, parts))
        return Stack(words, 0, round(32 * len(words) - bits), blocks), np.concatenate(parts), steps

    def _pop_latents(self, stack: Stack, steps: bytes) -> np.ndarray:
        """Inverse of `_push_latents`: z [N, D]."""
        spacing = quanta(steps, self.coder)
        reader = StackReader(new_stack(stack.words))
        parts = [self.coder.code_latent(reader, spacing, size) for size in reversed(stack.blocks)]
        if not reader.stack.is_empty():
            raise BadFileError("damaged file: bits are left over after the last symbol")
        return np.concatenate(parts[::-1])

    def _sample(self, z: np.ndarray, key: int, report: Progress) -> np.ndarray:
        """x [N, C, H, W] drawn from p(x | z)."""
        parts = []
        for start in range(0, len(z), MAX_BLOCK):
            part = z[start : start + MAX_BLOCK]
            sampler = Sampler(key, start, len(part), self.coder.draws)
            parts.append(self.coder.pull_pixels(sampler, part))
            report((start + len(part)) / len(z))
        return np.concatenate(parts)

    def _check(self, images: np.ndarray) -> np.ndarray:
        """Images of the user's as the coder takes them, [N, C, H, W]. Raises BadImageError."""
        c = self.config
        shape = (c.height, c.width) if c.kind == "binary" else (c.height, c.width, 3)
        if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
            wanted = ", ".join(map(str, ("N", *shape)))
            raise BadImageError(
                f"model {self.card.name} takes uint8 images [{wanted}], "
                f"not {images.dtype} {list(images.shape)}"
            )
        if images.size > MAX_VALUES:
            raise BadImageError(f"the images have more than {MAX_VALUES} values together")
        if c.kind == "colour":
            return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        if not np.isin(images, (0, 255)).all():
            raise BadImageError(f"model {self.card.name} takes pixels of 0 and 255 alone")
        return images[:, None] // 255

    def _images(self, x: np.ndarray) -> np.ndarray:
        """Inverse of `_check`."""
        if self.config.kind == "colour":
            return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        return x[:, 0] * np.uint8(255)

    def _mismatch(self, what: str) -> BadFileError:
        return mismatch(what, f"{self.card.name} {self.card.id}")


class _TooFewBitsError(Exception):
    """The stack cannot seed z; `bits` more would probably do."""

    def __init__(self, bits: float) -> None:
        super().__init__(bits)
        self.bits = bits


def _draw(stack: AnsCoder, posterior: Gaussians) -> tuple[AnsCoder, np.ndarray, float]:
    """Pop z of as many images as the stack can seed: the rest of it, [n, D], the bits taken."""
    available = max(0.0, stack.num_valid_bits() - RESERVE_BITS)
    entropy = (np.log2(posterior.scales) + ENTROPY_OF_UNIT).sum(1)
    symbols = posterior.scales.shape[1] * np.arange(1, len(entropy) + 1)
    # What a draw takes spreads around the entropy by a good bit per symbol.
    need = np.cumsum(entropy) + 4.5 * np.sqrt(symbols)
    for count in range(int(np.searchsorted(need, available, side="right")), 0, -1):
        drawn, rest = posterior[:count], stack.clone()
        z = draw(rest, drawn)
        taken = float(cell_bits(z, drawn.means, drawn.scales).sum())
        if taken <= available:
            return rest, z, taken
    raise _TooFewBitsError(need[0] - available)
