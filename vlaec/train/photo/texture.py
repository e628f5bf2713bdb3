"""Samples with a gradient, and the losses on them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...networks.pixelcnn import PixelCNN, SamplingNoise, draw_noise, mixture_bits, sample_mixture
from ...networks.wavefront import WavefrontSampler
from .recipe import Recipe
from .terms import ON_TEXTURE, Judges, SceneMaps, TextureScene, letter_error, muted


class TextureNoise(NamedTuple):
    """The randomness of one step."""

    sampling: SamplingNoise  # of every sample
    resampled: Tensor  # [N, 1, S, S]: where contexts of the likelihood are samples


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

    def draw_noise(self, features: Tensor, last: bool, random: torch.Generator) -> TextureNoise:
        """Noise for crops whose features are [N, F, S, S]."""
        n, _, height, width = features.shape
        _, some = self._samples(n, last)
        share = 0.7 * torch.rand(n, 1, 1, 1, generator=random, device=random.device)
        resampled = torch.rand(n, 1, height, width, generator=random, device=random.device) < share
        return TextureNoise(self.sampling_noise((n + some, height, width), random), resampled)

    def sampling_noise(self, shape: tuple[int, int, int], random: torch.Generator) -> SamplingNoise:
        """Noise for samples of `shape` (N, H, W), each heated as the recipe says."""
        noise = draw_noise(shape, self.pixelcnn.mixtures, random)
        share = torch.rand(shape[0], 1, 1, 1, generator=random, device=random.device)
        heat = 1 + (self.recipe.heat - 1) * share**3
        return SamplingNoise(*(heat * part for part in noise))

    def _samples(self, n: int, last: bool) -> tuple[list[str], int]:
        """Names of the losses, and how many of `n` crops are sampled a second time."""
        names = [name for name in self.recipe.stage_weights(last) if name in ON_TEXTURE]
        twice = any(ON_TEXTURE[name].samples == 2 for name in names)
        return names, min(self.recipe.crops.get("maps", 0) or n, n) if twice else 0

    def forward(
        self,
        target: Tensor,
        mean: Tensor,
        detail: Tensor,
        features: Tensor,
        noise: TextureNoise,
        last: bool = False,
        lettering: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Terms by name, and the texture's MSE on the 0..255 scale; both leave the mean alone.

        Args:
            target: [N, 3, S, S] in [0, 1].
            mean: [N, 3, S, S] of the synthesis.
            detail: [N, 3, S, S] of the texture synthesis.
            features: [N, F, S, S] of the texture synthesis.
            noise: see `draw_noise`.
            last: in stage C.
            lettering: [N, 1, S, S], where letters are known to be.
        """
        recipe, n = self.recipe, len(target)
        names, again = self._samples(n, last)

        mean = mean.detach().float()
        likely = mean + detail
        twice = torch.cat([features, features[:again]]) if again else features
        samples = self.sample(twice, noise.sampling)
        sampled = likely + samples[:n]
        letters = lettering if "texture_lettering" in names else None
        texture = muted(target, sampled, letters)
        scene = TextureScene(
            target,
            mean,
            texture,
            target.new_zeros(()),
            self.judges,
            letter_error(target, sampled, letters),
        )
        if "nll" in names:
            shown = slice(recipe.crops.get("nll", 0) or n)
            scene.bits = self.likelihood(
                (target - likely.detach())[shown],
                torch.where(noise.resampled, samples[:n], target - likely).detach()[shown],
                features[shown],
            )
        if any(ON_TEXTURE[name].judge == "maps" for name in names):
            assert self.judges.maps is not None
            some = recipe.crops.get("maps", 0) or n
            second = None
            if again:
                side = None if letters is None else letters[:again]
                second = muted(target[:again], likely[:again] + samples[n:], side)
            scene.maps = SceneMaps.of(
                self.judges.maps, target[:some], mean[:some], texture[:some], second
            )
        terms = {
            name: ON_TEXTURE[name].measure(scene.first(recipe.crops.get(name, 0))) for name in names
        }
        mse = ((sampled.detach() - target) * 255).square().mean()
        return terms, mse

    def likelihood(self, truth: Tensor, context: Tensor, features: Tensor) -> Tensor:
        """Mean bits per subpixel of true residuals [N, 3, S, S] whose windows see `context`.

        Contexts are partly the model's own samples: a likelihood trained on true contexts alone
        breaks out in salt-and-pepper once its own samples become the context.
        """
        return mixture_bits(self.pixelcnn(context, features), truth).mean() / 3

    def sample(self, features: Tensor, noise: SamplingNoise) -> Tensor:
        """A residual [N, 3, h, w] with gradient, given features [N, F, h, w].

        A sample is the fixed point of "compute all pixels at once from the previous guess" under
        fixed noise (Song et al. 2021): it is drawn without gradient, then one such step carries the
        gradient.
        """
        residual = self._draw(features, noise)
        return sample_mixture(self.pixelcnn(residual, features), noise, self.temperature)

    @torch.no_grad()
    def _draw(self, features: Tensor, noise: SamplingNoise) -> Tensor:
        """A sample [N, 3, h, w], exact or by a few Jacobi steps from zero."""
        steps = self.recipe.jacobi_steps
        if not steps:
            return self._draw_exactly(features, noise)
        residual = torch.zeros_like(noise.logistic)
        for _ in range(steps):
            residual = sample_mixture(self.pixelcnn(residual, features), noise, self.temperature)
        return residual

    @torch.compiler.disable  # it would be unrolled into thousands of operations
    def _draw_exactly(self, features: Tensor, noise: SamplingNoise) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return WavefrontSampler(self.pixelcnn, self.temperature).sample_batch(features, noise)
