"""The three laws of the bitstream, on shapes of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_models import golden_prior
from PIL import Image

from vlaec import zoo
from vlaec.coding.ans import AnsCoder, new_stack
from vlaec.coding.cells import pop_latents, push_latents
from vlaec.coding.gaussian import Gaussians, cell_bits
from vlaec.coding.symbols import StackReader, StackWriter, pop, push
from vlaec.errors import BadFileError
from vlaec.photo import codec, hyper_coder
from vlaec.photo.latent_coder import LatentCoder

Push = Callable[[AnsCoder, np.ndarray, Gaussians], None]
Pop = Callable[[AnsCoder, Gaussians], np.ndarray]

CODER = LatentCoder(golden_prior())
PHOTO = Path(__file__).resolve().parent.parent / "examples" / "photo.png"
# Latents of which the coder's own Gaussians draw a w that lies 300 deviations from its mean.
UNLUCKY = (31, 45, 50, 379)


def draw_latent(seed: int, height: int, width: int, spread: float) -> np.ndarray:
    z = np.random.default_rng(seed).normal(0, spread, (16, height, width))
    return np.clip(np.rint(z), -1023, 1023).astype(np.int32)


shapes = st.tuples(st.integers(1, 13), st.integers(1, 13))


@given(st.integers(0, 2**32), st.integers(1, 200), st.lists(st.integers(0, 2**32 - 1), max_size=40))
@settings(max_examples=50, deadline=None)
def test_law_1_pop_undoespush(seed: int, count: int, below: list[int]) -> None:
    rng = np.random.default_rng(seed)
    gaussians = Gaussians(rng.normal(0, 50, count), rng.uniform(-3, 6, count))
    symbols = rng.integers(-1023, 1024, count).astype(np.int32)
    words = np.array([*below, 1], np.uint32)
    stack = new_stack(words)
    push(stack, symbols, gaussians)
    assert np.array_equal(pop(stack, gaussians), symbols)
    assert np.array_equal(stack.get_compressed(), words)


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=50, deadline=None)
@pytest.mark.parametrize(("push", "pop"), [(push, pop), (push_latents, pop_latents)])
def test_law_1_push_undoespop(push: Push, pop: Pop, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    gaussians = Gaussians(rng.normal(0, 5, count), rng.uniform(-1, 4, count))
    words = rng.integers(1, 2**32, 64).astype(np.uint32)
    stack = new_stack(words)
    push(stack, pop(stack, gaussians), gaussians)
    assert np.array_equal(stack.get_compressed(), words)


@given(st.integers(0, 2**32), shapes, st.sampled_from([0.0, 0.3, 2.0, 30.0, 600.0]))
@settings(max_examples=60, deadline=None)
def test_laws_2_and_3(seed: int, shape: tuple[int, int], spread: float) -> None:
    z = draw_latent(seed, *shape, spread)
    quality = seed % 10001
    coded = CODER.encode(z, quality)
    decoded, _ = CODER.decode(coded.words, coded.bits_back, shape, quality)
    assert np.array_equal(decoded, z)
    assert 32 * len(coded.words) <= 1.01 * coded.bits + 64


def test_bits_back_saves() -> None:
    with Image.open(PHOTO) as image:
        pixels = np.asarray(image.convert("RGB"))
    own = codec.load_codec(zoo.find(quality=50).id)
    for quality in (5000, 9000):
        z = own.latent(pixels, quality)
        coded = own.coder.encode(z, quality)
        plain = LatentCoder(own.exact, bits_back=False).encode(z, quality)
        assert plain.bits_back == 0 and coded.bits_back > 500
        assert len(coded.words) < len(plain.words)


def far_out(stack: AnsCoder, gaussians: Gaussians) -> np.ndarray:
    return np.full(gaussians.shape, 900, np.int32)


def test_what_no_writer_draws_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("vlaec.photo.latent_coder.draw", far_out)
        coded = CODER.encode(draw_latent(0, 16, 16, 4.0), 5000)
    with pytest.raises(BadFileError, match="no writer draws"):
        CODER.decode(coded.words, coded.bits_back, (16, 16), 5000)


@pytest.mark.parametrize("seed", UNLUCKY)
def test_no_symbol_is_drawn_far_from_its_mean(seed: int) -> None:
    z = draw_latent(seed, 32, 32, 4.0)
    coded = CODER.encode(z, 5000)
    plain = LatentCoder(CODER.prior, bits_back=False).encode(z, 5000)
    assert coded.bits_back > 250 and len(coded.words) < 1.005 * len(plain.words)


def written(z: np.ndarray, drawn: int, quality: int = 5000) -> tuple[np.ndarray, float]:
    """w with the rounded means of the posterior in place of drawn symbols, and the bits of w and of
    the early z given it."""
    prior, weights = CODER.prior, CODER.prior.level_weights(quality)
    posterior, shape = prior.posterior(z), prior.hyper_shape(*z.shape[1:])
    first = np.rint(posterior.means[:drawn]).astype(np.int32)
    coder = StackWriter()
    w = hyper_coder.write(coder, first, posterior, prior.hyper_cell(), shape)
    assert np.array_equal(w[:drawn], first)
    features = prior.features(w, weights, *z.shape[1:])
    for group in CODER.early:
        places, gaussians = prior.group(group, z, features, weights)
        cells = z[group.start : group.stop].reshape(len(gaussians.means), -1)[:, places]
        coder.latents(gaussians, cells)
    return w, coder.bits


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_what_is_not_drawn_is_in_steps_that_pay(seed: int) -> None:
    z = draw_latent(seed, 12, 12, 4.0)
    posterior = CODER.prior.posterior(z)
    w, bits = written(z, drawn=0)
    assert not (w % hyper_coder.STEP).any()
    assert (np.abs(w - posterior.means) <= 1.5 * hyper_coder.STEP).all()
    assert bits < written(z, drawn=len(w))[1]


@given(st.integers(0, 2**32), st.tuples(*[st.integers(1, 20)] * 2), st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_w_comes_back_whatever_is_drawn(seed: int, cells: tuple[int, int], drawn: int) -> None:
    """Whatever its posterior is, and its prior."""
    rng = np.random.default_rng(seed)
    shape = (5, *cells)
    size = int(np.prod(shape))
    posterior = Gaussians(rng.normal(0, 100, size), rng.uniform(0.75, 4, size), 0.75)
    prior = Gaussians(rng.normal(0, 100, 5), rng.uniform(0.75, 5, 5), 0.75)
    first = np.rint(posterior.means[:drawn]).astype(np.int32)
    coder, stack = StackWriter(), new_stack()
    w = hyper_coder.write(coder, first, posterior, prior, shape)
    coder.flush(stack)
    found = hyper_coder.read(StackReader(stack), len(first), prior, shape)
    assert np.array_equal(found, w) and stack.is_empty()
    assert hyper_coder.least_bits(shape) <= coder.bits


def test_neighbours_and_what_a_channel_has_been_make_w_cheaper() -> None:
    """A smooth w of a small variance takes little more than half of what the model's prior says."""
    rows, columns = np.mgrid[:24, :24]
    smooth = 30 * np.sin(rows / 6) * np.cos(columns / 7) + 8 * np.arange(3)[:, None, None]
    prior = Gaussians(np.array([0.0, 8.0, 16.0]), np.full(3, np.log(90.0)))
    posterior = Gaussians(smooth.ravel(), np.full(smooth.size, 0.75), 0.75)
    coder = StackWriter()
    w = hyper_coder.write(coder, np.zeros(0, np.int32), posterior, prior, smooth.shape)
    means, scales = (np.repeat(a, 576) / hyper_coder.STEP for a in (prior.means, prior.scales))
    assert coder.bits < 0.6 * cell_bits(w // hyper_coder.STEP, means, scales).sum()


def test_no_symbol_of_w_is_drawn_that_the_prior_cannot_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the posterior's mean is at the bound, only symbols before the first beyond it count."""
    z = draw_latent(3, 16, 16, 4.0)
    posterior = CODER.prior.posterior(z)
    at_bound = Gaussians(posterior.means + 1023, posterior.log_scales)
    monkeypatch.setattr(CODER.prior, "posterior", lambda z: at_bound)
    coded = CODER.encode(z, 5000)
    decoded, _ = CODER.decode(coded.words, coded.bits_back, (16, 16), 5000)
    assert coded.bits_back < 64 and np.array_equal(decoded, z)


def test_a_tiny_picture_has_nothing_to_borrow_from() -> None:
    coded = CODER.encode(np.zeros((16, 1, 1), np.int32), 0)
    assert coded.bits_back == 0


def test_a_damaged_stack_is_refused() -> None:
    z = draw_latent(0, 6, 6, 3.0)
    coded = CODER.encode(z, 5000)
    with pytest.raises(BadFileError):
        CODER.decode(np.append(coded.words, 0), coded.bits_back, (6, 6), 5000)
    with pytest.raises(BadFileError):
        CODER.decode(coded.words, 10**6, (6, 6), 5000)
    longer = np.concatenate([np.array([7, 7, 7, 7], np.uint32), coded.words])
    with pytest.raises(BadFileError):
        CODER.decode(longer, coded.bits_back, (6, 6), 5000)


@given(st.integers(0, 2**32), st.tuples(st.integers(0, 20), st.integers(0, 17)), shapes)
@settings(max_examples=20, deadline=None)
def test_what_is_expected_of_a_window_is_that_of_the_picture(
    seed: int, corner: tuple[int, int], shape: tuple[int, int]
) -> None:
    """The surroundings that a window is given are all that it depends on."""
    z = draw_latent(seed, 30, 27, 4.0)
    weights = CODER.prior.level_weights(seed % 10001)
    (top, left), (height, width) = corner, shape
    window = slice(top, min(30, top + height)), slice(left, min(27, left + width))
    whole = CODER.prior.expected(z, (slice(0, 30), slice(0, 27)), weights)
    for part, all_of_it in zip(CODER.prior.expected(z, window, weights), whole, strict=True):
        assert np.array_equal(part, all_of_it[:, window[0], window[1]])
