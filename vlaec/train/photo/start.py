"""Where training begins: not at random, but at the best linear codec of the training photographs.

The analysis starts as the principal components of blocks (Karhunen-Loeve transform), the synthesis
as its transpose, and the prior at the deviations of the components. A random start keeps little of
a picture's energy and decodes it with an unrelated transform; from this one the same number of
steps ends at about half of the loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.blocks import ResidualBlock
from ...networks.photo import PhotoVLAE

# Log of what gains are lowered by: components keep the energy, of which isometries lose the most.
LOWER_GAIN = 0.7
# Standard deviation of weights that only break the symmetry.
NOISE = 0.001
# Variance of a component below which it is not known, on the [0, 1] scale of pixels.
VARIANCE_MIN = 1e-9


@torch.no_grad()
def start_from_components(model: PhotoVLAE, crops: Tensor, random: torch.Generator) -> None:
    """Set a new model to the principal components of `crops` [N, 3, S, S] in [0, 1], S a multiple
    of 16; crops and generator are on the model's device."""
    analysis, trunk = model.analysis, model.synthesis.trunk
    first, last = _conv(analysis, 1), _conv(model.synthesis.full, 0)
    x = F.pixel_unshuffle(crops.float() - 0.5, 4)
    if first.out_channels < x.shape[1]:
        stem, _ = _components(x, first.out_channels)
    else:
        stem = first.weight[:, :, 1, 1].clone()  # already an isometry: nothing is lost
    _centre(first, stem, NOISE, random)
    blocks = []
    y = _apply(stem, x)
    for down in (_conv(analysis, 3, 1), _conv(analysis, 5, 1)):
        y = F.pixel_unshuffle(y, 2)
        basis, _ = _components(y, down.out_channels)
        _centre(down, basis, NOISE / 3, random)
        y = _apply(basis, y)
        blocks.append(basis)
    latent, variances = _components(y, model.config.latent_channels)
    _centre(model.to_latent, latent, NOISE / 3, random)

    entry = _conv(trunk, 0)
    inputs = torch.zeros_like(entry.weight[:, :, 1, 1])  # [w16, C + levels]
    inputs[:, : len(latent)] = latent.T
    inputs[:, len(latent) :].normal_(std=0.01, generator=random)
    _centre(entry, inputs, NOISE, random)
    ups = _conv(trunk, 2, 0), _conv(trunk, 4, 0)
    for up, basis in zip(ups, reversed(blocks), strict=True):
        _centre(up, basis.T, NOISE / 3, random)
    full = torch.empty_like(last.weight[:, :, 0, 0]).normal_(std=0.02, generator=random)
    full[: stem.shape[1]] = stem.T
    _centre(last, full, 0, random)
    # The first three features are the picture.
    model.to_mean.weight.mul_(0.1)
    model.to_mean.weight[:, :3] = 0
    model.to_mean.weight[range(3), range(3), 1, 1] = 1
    _bias(model.to_mean).zero_()
    for part in (analysis, trunk):
        for block in part.modules():
            if isinstance(block, ResidualBlock):
                block.second.weight.mul_(0.3)
                _bias(block.second).zero_()
    _start_prior(model, variances)


def _start_prior(model: PhotoVLAE, variances: Tensor) -> None:
    """Gains, and log scales of the prior that agree with them at every level."""
    model.log_gain.sub_(LOWER_GAIN)
    model.log_inverse_gain.add_(LOWER_GAIN)
    prior = model.prior
    scales = variances.clamp_min(VARIANCE_MIN).log() / 2
    if prior.level_scale is not None:
        prior.level_scale.copy_(model.log_gain)
    else:
        scales = (scales + model.log_gain.mean(0)).clamp(-2, 5)
    for group in prior.groups:
        network = prior.parameters_of[group.index]
        assert isinstance(network, nn.Sequential)
        bias = _bias(_conv(network, len(network) - 1))
        bias.zero_()
        bias[group.stop - group.start :] = scales[group.start : group.stop]


@torch.no_grad()
def start_texture(model: PhotoVLAE) -> None:
    """Let the second network begin as a copy of the first, which knows what z means; its detail
    begins at nothing."""
    model.texture_synthesis.load_state_dict(model.synthesis.state_dict())
    for parameter in model.to_detail.parameters():
        nn.init.zeros_(parameter)


def _components(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first principal directions [count, C] of all pixels of x [N, C, h, w], and the mean
    square along each. Means are not taken out: the first stands for them."""
    flat = x.transpose(0, 1).flatten(1)
    moments = (flat @ flat.T / flat.shape[1]).double().cpu()
    values, vectors = torch.linalg.eigh(moments)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    return vectors.T.to(x), values.to(x)


def _conv(network: nn.Sequential, *place: int) -> nn.Conv2d:
    """The convolution at a place of nested stacks."""
    module: nn.Module = network
    for i in place:
        assert isinstance(module, nn.Sequential)
        module = module[i]
    assert isinstance(module, nn.Conv2d)
    return module


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias


def _apply(matrix: Tensor, x: Tensor) -> Tensor:
    return F.conv2d(x, matrix[:, :, None, None])


def _centre(conv: nn.Conv2d, matrix: Tensor, noise: float, random: torch.Generator) -> None:
    """Make `matrix` what a convolution does to each pixel; its other taps are noise."""
    middle = conv.kernel_size[0] // 2
    conv.weight.normal_(std=noise, generator=random)
    conv.weight[:, :, middle, middle] = matrix
    _bias(conv).zero_()
