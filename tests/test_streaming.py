"""Networks given a picture's rows in pieces make of it what they make of the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vlaec.networks import PRESETS, PhotoVLAE, streaming
from vlaec.networks.blocks import downsample, level_weights, residual_stack, upsample
from vlaec.networks.streaming import Stream, SynthesisStream, encode_in_rows, pieces, stream
from vlaec.photo import render as rendering
from vlaec.photo.render import render
from vlaec.photo.sampler import BAND, TextureSampler

TINY = PRESETS["tiny"]


def make() -> PhotoVLAE:
    torch.manual_seed(4)
    model = PhotoVLAE(TINY).requires_grad_(False)
    nn.init.normal_(model.to_detail.weight, std=0.05)
    nn.init.normal_(model.pixelcnn.head.weight, std=0.1)
    return model


def in_pieces(network: Stream, x: Tensor, cuts: list[int]) -> Tensor:
    """What a stream makes of x [1, C, H, W], cut above the rows `cuts`."""
    edges = sorted({0, x.shape[2], *(cut for cut in cuts if 0 < cut < x.shape[2])})
    parts = [network(x[:, :, a:b], b == x.shape[2]) for a, b in pairwise(edges)]
    return torch.cat(parts, 2)


def known_of(model: PhotoVLAE, height: int, width: int) -> Tensor:
    shape = (1, TINY.latent_channels, height, width)
    mean, log_scale = torch.randn(2, *shape).unbind()
    levels = level_weights(torch.tensor([0.4]), TINY.levels)
    return model.known(torch.randn(shape).round(), mean, log_scale, levels)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 4), st.lists(st.integers(1, 35), max_size=6))
def test_any_cut_gives_the_whole(height: int, width: int, cuts: list[int]) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        residual_stack(4, 2),
        downsample(4, 6),
        residual_stack(6, 1),
        upsample(6, 3),
    ).requires_grad_(False)
    x = torch.randn(1, 2, 4 * height, 2 * width)
    torch.testing.assert_close(
        in_pieces(stream(network), x, cuts), network(x), atol=1e-5, rtol=1e-5
    )


def test_a_module_that_sees_more_is_refused() -> None:
    with pytest.raises(TypeError, match="row by row"):
        stream(nn.Sequential(nn.Conv2d(1, 1, 5, padding=2)))


@pytest.mark.parametrize("cuts", [[], [1, 2, 3], [5], [1, 6]])
def test_pictures_and_latents_in_pieces_equal_the_whole(cuts: list[int]) -> None:
    model = make()
    known = known_of(model, 7, 3)
    mean = in_pieces(SynthesisStream(model).mean, known, cuts)
    lively = SynthesisStream(model)

    def texture(rows: Tensor, last: bool) -> Tensor:
        return torch.cat(lively.texture(rows, last), 1)

    detail, features = in_pieces(texture, known, cuts).split([3, TINY.features], 1)
    expected = (
        model.mean(model.synthesis.trunk(known)),
        *model.texture(model.texture_synthesis.trunk(known)),
    )
    for found, whole in zip((mean, detail, features), expected, strict=True):
        torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)


def test_pieces_are_whole_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    x = torch.rand(1, 3, 16 * 5, 16 * 2)
    levels = level_weights(torch.tensor([0.4]), TINY.levels)
    whole = model.encode(x, levels)
    monkeypatch.setattr(streaming, "PIXELS_AT_ONCE", 2 * 16 * 16 * 2)
    assert [(rows.shape[2], last) for rows, last in pieces(x, 1)] == [
        (32, False),
        (32, False),
        (16, True),
    ]
    torch.testing.assert_close(encode_in_rows(model, x, levels), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_the_picture_does_not_depend_on_how_much_is_made_at_once(
    strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make()
    sampler = TextureSampler(model.pixelcnn, 0.5)
    height, width = 2 * BAND + 37, 21
    known = known_of(model, -(-height // 16), 2)

    def picture() -> np.ndarray:
        done: list[float] = []
        made = render(model, sampler, known, (height, width), strength, 9, done.append)
        assert done == sorted(done) and all(0 <= share <= 1 for share in done)
        assert bool(done) == (strength > 0)
        return made

    whole = picture()
    assert whole.shape == (height, width, 3) and whole.dtype == np.uint8 and whole.std() > 1
    monkeypatch.setattr(streaming, "PIXELS_AT_ONCE", 3 * 256 * 2)
    monkeypatch.setattr(rendering, "PIXELS_SAMPLED", BAND * width)
    # Sums in another order: a level apart here and there.
    assert np.abs(picture().astype(int) - whole).max() <= 1
