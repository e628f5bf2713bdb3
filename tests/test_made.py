"""MADE: each output sees the elements before its own and no others."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vlaec.networks.made import MADE, MaskedConv

SIZES = [(1, 4, 1), (2, 3, 2), (7, 32, 1), (7, 32, 3), (12, 5, 2)]


def make(size: int, hidden: int, depth: int, context: int = 0) -> MADE:
    torch.manual_seed(size + hidden)
    made = MADE(size, hidden, depth, context).requires_grad_(False)
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.normal_()
    return made


@pytest.mark.parametrize(("size", "hidden", "depth"), SIZES)
def test_an_output_sees_what_comes_before_it(size: int, hidden: int, depth: int) -> None:
    made = make(size, hidden, depth)
    x = torch.randn(1, size, 1, 1)
    before = torch.stack(made(x))[:, 0, :, 0, 0]  # [2, size]
    for i in range(size):
        changed = x.clone()
        changed[0, i] += 3
        after = torch.stack(made(changed))[:, 0, :, 0, 0]
        assert torch.equal(before[:, : i + 1], after[:, : i + 1])
        assert (before[:, i + 1 :] != after[:, i + 1 :]).all()


@pytest.mark.parametrize(("size", "hidden"), [(2, 1), (7, 6), (7, 32), (64, 63)])
def test_the_stack_alone_joins_every_pair_of_elements(size: int, hidden: int) -> None:
    made = make(size, hidden, 2)
    reach = torch.eye(size)
    for layer in made.network:
        if isinstance(layer, MaskedConv):
            reach = layer.mask[:, :, 0, 0] @ reach
    below = torch.ones(size, size).tril(-1).repeat(2, 1)
    assert torch.equal(reach > 0, below > 0)


def test_the_masked_weights_are_plain_convolutions() -> None:
    made = make(6, 12, 2)
    x = torch.randn(3, 6, 1, 1)
    hidden = x
    for layer in made.network:
        if isinstance(layer, MaskedConv):
            hidden = F.conv2d(hidden, layer.masked_weight, layer.bias)
        else:
            hidden = layer(hidden)
    direct = F.conv2d(x, made.direct.masked_weight, made.direct.bias)
    assert torch.equal(torch.cat(made(x), 1), hidden + direct)
    assert not any("mask" in name for name in made.state_dict())


def test_every_output_sees_the_context_and_what_comes_before_it() -> None:
    made = make(5, 16, 2, context=3)
    x, context = torch.randn(1, 5, 1, 1), torch.randn(1, 3, 1, 1)
    before = torch.stack(made(x, context))[:, 0, :, 0, 0]
    assert (before != torch.stack(made(x, context + 1))[:, 0, :, 0, 0]).all()
    for i in range(5):
        changed = x.clone()
        changed[0, i] += 3
        after = torch.stack(made(changed, context))[:, 0, :, 0, 0]
        assert torch.equal(before[:, : i + 1], after[:, : i + 1])
        assert (before[:, i + 1 :] != after[:, i + 1 :]).all()
