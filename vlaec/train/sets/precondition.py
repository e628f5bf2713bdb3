"""Steps in better coordinates: a window's weights, as weights of differences.

Neighbouring pixels are nearly alike, so the loss is steep in what all weights of a window share
and flat in everything else. Adam scales coordinates one by one and cannot see that; in the basis
of `differences` it can. Models are stored without it: the product is an ordinary weight.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...networks.set_pixels import SetPixelCNN, differences

WINDOW = "pixelcnn.window.weight"
_TRAINED = "pixelcnn.window.parametrizations.weight.original"
_MATRIX = "pixelcnn.window.parametrizations.weight.0.matrix"


class Differences(nn.Module):
    """weight = trained @ matrix, both [hidden, neighbours, 1, 1]."""

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, trained: Tensor) -> Tensor:
        """The window's weights."""
        return (trained[:, :, 0, 0] @ self.matrix)[:, :, None, None]

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What is trained, from the window's weights."""
        return torch.linalg.solve(self.matrix, weight[:, :, 0, 0], left=False)[:, :, None, None]


def precondition(cnn: SetPixelCNN) -> None:
    """Let training see the window of colour images as differences; its function is unchanged."""
    if cnn.window is not None and not cnn.binary:
        matrix = differences(cnn.offsets, cnn.inputs)
        parametrize.register_parametrization(cnn.window, "weight", Differences(matrix))


def plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a model in training, as one without `precondition` has it."""
    if _TRAINED not in state:
        return state
    kept = {k: v for k, v in state.items() if k not in (_TRAINED, _MATRIX)}
    trained, matrix = state[_TRAINED].float(), state[_MATRIX].float()
    return kept | {WINDOW: Differences(matrix)(trained)}


def trained(state: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `plain`, for a model whose state is `like`."""
    if _TRAINED not in like or _TRAINED in state:
        return state
    matrix = like[_MATRIX]
    inverse = Differences(matrix).right_inverse(state[WINDOW].to(matrix))
    return {k: v for k, v in state.items() if k != WINDOW} | {_TRAINED: inverse, _MATRIX: matrix}
