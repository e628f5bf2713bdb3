"""A network that learns to tell sampled texture from true texture, given what the receiver knows.

It only looks at texture: its verdict counts where the mean lost something (see `window_levels`),
so clean edges, lettering and flat areas are left to the other losses. z stays as it is: the cheap
last stage of Muckley et al. 2023, "Improving Statistical Fidelity for Neural Image Compression with
Implicit Local Likelihood Models", and its rates, with a discriminator of patches.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ...metrics.windows import TOP_LEVEL

WIDTHS = (64, 128, 256)
STRIDE = 4  # pixels between verdicts
LEARNING_RATE = 4e-4
BETAS = (0.5, 0.9)
# Steps over which its verdict gains weight: in the first ones it has nothing to say.
WARM_UP = 200
# What was lost is a tenth of the range of pixels.
RESIDUAL_SCALE = 8.0


class Discriminator(nn.Module):
    """Verdicts on patches: positive for true ones."""

    def __init__(self) -> None:
        super().__init__()
        one, two, three = WIDTHS
        self.layers = nn.Sequential(
            _conv(6, one, 3, 1),
            nn.LeakyReLU(0.2),
            _conv(one, two, 4, 2),
            nn.LeakyReLU(0.2),
            _conv(two, three, 4, 2),
            nn.LeakyReLU(0.2),
            _conv(three, three, 3, 1),
            nn.LeakyReLU(0.2),
            _conv(three, 1, 3, 1),
        )

    def forward(self, picture: Tensor, mean: Tensor) -> Tensor:
        """[N, 1, H / 4, W / 4] of pictures [N, 3, H, W] and the receiver's means of them."""
        planes = torch.cat([RESIDUAL_SCALE * (picture - mean), 2 * mean - 1], 1)
        verdict: Tensor = self.layers(planes.contiguous(memory_format=torch.channels_last))
        return verdict.float()


def _conv(inputs: int, outputs: int, side: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(inputs, outputs, side, stride, padding=1))


class Adversary(nn.Module):
    """A discriminator that takes a step of its own whenever it is asked.

    It is no part of the model and of its checkpoints: a run that resumes starts with a new one and
    warms it up again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = Discriminator()
        self.optimiser: torch.optim.Optimizer | None = None
        self.steps = 0

    @torch.compiler.disable
    def forward(self, target: Tensor, texture: Tensor, mean: Tensor, levels: Tensor) -> Tensor:
        """How unlike true texture the picture is, []: the generator's loss.

        Args:
            target: [N, 3, H, W], the original in [0, 1].
            texture: [N, 3, H, W], the picture with texture; gets the gradient.
            mean: [N, 3, H, W], the picture without.
            levels: [N, 1, H, W], see `window_levels`.
        """
        weight = F.avg_pool2d(levels, STRIDE) / TOP_LEVEL
        if torch.is_grad_enabled() and texture.requires_grad:
            self._learn(target, texture.detach(), mean, weight)
        verdict = self.network(texture, mean)
        weight = weight * min(1.0, self.steps / WARM_UP)
        return (weight * F.softplus(-verdict)).mean()

    def _learn(self, target: Tensor, texture: Tensor, mean: Tensor, weight: Tensor) -> None:
        """One step of the discriminator."""
        if self.optimiser is None:  # now that the parameters are on their device
            parameters = self.network.parameters()
            self.optimiser = torch.optim.Adam(parameters, LEARNING_RATE, BETAS, fused=True)
        true, drawn = self.network(torch.cat([target, texture]), mean.repeat(2, 1, 1, 1)).chunk(2)
        loss = (weight * (F.softplus(-true) + F.softplus(drawn))).mean()
        # What the generator's loss left behind does not count.
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.steps += 1
