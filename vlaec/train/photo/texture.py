"""Samples with a gradient, and the losses on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...networks.pixelcnn import PixelCNN, SamplingNoise, draw_noise, mixture_bits, sample_mixture
from ...networks.wavefront import WavefrontSampler
from .recipe import Recipe
from .terms import ON_TEXTURE, Judges, SceneMaps, TextureScene


class TextureLoss(nn.Module):
    """The losses on mean + detail + sample, on one square of every crop."""

    def __init__(
        self, pixelcnn: PixelCNN, temperature: float, recipe: Recipe, judges: Judges
    ) -> None:
        super().__init__()
        self.pixelcnn = pixelcnn
        self.temperature = temperature
        self.recipe = recipe
        self.judges = judges

    def forward(
        self, target: Tensor, mean: Tensor, detail: Tensor, features: Tensor, last: bool = False
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Terms by name, and the texture's MSE on the 0..255 scale; both leave the mean alone.

        Args:
            target: [N, 3, S, S] in [0, 1].
            mean: [N, 3, S, S] of the synthesis.
            detail: [N, 3, S, S] of the texture synthesis.
            features: [N, F, S, S] of the texture synthesis.
            last: in stage C.
        """
        recipe, n = self.recipe, len(target)
        names = [name for name in recipe.stage_weights(last) if name in ON_TEXTURE]
        on_maps = [name for name in names if ON_TEXTURE[name].judge == "maps"]
        some = (recipe.crops.get("maps", 0) or n) if on_maps else 0
        twice = any(ON_TEXTURE[name].samples == 2 for name in names)

        mean = mean.detach().float()
        likely = mean + detail
        # A second sample of the crops that are looked at twice.
        again = torch.cat([features, features[:some]]) if twice else features
        samples = self.sample(again)
        texture = likely + samples[:n]
        scene = TextureScene(target, mean, texture, target.new_zeros(()), self.judges)
        if "nll" in names:
            shown = slice(recipe.crops.get("nll", 0) or n)
            scene.bits = self.likelihood(
                (target - likely.detach())[shown], samples[shown].detach(), features[shown]
            )
        if on_maps:
            assert self.judges.maps is not None
            second = likely[:some] + samples[n:] if twice else None
            scene.maps = SceneMaps.of(
                self.judges.maps, target[:some], mean[:some], texture[:some], second
            )
        found = {
            name: ON_TEXTURE[name].measure(scene.first(recipe.crops.get(name, 0))) for name in names
        }
        mse = ((texture.detach() - target) * 255).square().mean()
        return found, mse

    def likelihood(self, truth: Tensor, sample: Tensor, features: Tensor) -> Tensor:
        """Mean bits per subpixel of true residuals [N, 3, S, S].

        Contexts are partly the model's own samples: a likelihood trained on true contexts alone
        breaks out in salt-and-pepper once its own samples become the context.
        """
        n, _, height, width = truth.shape
        share = 0.7 * torch.rand(n, 1, 1, 1, device=truth.device)
        own = torch.rand(n, 1, height, width, device=truth.device) < share
        return self.bits(truth, torch.where(own, sample, truth), features) / 3

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
            return WavefrontSampler(cnn, self.temperature).sample_batch(features, noise)
