"""The training objective: fidelity on the mean, perception and likelihood on the sampler."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..model.pixelcnn import PixelCNN, SamplingNoise, draw_noise, mixture_bits, sample_mixture
from ..model.vlae import PhotoVLAE
from ..perceptual import LPIPS
from ..wavefront import TextureSampler
from .recipe import Recipe
from .ssim import ms_ssim


class Losses(NamedTuple):
    """Scalars of one step; `total` is what is minimised. Terms without weight are 0."""

    total: Tensor
    rate: Tensor  # bits per pixel
    mse: Tensor  # of the mean, 0..255 scale
    likelihood: Tensor  # bits per subpixel
    perceptual: Tensor  # LPIPS of mean + sample
    mean_perceptual: Tensor  # LPIPS of the mean
    dissimilarity: Tensor  # 1 - MS-SSIM of the mean


class Objective(nn.Module):
    """Model and loss in one module."""

    def __init__(self, model: PhotoVLAE, recipe: Recipe, lpips: LPIPS | None) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.texture = TextureLoss(model.pixelcnn, model.config.temperature, recipe, lpips)

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
        distortion, dissimilarity = mse, torch.zeros_like(mse)
        if recipe.ms_ssim_weight:
            dissimilarity = 1 - ms_ssim(out.synthesised.mean, x)
            distortion = mse + recipe.ms_ssim_weight * dissimilarity
        span = math.log(config.lambda_max / config.lambda_min)
        weight = config.lambda_min * torch.exp(level * span)
        middle = config.rate_weight(0.5)
        balance = (weight / middle) ** -recipe.balance
        total = ((rate + weight * distortion) * balance).mean()
        likelihood = perceptual = mean_perceptual = torch.zeros_like(total)
        if corner is not None:
            rows, columns = (slice(c, c + recipe.texture_crop) for c in corner)
            square = (t[:, :, rows, columns] for t in (x, *out.synthesised))
            likelihood, perceptual, mean_perceptual = self.texture(*square)
            total = (
                total
                + recipe.likelihood_weight * likelihood
                + recipe.perceptual_weight * perceptual
                + recipe.mean_perceptual_weight * mean_perceptual
            )
        return Losses(
            total,
            rate.mean(),
            mse.mean(),
            likelihood,
            perceptual,
            mean_perceptual,
            dissimilarity.mean(),
        )


class TextureLoss(nn.Module):
    """What stage B adds, on one square of every crop."""

    def __init__(
        self, pixelcnn: PixelCNN, temperature: float, recipe: Recipe, lpips: LPIPS | None
    ) -> None:
        super().__init__()
        self.pixelcnn = pixelcnn
        self.temperature = temperature
        self.recipe = recipe
        self.lpips = lpips

    def forward(
        self, target: Tensor, mean: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Bits per subpixel, LPIPS of mean + sample (which leaves the mean alone), LPIPS of mean.

        A sample is the fixed point of "compute all pixels at once from the previous guess" under
        fixed noise (Song et al. 2021): it is drawn without gradient, then one such step carries the
        gradient.

        Args:
            target: [N, 3, S, S] in [0, 1].
            mean: [N, 3, S, S] of the synthesis.
            features: [N, F, S, S] of the synthesis.
        """
        recipe, cnn = self.recipe, self.pixelcnn
        n, size = len(target), target.shape[2]
        fixed = mean.detach().float()
        noise = draw_noise((n, size, size), cnn.mixtures, fixed)
        residual = self._draw(features, noise)
        sample = sample_mixture(cnn(residual, features), noise, self.temperature)

        truth = target - fixed
        # Contexts are partly the model's own samples: a likelihood trained on true contexts alone
        # breaks out in salt-and-pepper once its own samples become the context.
        share = 0.7 * torch.rand(n, 1, 1, 1, device=target.device)
        own = torch.rand(n, 1, size, size, device=target.device) < share
        context = torch.where(own, sample.detach(), truth)
        bits = mixture_bits(cnn(context, features), truth).mean() / 3

        perceptual = mean_perceptual = torch.zeros_like(bits)
        if self.lpips is not None:
            with torch.no_grad():
                reference = self.lpips.features(target)
            if recipe.perceptual_weight:
                seen = self.lpips.features(fixed + sample)
                perceptual = self.lpips.distance(reference, seen).mean()
            if recipe.mean_perceptual_weight:
                seen = self.lpips.features(mean)
                mean_perceptual = self.lpips.distance(reference, seen).mean()
        return bits, perceptual, mean_perceptual

    @torch.no_grad()
    def _draw(self, features: Tensor, noise: SamplingNoise) -> Tensor:
        """A sample [N, 3, S, S], exact or by a few Jacobi steps from zero."""
        cnn, steps = self.pixelcnn, self.recipe.jacobi_steps
        if not steps:
            return self._draw_exactly(features, noise)
        residual = torch.zeros_like(noise.logistic)
        for _ in range(steps):
            residual = sample_mixture(cnn(residual, features), noise, self.temperature)
        return residual

    @torch.compiler.disable  # it would be unrolled into thousands of operations
    def _draw_exactly(self, features: Tensor, noise: SamplingNoise) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return TextureSampler(self.pixelcnn, self.temperature).sample_batch(features, noise)
