"""Dropout in training alone, put on a model from outside: what is stored and coded has none."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.blocks import ResidualBlock
from ...networks.sets import SetVLAE


def add_dropout(model: SetVLAE, share: float, random: torch.Generator) -> None:
    """Leave out a `share` of what every ReLU of analysis, synthesis and prior gives, in training.

    The PixelCNN keeps all: it is small, and sees hundreds of pixels per image.
    """

    def left_out(layer: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
        if not layer.training:
            return None
        (x,) = inputs
        kept = torch.empty_like(x).bernoulli_(1 - share, generator=random)
        return x * kept / (1 - share)

    for name, part in model.named_children():
        if name != "pixelcnn":
            for layer in _after_relu(part):
                layer.register_forward_pre_hook(left_out)


def _after_relu(network: nn.Module) -> list[nn.Module]:
    """The layers of a network whose input comes from a ReLU."""
    layers: list[nn.Module] = []
    for part in network.modules():
        if isinstance(part, ResidualBlock):
            layers.append(part.second)
        elif isinstance(part, nn.Sequential):
            layers += [later for first, later in pairwise(part) if isinstance(first, nn.ReLU)]
    return layers
