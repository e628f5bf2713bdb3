"""The training objective: fidelity on the mean, perception and likelihood on the sampler."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...metrics.energy import energy_distance
from ...metrics.lattice import lattice_distance
from ...metrics.perceptual import LPIPS
from ...metrics.ssim import ms_ssim
from ...metrics.variance import variance_distance
from ...networks.photo import PhotoVLAE, VLAEOutput
from ...networks.pixelcnn import PixelCNN, SamplingNoise, draw_noise, mixture_bits, sample_mixture
from ...photo.sampler import TextureSampler
from .recipe import Recipe


class Losses(NamedTuple):
    """Scalars of one step; `total` is what is minimised. Terms without weight are 0."""

    total: Tensor
    rate: Tensor  # bits per pixel
    mse: Tensor  # of the mean, 0..255 scale
    dissimilarity: Tensor  # 1 - MS-SSIM of the mean
    mean_perceptual: Tensor  # LPIPS of the mean
    perceptual: Tensor  # LPIPS of the texture: mean + detail + sample
    vgg: Tensor  # the same on VGG16
    likelihood: Tensor  # bits per subpixel
    energy: Tensor  # nats, see `energy_distance`, of the texture
    variance: Tensor  # nats, see `variance_distance`, of the texture
    lattice: Tensor  # nats, see `lattice_distance`, of the texture
    texture_mse: Tensor  # of the texture, 0..255 scale


class TextureLosses(NamedTuple):
    """What stage B adds."""

    perceptual: Tensor
    vgg: Tensor
    likelihood: Tensor
    energy: Tensor
    variance: Tensor
    lattice: Tensor
    log_mse: Tensor
    mse: Tensor


class Objective(nn.Module):
    """Model and loss in one module."""

    def __init__(
        self, model: PhotoVLAE, recipe: Recipe, lpips: LPIPS | None, vgg: LPIPS | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.lpips = lpips
        self.texture = TextureLoss(model.pixelcnn, model.config.temperature, recipe, lpips, vgg)

    def forward(
        self, x: Tensor, level: Tensor, corner: tuple[int, int] | None, structure: bool = True
    ) -> Losses:
        """Losses of a batch.

        Args:
            x: [N, 3, H, W] in [0, 1].
            level: [N] in [0, 1], the quality of each crop.
            corner: top-left corner of the square that the texture is trained on, or None in
                stage A.
            structure: whether what decides z and the mean is trained; not in stage C.
        """
        recipe = self.recipe
        with torch.set_grad_enabled(structure and torch.is_grad_enabled()):
            out = self.model(x, level)
            total, rate, mse, dissimilarity, mean_perceptual = self._structure(x, level, out)
        zero = torch.zeros_like(total)
        texture = TextureLosses(*(zero for _ in TextureLosses._fields))
        if not structure:
            total = zero
        if corner is not None:
            some = slice((structure and recipe.texture_crops) or len(x))
            known = out.known[some]
            # The same numbers, which pass on a share of their gradient.
            known = known.lerp(known.detach(), 1 - recipe.encoder_share)
            detail, features = self.model.texture(self.model.texture_synthesis.trunk(known))
            rows, columns = (slice(c, c + recipe.texture_crop) for c in corner)
            parts = (x[some], out.mean[some], detail, features)
            square = (t[:, :, rows, columns] for t in parts)
            texture = self.texture(*square)
            total = (
                total
                + recipe.perceptual_weight * texture.perceptual
                + recipe.vgg_weight * texture.vgg
                + recipe.likelihood_weight * texture.likelihood
                + recipe.energy_weight * texture.energy
                + recipe.variance_weight * texture.variance
                + recipe.lattice_weight * texture.lattice
                + recipe.texture_fidelity * texture.log_mse
            )
        return Losses(
            total,
            rate,
            mse,
            dissimilarity,
            mean_perceptual,
            texture.perceptual,
            texture.vgg,
            texture.likelihood,
            texture.energy,
            texture.variance,
            texture.lattice,
            texture.mse,
        )

    def _structure(
        self, x: Tensor, level: Tensor, out: VLAEOutput
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Rate-distortion loss, then rate, MSE, dissimilarity and LPIPS of the mean."""
        recipe, config = self.recipe, self.model.config
        pixels = x.shape[2] * x.shape[3]
        rate = (out.prior.latent_bits + out.prior.hyper_bits) / pixels  # [N]
        mse = ((out.mean - x) * 255).square().flatten(1).mean(1)  # [N]
        distortion, dissimilarity = mse, torch.zeros_like(mse)
        if recipe.ms_ssim_weight:
            dissimilarity = 1 - ms_ssim(out.mean, x)
            distortion = mse + recipe.ms_ssim_weight * dissimilarity
        span = math.log(config.lambda_max / config.lambda_min)
        weight = config.lambda_min * torch.exp(level * span)
        middle = config.rate_weight(0.5)
        balance = (weight / middle) ** -recipe.balance
        total = ((rate + weight * distortion) * balance).mean()
        mean_perceptual = torch.zeros_like(total)
        if recipe.mean_perceptual_weight and self.lpips is not None:
            mean_perceptual = _distance(self.lpips, x, out.mean)
            total = total + recipe.mean_perceptual_weight * mean_perceptual
        return total, rate.mean(), mse.mean(), dissimilarity.mean(), mean_perceptual


class TextureLoss(nn.Module):
    """What stage B adds, on one square of every crop."""

    def __init__(
        self,
        pixelcnn: PixelCNN,
        temperature: float,
        recipe: Recipe,
        lpips: LPIPS | None,
        vgg: LPIPS | None = None,
    ) -> None:
        super().__init__()
        self.pixelcnn = pixelcnn
        self.temperature = temperature
        self.recipe = recipe
        self.lpips = lpips
        self.vgg = vgg

    def forward(
        self, target: Tensor, mean: Tensor, detail: Tensor, features: Tensor
    ) -> TextureLosses:
        """Losses of mean + detail + sample, which leave the mean alone.

        Args:
            target: [N, 3, S, S] in [0, 1].
            mean: [N, 3, S, S] of the synthesis.
            detail: [N, 3, S, S] of the texture synthesis.
            features: [N, F, S, S] of the texture synthesis.
        """
        recipe = self.recipe
        n, size = len(target), target.shape[2]
        likely = mean.detach().float() + detail
        sample = self.sample(features)

        truth = target - likely.detach()
        # Contexts are partly the model's own samples: a likelihood trained on true contexts alone
        # breaks out in salt-and-pepper once its own samples become the context.
        share = 0.7 * torch.rand(n, 1, 1, 1, device=target.device)
        own = torch.rand(n, 1, size, size, device=target.device) < share
        context = torch.where(own, sample.detach(), truth)
        some = slice(recipe.likelihood_crops or n)
        bits = self.bits(truth[some], context[some], features[some]) / 3

        texture = likely + sample
        mse = ((texture - target) * 255).square().flatten(1).mean(1)  # [N]
        perceptual = vgg = energy = variance = lattice = torch.zeros_like(bits)
        if self.lpips is not None and recipe.perceptual_weight:
            perceptual = _distance(self.lpips, target, texture)
        if self.vgg is not None and recipe.vgg_weight:
            some = slice(recipe.vgg_crops)
            vgg = _distance(self.vgg, target[some], texture[some])
        if recipe.energy_weight:
            energy = energy_distance(texture, target).mean()
        if recipe.variance_weight:
            variance = variance_distance(texture, target).mean()
        if recipe.lattice_weight:
            lattice = lattice_distance(texture, target).mean()
        # In logarithms a decibel counts the same at every quality.
        fidelity = (mse + 1).log().mean()
        return TextureLosses(perceptual, vgg, bits, energy, variance, lattice, fidelity, mse.mean())

    def sample(self, features: Tensor) -> Tensor:
        """A residual [N, 3, S, S] with gradient, given features [N, F, S, S]."""
        return self.resample(self.pixelcnn, features)

    def bits(self, truth: Tensor, context: Tensor, features: Tensor) -> Tensor:
        """Mean bits per pixel of a residual [N, 3, S, S] whose windows see `context` instead."""
        return mixture_bits(self.pixelcnn(context, features), truth).mean()

    def resample(self, cnn: PixelCNN, features: Tensor) -> Tensor:
        """A sample of one PixelCNN with gradient, [N, 3, h, w] given features [N, F, h, w].

        A sample is the fixed point of "compute all pixels at once from the previous guess" under
        fixed noise (Song et al. 2021): it is drawn without gradient, then one such step carries the
        gradient.
        """
        n, _, h, w = features.shape
        noise = draw_noise((n, h, w), cnn.mixtures, features)
        heat = 1 + (self.recipe.heat - 1) * torch.rand(n, 1, 1, 1, device=features.device) ** 3
        noise = SamplingNoise(*(heat * part for part in noise))
        residual = self._draw(cnn, features, noise)
        return sample_mixture(cnn(residual, features), noise, self.temperature)

    @torch.no_grad()
    def _draw(self, cnn: PixelCNN, features: Tensor, noise: SamplingNoise) -> Tensor:
        """A sample [N, 3, h, w], exact or by a few Jacobi steps from zero."""
        steps = self.recipe.jacobi_steps
        if not steps:
            return self._draw_exactly(cnn, features, noise)
        residual = torch.zeros_like(noise.logistic)
        for _ in range(steps):
            residual = sample_mixture(cnn(residual, features), noise, self.temperature)
        return residual

    @torch.compiler.disable  # it would be unrolled into thousands of operations
    def _draw_exactly(self, cnn: PixelCNN, features: Tensor, noise: SamplingNoise) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return TextureSampler(cnn, self.temperature).sample_batch(features, noise)


def _distance(metric: LPIPS, target: Tensor, picture: Tensor) -> Tensor:
    """Mean distance of `picture` from `target`, both [N, 3, H, W]; a gradient for the former."""
    with torch.no_grad():
        reference = metric.features(target)
    return metric.distance(reference, metric.features(picture)).mean()
