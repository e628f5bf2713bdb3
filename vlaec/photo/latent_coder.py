"""z and w on one stack: bits-back ANS on constriction's AnsCoder.

Lossy bits-back needs a posterior that the receiver can evaluate again. q(z | x) needs the original
and is out; q(w | z_early) is in, because z_early is transmitted (Yang, Bamler & Mandt 2020). The
bits that w is drawn from are those of the image's own last slice, which does not depend on w:

    encode: push z_last | z_early; pop w ~ q(w | z_early); push z_early | w; push w ~ p(w)
    decode: pop w; pop z_early | w; push w with q(w | z_early); pop z_last | z_early

The stack is then empty, or the file is damaged. Popping from an empty AnsCoder raises nothing, so
the encoder counts the bits first: only the first `bits_back` symbols of w are drawn, the others
are the posterior's rounded means, pushed and not returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import constriction
import numpy as np
import torch

from ..errors import BadFileError
from ..networks.prior import LATENT_BOUND, Group
from .exact_prior import ExactPrior, Gaussians

AnsCoder: TypeAlias = Any  # constriction's classes come without types

# Bits left on the stack after w is drawn: constriction's 64-bit head and the float error of the
# count.
RESERVE_BITS = 96
# constriction gives no symbol less than 2^-24.
MAX_BITS = 24.0

_MODEL = constriction.stream.model.QuantizedGaussian(-LATENT_BOUND, LATENT_BOUND)


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
class Parameters:
    """What the prior said of every symbol of z: [C, h, w] each. The synthesis uses them too."""

    means: np.ndarray
    log_scales: np.ndarray


@dataclass(frozen=True)
class _Draw:
    """The first symbols of w [count], popped from the stack, and the bits they took from it."""

    symbols: np.ndarray
    bits: float

    @classmethod
    def nothing(cls) -> _Draw:
        return cls(np.zeros(0, np.int32), 0.0)


def gaussian_bits(symbols: np.ndarray, gaussians: Gaussians, at: slice = slice(None)) -> np.ndarray:
    """-log2 of the mass of unit cells around integers, elementwise, as the coder charges it."""
    return cell_bits(symbols, gaussians.means[at], gaussians.scales[at])


def cell_bits(symbols: np.ndarray, means: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """As `gaussian_bits`, from arrays of one shape."""
    x = torch.from_numpy(np.abs(symbols - means))
    scale = torch.from_numpy(scales)
    mass = torch.special.ndtr((0.5 - x) / scale) - torch.special.ndtr((-0.5 - x) / scale)
    bits: np.ndarray = -torch.log2(mass.clamp_min(2.0**-MAX_BITS)).numpy()
    return bits


def _new_stack(words: np.ndarray | None = None) -> AnsCoder:
    """An empty stack, or one that holds `words` [n]; ValueError if they end in zero."""
    coder = constriction.stream.stack.AnsCoder
    return coder() if words is None else coder(words.astype(np.uint32))


def _push(stack: AnsCoder, symbols: np.ndarray, gaussians: Gaussians) -> None:
    stack.encode_reverse(
        symbols.ravel().astype(np.int32), _MODEL, gaussians.means.ravel(), gaussians.scales.ravel()
    )


def _pop(stack: AnsCoder, gaussians: Gaussians, count: int | None = None) -> np.ndarray:
    """The next symbols, in the shape of `gaussians` (or the first `count` of a flat one)."""
    means, scales = gaussians.means, gaussians.scales
    if count is not None:
        means, scales = means[:count], scales[:count]
    symbols = stack.decode(_MODEL, np.ascontiguousarray(means.ravel()), scales.ravel())
    popped: np.ndarray = np.asarray(symbols).reshape(means.shape)
    return popped


class LatentCoder:
    """Writes and reads z through an exact prior.

    `bits_back` is what the encoder may use; decoding follows the file.
    """

    def __init__(self, prior: ExactPrior, bits_back: bool = True) -> None:
        self.prior = prior
        self.bits_back = bits_back
        self.early = [g for g in prior.groups if g.uses_hyper]
        self.late = [g for g in prior.groups if not g.uses_hyper]

    def encode(self, z: np.ndarray, quality_hundredths: int) -> tuple[CodedLatent, Parameters]:
        """Code z [C, h, w] (integers within +-1023) with and without bits-back; the shorter wins.

        Also returns what the decoder will know of z's distribution.
        """
        weights = self.prior.level_weights(quality_hundredths)
        late = self._walk_known(self.late, z, None, weights)
        posterior = self.prior.posterior(z)

        seed = _new_stack()
        self._push_groups(seed, z, late)
        plain = self._encode_with(z, weights, seed.clone(), posterior, late, _Draw.nothing())
        draw = self._draw(seed, posterior)
        if not self.bits_back or not len(draw.symbols):
            return plain
        drawn = self._encode_with(z, weights, seed, posterior, late, draw)
        return min(drawn, plain, key=lambda option: len(option[0].words))

    def decode(
        self, words: np.ndarray, bits_back: int, shape: tuple[int, int], quality_hundredths: int
    ) -> tuple[np.ndarray, Parameters]:
        """Inverse of `encode`: z [C, h, w] int32 for `shape` (h, w), and its parameters.

        Raises:
            BadFileError: the stack does not end empty, or could not have been written.
        """
        height, width = shape
        weights = self.prior.level_weights(quality_hundredths)
        prior = self.prior.hyper_prior(height, width)
        if bits_back > prior.means.size:
            raise BadFileError("damaged file: more bits-back symbols than the picture has")
        try:
            stack = _new_stack(words)
        except ValueError as error:
            raise BadFileError("damaged file: the stack ends in a zero word") from error
        w = _pop(stack, prior)
        z = np.zeros((self.prior.latent_channels, height, width), np.int32)
        features = self.prior.features(w, weights, height, width)
        early = self._walk_unknown(self.early, z, features, weights, stack)
        if bits_back:
            posterior = self.prior.posterior(z)
            stack.encode_reverse(
                w[:bits_back].astype(np.int32),
                _MODEL,
                posterior.means[:bits_back],
                posterior.scales[:bits_back],
            )
        late = self._walk_unknown(self.late, z, None, weights, stack)
        if not stack.is_empty():
            raise BadFileError("damaged file: bits are left over after the last symbol")
        return z, _collect(z.shape, early + late)

    def _encode_with(
        self,
        z: np.ndarray,
        weights: np.ndarray,
        stack: AnsCoder,
        posterior: Gaussians,
        late: Sequence[_Step],
        draw: _Draw,
    ) -> tuple[CodedLatent, Parameters]:
        """Finish a stack that holds the late groups and has given `draw`."""
        height, width = z.shape[1:]
        w = np.clip(np.rint(posterior.means), -LATENT_BOUND, LATENT_BOUND).astype(np.int32)
        count = len(draw.symbols)
        w[:count] = draw.symbols
        early = self._walk_known(
            self.early, z, self.prior.features(w, weights, height, width), weights
        )
        prior = self.prior.hyper_prior(height, width)
        self._push_groups(stack, z, early)
        _push(stack, w, prior)
        bits = gaussian_bits(w, prior).sum() - draw.bits
        for group, positions, gaussians in [*early, *late]:
            bits += gaussian_bits(_cells(z, group, positions), gaussians).sum()
        coded = CodedLatent(np.asarray(stack.get_compressed()), count, float(bits))
        return coded, _collect(z.shape, [*early, *late])

    def _draw(self, stack: AnsCoder, posterior: Gaussians) -> _Draw:
        """Pop as much of w as the stack can seed."""
        trial = _pop(stack.clone(), posterior)
        spent = np.cumsum(gaussian_bits(trial, posterior))
        available = float(stack.num_valid_bits() - RESERVE_BITS)
        count = int(np.searchsorted(spent, available, side="right"))
        if count == 0:
            return _Draw.nothing()
        return _Draw(_pop(stack, posterior, count), float(spent[count - 1]))

    def _walk_known(
        self,
        groups: Sequence[Group],
        z: np.ndarray,
        features: torch.Tensor | None,
        weights: np.ndarray,
    ) -> list[_Step]:
        """Parameters of every group when all of z is known: the encoder's side."""
        return [(g, *self.prior.group(g, z, features, weights)) for g in groups]

    def _walk_unknown(
        self,
        groups: Sequence[Group],
        z: np.ndarray,
        features: torch.Tensor | None,
        weights: np.ndarray,
        stack: AnsCoder,
    ) -> list[_Step]:
        """The same walk on the decoder's side: each group is popped into z before the next."""
        steps = []
        for group in groups:
            positions, gaussians = self.prior.group(group, z, features, weights)
            plane = z[group.start : group.stop].reshape(group.stop - group.start, -1)
            plane[:, positions] = _pop(stack, gaussians)
            steps.append((group, positions, gaussians))
        return steps

    def _push_groups(self, stack: AnsCoder, z: np.ndarray, steps: Sequence[_Step]) -> None:
        for group, positions, gaussians in reversed(steps):
            _push(stack, _cells(z, group, positions), gaussians)


_Step = tuple[Group, np.ndarray, Gaussians]


def _cells(z: np.ndarray, group: Group, positions: np.ndarray) -> np.ndarray:
    """The symbols of one group, [channels, P]."""
    cells: np.ndarray = z[group.start : group.stop].reshape(group.stop - group.start, -1)
    return cells[:, positions]


def _collect(shape: tuple[int, ...], steps: Sequence[_Step]) -> Parameters:
    """Parameters of the groups back in the layout of z."""
    means, log_scales = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for group, positions, gaussians in steps:
        for target, values in ((means, gaussians.means), (log_scales, gaussians.log_scales)):
            flat = target[group.start : group.stop].reshape(group.stop - group.start, -1)
            flat[:, positions] = values
    return Parameters(means, log_scales)
