"""z and w on one stack: bits-back ANS on constriction's AnsCoder.

Lossy bits-back needs a posterior that the receiver can evaluate again. q(z | x) needs the original
and is out; q(w | z_early) is in, because z_early is transmitted (Yang, Bamler & Mandt 2020). The
bits that w is drawn from belong to the image's own last slice, which does not depend on w:

    encode: push z_last | z_early; pop w ~ q(w | z_early); push z_early | w; push w ~ p(w)
    decode: pop w; pop z_early | w; push w with q(w | z_early); pop z_last | z_early

The stack is then empty, or the file is damaged. The encoder counts the bits before it pops: only
the first `bits_back` symbols of w are drawn. How w is coded is in `hyper_coder`, how z in
`coding.cells`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..coding.ans import RESERVE_BITS, WORD_BITS, new_stack, stack_words
from ..coding.gaussian import Gaussians, gaussian_bits
from ..coding.symbols import FirstReader, StackReader, StackWriter, draw
from ..coding.symbols import LatentCoder as Walker
from ..errors import BadFileError
from ..networks.config import Group
from ..threads import in_turn, one_blas_thread
from . import hyper_coder
from .exact_prior import ExactPrior


@dataclass(frozen=True)
class CodedLatent:
    """A coded latent.

    `words` [n] uint32; `bits_back`: symbols of w that were drawn from the stack; `bits`: the
    model's -log2 p of the content, with the bits given back subtracted.
    """

    words: np.ndarray
    bits_back: int
    bits: float


@dataclass(frozen=True)
class Step:
    """What the prior says of one group: flat positions [P], and Gaussians [channels, P]."""

    group: Group
    positions: np.ndarray
    gaussians: Gaussians


class Parameters:
    """What the prior said of every symbol of z. The synthesis uses it too."""

    def __init__(self, shape: tuple[int, ...], steps: Sequence[Step]) -> None:
        """From the steps for z of `shape` [C, h, w]."""
        self._shape, self._steps = shape, steps

    @property
    def means(self) -> np.ndarray:
        """[C, h, w] float32."""
        return self._collect("means")

    @property
    def log_scales(self) -> np.ndarray:
        """[C, h, w] float32."""
        return self._collect("log_scales")

    def rows(self, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        """Means and log scales of some rows, [C, bottom - top, w] float32 each."""
        return self._collect("means", top, bottom), self._collect("log_scales", top, bottom)

    def _collect(self, name: str, top: int = 0, bottom: int | None = None) -> np.ndarray:
        channels, height, width = self._shape
        rows = slice(top, height if bottom is None else bottom)
        out = np.zeros((channels, rows.stop - rows.start, width), np.float32)
        start, stop = rows.start * width, rows.stop * width
        for step in self._steps:
            first, last = np.searchsorted(step.positions, (start, stop))
            values = getattr(step.gaussians.columns(first, last), name)
            _plane(out, step.group)[:, step.positions[first:last] - start] = values
        return out


class LatentCoder:
    """Writes and reads z through an exact prior.

    `bits_back` is what the encoder may use; decoding follows the file.
    """

    def __init__(self, prior: ExactPrior, bits_back: bool = True) -> None:
        self.prior = prior
        self.bits_back = bits_back
        self.early = [g for g in prior.groups if g.uses_hyper]
        self.late = [g for g in prior.groups if not g.uses_hyper]

    def encode(self, z: np.ndarray, quality_hundredths: int) -> CodedLatent:
        """Code z [C, h, w] (integers within +-1023), with bits-back as far as it goes.

        Raises:
            ValueError: a latent that the decoder could not tell from an empty stack.
        """
        weights = self.prior.level_weights(quality_hundredths)
        late = StackWriter()
        self._walk(late, self.late, z, z, None, weights)
        posterior = self.prior.posterior(z)
        stack = new_stack()
        late.flush(stack)
        if stack.is_empty():
            raise ValueError("all of the last latents have the lowest value")

        count = hyper_coder.affordable(stack, posterior) if self.bits_back else 0
        drawn = draw(stack, posterior[:count])
        front = StackWriter()
        shape = self.prior.hyper_shape(*z.shape[1:])
        w = hyper_coder.write(front, drawn, posterior, self.prior.hyper_cell(), shape)
        self._walk(front, self.early, z, z, self._features(w, weights, z), weights)
        front.flush(stack)
        back = float(gaussian_bits(drawn, posterior[:count]).sum())
        return CodedLatent(stack_words(stack), count, front.bits + late.bits - back)

    def decode(
        self,
        words: np.ndarray,
        bits_back: int,
        shape: tuple[int, int],
        quality_hundredths: int,
        first_versions: bool = False,
    ) -> tuple[np.ndarray, Parameters]:
        """Inverse of `encode`: z [C, h, w] int32 for `shape` (h, w), and its parameters.

        `first_versions`: for files of versions 1 and 2.

        Raises:
            BadFileError: the stack is too short for the shape, does not end empty, or could not
                have been written.
        """
        height, width = shape
        hyper_shape = self.prior.hyper_shape(height, width)
        if WORD_BITS * len(words) + RESERVE_BITS < hyper_coder.least_bits(hyper_shape):
            raise BadFileError("damaged file: it is too short for the size of its picture")
        if bits_back > math.prod(hyper_shape):
            raise BadFileError("damaged file: more bits-back symbols than the picture has")
        weights = self.prior.level_weights(quality_hundredths)
        stack = new_stack(words)
        reader = FirstReader(stack) if first_versions else StackReader(stack)
        z = np.zeros((self.prior.latent_channels, height, width), np.int32)
        if first_versions:
            w = reader.latents(self.prior.hyper_prior(height, width))
        else:
            w = hyper_coder.read(reader, bits_back, self.prior.hyper_cell(), hyper_shape)
        early = self._walk(reader, self.early, z, None, self._features(w, weights, z), weights)
        if bits_back:
            posterior = self.prior.posterior(z)[:bits_back]
            hyper_coder.give_back(stack, w[:bits_back], posterior, first_versions)
        late = self._walk(reader, self.late, z, None, None, weights)
        if not stack.is_empty():
            raise BadFileError("damaged file: bits are left over after the last symbol")
        return z, Parameters(z.shape, early + late)

    def _features(self, w: np.ndarray, weights: np.ndarray, z: np.ndarray) -> np.ndarray:
        return self.prior.features(w, weights, *z.shape[1:])

    def _walk(
        self,
        coder: Walker,
        groups: Sequence[Group],
        z: np.ndarray,
        truth: np.ndarray | None,
        features: np.ndarray | None,
        weights: np.ndarray,
    ) -> list[Step]:
        """Let `coder` decide on groups of z, one after the other, and fill them in.

        `truth` is z itself when encoding.
        """

        def parameters(group: Group) -> tuple[np.ndarray, Gaussians]:
            return self.prior.group(group, z, features, weights)

        with one_blas_thread():
            # Who knows z need not wait for one group before the next.
            known = map(parameters, groups) if truth is None else in_turn(parameters, groups)
            steps = []
            for group, (positions, gaussians) in zip(groups, known, strict=True):
                cells = None if truth is None else _plane(truth, group)[:, positions]
                _plane(z, group)[:, positions] = coder.latents(gaussians, cells)
                steps.append(Step(group, positions, gaussians))
        return steps


def _plane(z: np.ndarray, group: Group) -> np.ndarray:
    """The channels of a group, flat in space: a view of z [C, h, w]."""
    return z[group.start : group.stop].reshape(group.stop - group.start, -1)
