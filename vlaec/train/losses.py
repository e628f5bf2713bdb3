"""The training objective: fidelity on the mean, perception and likelihood on the sampler."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..model.pixelcnn import draw_noise, mixture_bits, sample_mixture
from ..model.vlae import PhotoVLAE, Synthesised
from ..perceptual import LPIPS
from .recipe import Recipe


class Losses(NamedTuple):
    """Scalars of one step; `total` is what is minimised."""

    total: Tensor
    rate: Tensor  # bits per pixel
    mse: Tensor  # of the mean, 0..255 scale
    likelihood: Tensor  # bits per subpixel, true context
    perceptual: Tensor  # LPIPS of mean + sample


class Objective(nn.Module):
    """Model and loss in one module, so that DistributedDataParallel sees one forward pass."""

    def __init__(self, model: PhotoVLAE, recipe: Recipe, lpips: LPIPS | None) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.lpips = lpips

    def forward(self, x: Tensor, level: Tensor, corner: tuple[int, int] | None) -> Losses:
        """Losses of a batch.

        Args:
            x: [N, 3, H, W] in [0, 1].
            level: [N] in [0, 1], the quality of each crop.
            corner: top-left corner of the square that the sampler is trained on, or None in
                stage A.
        """
        recipe, config = self.recipe, self.model.config
        out = self.model(x, level)
        pixels = x.shape[2] * x.shape[3]
        rate = (out.prior.latent_bits + out.prior.hyper_bits) / pixels  # [N]
        mse = ((out.synthesised.mean - x) * 255).square().flatten(1).mean(1)  # [N]
        span = math.log(config.lambda_max / config.lambda_min)
        weight = config.lambda_min * torch.exp(level * span)
        middle = config.rate_weight(0.5)
        balance = (weight / middle) ** -recipe.balance
        total = ((rate + weight * mse) * balance).mean()
        likelihood = perceptual = torch.zeros_like(total)
        if corner is not None:
            likelihood, perceptual = self._texture(x, out.synthesised, corner)
            total = (
                total
                + recipe.likelihood_weight * likelihood
                + recipe.perceptual_weight * perceptual
            )
        return Losses(total, rate.mean(), mse.mean(), likelihood, perceptual)

    def _texture(
        self, x: Tensor, full: Synthesised, corner: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Bits per subpixel and LPIPS of the sampler on one square of every crop.

        A sample is the fixed point of "compute all pixels at once from the previous guess" under
        fixed noise (Song et al. 2021); with a small window a few such Jacobi steps come close, and
        only the last carries the gradient.
        """
        size = self.recipe.texture_crop
        rows, columns = (slice(c, c + size) for c in corner)
        target = x[:, :, rows, columns]
        mean = full.mean[:, :, rows, columns].detach().float()
        features = full.features[:, :, rows, columns]
        cnn, config = self.model.pixelcnn, self.model.config
        noise = draw_noise((len(x), size, size), config.mixtures, mean)
        residual = torch.zeros_like(mean)
        with torch.no_grad():
            for _ in range(self.recipe.jacobi_steps - 1):
                residual = sample_mixture(cnn(residual, features), noise, config.temperature)
        sample = sample_mixture(cnn(residual, features), noise, config.temperature)

        truth = target - mean
        # Contexts are partly the model's own samples: a likelihood trained on true contexts alone
        # breaks out in salt-and-pepper once its own samples become the context.
        share = 0.5 * torch.rand(len(x), 1, 1, 1, device=x.device)
        own = torch.rand(len(x), 1, size, size, device=x.device) < share
        context = torch.where(own, sample.detach(), truth)
        bits = mixture_bits(cnn(context, features), truth).mean() / 3

        if self.lpips is None:
            return bits, torch.zeros_like(bits)
        with torch.no_grad():
            reference = self.lpips.features(target)
        return bits, self.lpips.distance(reference, self.lpips.features(mean + sample)).mean()
