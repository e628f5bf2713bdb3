"""Weights of a trained model as the start of one with a larger PixelCNN: the same function.

What is new has no say at first: pixels of a wider window, hidden units and layers get weights of 0
towards the output. Components of the mixture are doubled, and set a little apart to part ways.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...networks.pixelcnn import window_offsets
from ...networks.set_config import SetConfig
from .precondition import WINDOW

# Distance of two copies of one component at the start, in units of the means.
APART = 0.02


def grown(
    state: dict[str, Tensor], old: SetConfig, new: SetConfig, fresh: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The `state` of a model `old` for a model `new`, whose untrained state is `fresh`.

    Both states belong to plain models (see `precondition`).

    Raises:
        ValueError: the models differ in more than their windows and the sizes of their PixelCNNs,
            or the new one is the smaller.
    """
    sizes = ("receptive_field", "pixel_hidden", "pixel_depth", "mixtures")
    if replace(old, **{name: getattr(new, name) for name in sizes}) != new:
        raise ValueError("the model is another one, not in its PixelCNN alone")
    if new.pixel_hidden < old.pixel_hidden or new.pixel_depth < old.pixel_depth:
        raise ValueError("the PixelCNN would shrink")
    if new.kind == "colour" and new.mixtures % old.mixtures:
        raise ValueError("the mixture's components cannot be multiplied to that number")
    out = {}
    for name, value in fresh.items():
        if not name.startswith("pixelcnn."):
            out[name] = state[name]
            continue
        # Old units hear nothing of new ones, and new layers and the head nothing at all.
        out[name] = value.clone()
        out[name][: old.pixel_hidden] = 0
        if name in state and name != WINDOW and not name.startswith("pixelcnn.head."):
            _corner(out[name], state[name])
    if WINDOW in fresh:
        _window(out[WINDOW], state[WINDOW], old, new)
    for name in ("pixelcnn.head.weight", "pixelcnn.head.bias"):
        _corner(out[name].zero_(), _components(state[name], old, new))
    return out


def _corner(target: Tensor, source: Tensor) -> None:
    """Put `source` where its indices are in the larger `target`."""
    target[tuple(slice(0, size) for size in source.shape)] = source


def _window(target: Tensor, source: Tensor, old: SetConfig, new: SetConfig) -> None:
    """Weights [hidden, neighbours * seen, 1, 1] by the neighbours' places; 0 for new ones."""
    places = [window_offsets(c.receptive_field) for c in (old, new)]
    inputs = source.shape[1] // len(places[0])
    target[: len(source)] = 0
    for index, place in enumerate(places[1]):
        if place in places[0]:
            at = places[0].index(place)
            target[: len(source), index * inputs : (index + 1) * inputs] = source[
                :, at * inputs : (at + 1) * inputs
            ]


def _components(rows: Tensor, old: SetConfig, new: SetConfig) -> Tensor:
    """The head's rows with each component as often as the new mixture has room for."""
    if old.kind == "binary" or old.mixtures == new.mixtures:
        return rows
    copies = new.mixtures // old.mixtures
    blocks = rows.unflatten(0, (10, old.mixtures))  # logits, three means, scales, coefficients
    doubled = blocks.repeat(1, copies, *[1] * (rows.dim() - 1))
    if rows.dim() == 1:
        apart = torch.linspace(-1, 1, copies).repeat_interleave(old.mixtures)
        doubled[1:4] += APART * apart
    return doubled.flatten(0, 1)
