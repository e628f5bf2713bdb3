"""p(x | z) of small images: a local PixelCNN over the image itself, and its distributions.

The window of the image is the only spatial context; 1x1 residual layers follow. Binary pixels are
Bernoulli; colour is a mixture of discretised logistics with the channel coupling of PixelCNN++
(Salimans et al. 2017): green is conditioned on red, blue on both. Whatever bounds a parameter is a
clamp, and all that enters the network is on the grid of `vlaec.coding.exact`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..coding.window import window_offsets
from .pixelcnn import gather_window
from .set_config import SetConfig
from .set_units import (
    COEFFICIENT_BOUND,
    GREY,
    LEVEL_LOG_MAX,
    LEVEL_LOG_MIN,
    LEVEL_LOG_START,
    LEVEL_UNIT,
    LOGIT_BOUND,
    MEAN_BOUND,
    MIDDLE,
)

# Windows hold whatever an image can hold, so this clamps nothing.
WINDOW_BOUND = 2.0
# Neighbours of one pixel differ little: seen as they are, what they share would drown the rest.
DIFFERENCE_GAIN = 2.0
# What a linear prediction takes of the pixels to the left, above, and above to the left.
PREDICTION = {(0, -1): 0.75, (-1, 0): 0.75, (-1, -1): -0.5}


class ColourMixture(NamedTuple):
    """K logistic components at every pixel, on the 0..255 scale."""

    logits: Tensor  # [N, K, H, W]
    means: Tensor  # [N, 3, K, H, W]
    log_scales: Tensor  # [N, 3, K, H, W]
    # [N, 3, K, H, W]: green on red, blue on red, blue on green; they multiply value - 127.5.
    coefficients: Tensor


class SetPixelCNN(nn.Module):
    """Parameters of every pixel's distribution given its window and the features of z."""

    def __init__(self, config: SetConfig) -> None:
        super().__init__()
        c, hidden = config, config.pixel_hidden
        self.grey_context = c.grey_context
        self.binary = c.kind == "binary"
        self.inputs = inputs = 1 if c.grey_context else c.channels
        local = c.receptive_field != "none"
        self.offsets = window_offsets(c.receptive_field) if local else []
        self.window = nn.Conv2d(inputs * len(self.offsets), hidden, 1) if local else None
        self.condition = nn.Conv2d(c.features, hidden, 1)
        self.layers = nn.ModuleList(nn.Conv2d(hidden, hidden, 1) for _ in range(c.pixel_depth))
        self.head = nn.Conv2d(hidden, parameter_count(c), 1)
        nn.init.normal_(self.head.weight, std=0.01)
        if not self.binary:
            self._start_as_predictor(c.mixtures, inputs)

    def forward(self, centred: Tensor, features: Tensor) -> Tensor:
        """Network outputs [N, P, H, W] from `centre`d images and features [N, F, H, W]."""
        hidden = self.condition(features)
        if self.window is not None:
            inputs = grey(centred) if self.grey_context else centred
            hidden = hidden + self.window(gather_window(inputs, self.offsets, WINDOW_BOUND))
        return self.outputs(hidden)

    def outputs(self, hidden: Tensor) -> Tensor:
        """From the sum of what window and features say, [N, hidden, ...] -> [N, P, ...]."""
        for layer in self.layers:
            hidden = hidden + layer(torch.relu(hidden))
        # The steps of bfloat16 are coarser than the scales of flat areas.
        with torch.autocast(hidden.device.type, enabled=False):
            out: Tensor = self.head(torch.relu(hidden.to(self.head.weight.dtype)))
        return out

    @torch.no_grad()
    def _start_as_predictor(self, k: int, inputs: int) -> None:
        """Start where a hand-made coder would: hidden units see differences to the left pixel, and
        the components' means lie around a linear prediction, a little apart.

        The prediction passes the ReLUs as a pair of units of opposite signs per colour. On
        CIFAR-10 this and `vlaec.train.sets.precondition` save more than half of the steps.
        """
        assert self.head.bias is not None
        self.head.bias.zero_()
        means = self.head.bias[k : 4 * k]
        if self.window is None:
            means.copy_(torch.linspace(-1.5, 1.5, k).repeat(3))
            return
        means.copy_(torch.linspace(-0.3, 0.3, k).repeat(3))
        weight = self.window.weight[:, :, 0, 0]  # [hidden, neighbours * seen], a view
        weight.copy_(weight @ differences(self.offsets, inputs))
        pairs = slice(0, 6)
        predictor = weight.new_zeros(6, len(self.offsets), inputs)
        for place, share in PREDICTION.items():
            for colour in range(3):
                unit, source = 2 * colour, min(colour, inputs - 1)
                predictor[unit, self.offsets.index(place), source] = share
                predictor[unit + 1, self.offsets.index(place), source] = -share
        weight[pairs] = predictor.flatten(1)
        for conv in (self.window, self.condition, *self.layers):
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            conv.bias[pairs] = 0
        self.condition.weight[pairs] *= 0.1
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d)
            layer.weight[pairs] = 0
        for colour in range(3):
            rows = slice((1 + colour) * k, (2 + colour) * k)
            self.head.weight[rows, 2 * colour] = 1
            self.head.weight[rows, 2 * colour + 1] = -1


def differences(offsets: list[tuple[int, int]], inputs: int) -> Tensor:
    """The matrix that makes of a window its left pixel, and of the others twice their difference
    to it: [n * seen, n * seen], inputs in the order of `gather_window`."""
    n, left = len(offsets), offsets.index((0, -1))
    matrix = torch.eye(n * inputs).view(n, inputs, n, inputs) * DIFFERENCE_GAIN
    for channel in range(inputs):
        matrix[:, channel, left, channel] -= DIFFERENCE_GAIN
        matrix[left, channel, left, channel] = 1
    return matrix.view(n * inputs, n * inputs)


def parameter_count(config: SetConfig) -> int:
    """P: one logit per binary pixel, or 10 K numbers per colour pixel."""
    return 1 if config.kind == "binary" else 10 * config.mixtures


def centre(x: Tensor) -> Tensor:
    """Images in [0, 1] as networks see them: +-1/2 for binary [N, 1, H, W]; colour [N, 3, H, W]
    in units of 64 levels around the middle. 0 stands for "outside the image" alone."""
    if x.shape[1] == 1:
        return x - 0.5
    return ((x * 255).round() - MIDDLE) / LEVEL_UNIT


def grey(centred: Tensor) -> Tensor:
    """0.299 R + 0.587 G + 0.114 B, [N, 3, H, W] -> [N, 1, H, W]."""
    weights = torch.tensor(GREY, dtype=centred.dtype, device=centred.device)
    return (centred * weights[:, None, None]).sum(1, keepdim=True)


def bernoulli_log_likelihood(x: Tensor, logits: Tensor) -> Tensor:
    """log p of binary images [N, 1, H, W] in nats, [N]."""
    bounded = logits.clamp(-LOGIT_BOUND, LOGIT_BOUND)
    loss = F.binary_cross_entropy_with_logits(bounded, x, reduction="none")
    return -loss.flatten(1).sum(1)


def split_mixture(out: Tensor) -> ColourMixture:
    """Network outputs [N, 10 K, H, W] as bounded parameters.

    The outputs are K logits, then for means, log scales and coefficients in turn three times K.
    """
    k = out.shape[1] // 10
    means, log_scales, coefficients = out[:, k:].unflatten(1, (3, 3, k)).unbind(1)
    return ColourMixture(
        out[:, :k],
        means.clamp(-MEAN_BOUND, MEAN_BOUND) * LEVEL_UNIT + MIDDLE,
        (log_scales + LEVEL_LOG_START).clamp(LEVEL_LOG_MIN, LEVEL_LOG_MAX),
        coefficients.clamp(-COEFFICIENT_BOUND, COEFFICIENT_BOUND),
    )


def mixture_log_likelihood(x: Tensor, mixture: ColourMixture) -> Tensor:
    """log p of colour images [N, 3, H, W] (k / 255) in nats, [N].

    A level owns the cell of width 1 around it; 0 and 255 own the tails, too.
    """
    levels = (x * 255).round()[:, :, None]  # [N, 3, 1, H, W]
    red, green = (levels[:, i] - MIDDLE for i in range(2))  # [N, 1, H, W]
    c = mixture.coefficients
    shifts = [torch.zeros_like(c[:, 0]), c[:, 0] * red, c[:, 1] * red + c[:, 2] * green]
    distance = levels - mixture.means - torch.stack(shifts, 1)  # [N, 3, K, H, W]
    inverse = torch.exp(-mixture.log_scales)
    upper = F.logsigmoid((distance + 0.5) * inverse)
    lower = F.logsigmoid((0.5 - distance) * inverse)
    # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), b - a = inverse.
    inside = upper + lower + torch.log(-torch.expm1(-inverse))
    edges = torch.where(levels < 0.5, upper, lower)
    log_mass = torch.where((levels > 0.5) & (levels < 254.5), inside, edges)
    per_component = log_mass.sum(1) + F.log_softmax(mixture.logits, 1)  # [N, K, H, W]
    return torch.logsumexp(per_component, 1).flatten(1).sum(1)
