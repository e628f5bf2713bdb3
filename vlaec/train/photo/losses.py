"""The training objective: fidelity on the mean, perception and likelihood on the sampler."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...networks.photo import PhotoVLAE, VLAEOutput
from .recipe import Recipe
from .terms import ON_MEAN, Judges, MeanScene
from .texture import TextureLoss


class Losses(NamedTuple):
    """Scalars of one step."""

    total: Tensor  # what is minimised: rate + distortion, and each term times its weight
    terms: dict[str, Tensor]  # by their names in `terms.TERMS`
    measures: dict[str, Tensor]  # what else the log shows: see `Objective.forward`


class Objective(nn.Module):
    """Model and loss in one module."""

    def __init__(self, model: PhotoVLAE, recipe: Recipe, judges: Judges) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.judges = judges
        self.texture = TextureLoss(model.pixelcnn, model.config.temperature, recipe, judges)

    def forward(
        self,
        x: Tensor,
        level: Tensor,
        corner: tuple[int, int] | None,
        random: torch.Generator,
        structure: bool = True,
        lettering: Tensor | None = None,
    ) -> Losses:
        """Losses of a batch.

        Args:
            x: [N, 3, H, W] in [0, 1].
            level: [N] in [0, 1], the quality of each crop.
            corner: top-left corner of the square that the texture is trained on, or None in
                stage A.
            random: what all noise is drawn from, on the device of `x`.
            structure: whether what decides z and the mean is trained; not in stage C.
            lettering: [N, 1, H, W] in [0, 1], where letters are known to be.

        Returns:
            losses, with the measures "bpp", "mse" (of the mean, 0..255 scale) and "texture_mse".
        """
        recipe = self.recipe
        with torch.set_grad_enabled(structure and torch.is_grad_enabled()):
            out = self.model(x, level, self.model.draw_noise(x, random))
            total, terms, measures = self._structure(x, level, out, structure, lettering)
        if corner is not None:
            some = slice((structure and recipe.texture_crops) or len(x))
            code = out.code[some]
            # The same numbers, which pass on a share of their gradient.
            code = code.lerp(code.detach(), 1 - recipe.encoder_share)
            detail, features = self.model.texture(self.model.texture_synthesis.trunk(code))
            rows, columns = (slice(c, c + recipe.texture_crop) for c in corner)
            parts = (x[some], out.mean[some], detail, features)
            square = [t[:, :, rows, columns] for t in parts]
            letters = None if lettering is None else lettering[some, :, rows, columns]
            noise = self.texture.draw_noise(square[-1], not structure, random)
            on_texture, measures["texture_mse"] = self.texture(
                *square, noise, not structure, letters
            )
            terms |= on_texture
        weights = recipe.stage_weights(last=not structure)
        for name, term in terms.items():
            total = total + weights[name] * term
        return Losses(total, terms, measures)

    def _structure(
        self,
        x: Tensor,
        level: Tensor,
        out: VLAEOutput,
        trained: bool,
        lettering: Tensor | None,
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Rate-distortion loss (0 unless it is trained), the terms on the mean, and measures."""
        recipe, config = self.recipe, self.model.config
        pixels = x.shape[2] * x.shape[3]
        rate = (out.prior.latent_bits + out.prior.hyper_bits) / pixels  # [N]
        mse = ((out.mean - x) * 255).square().flatten(1).mean(1)  # [N]
        measures = {"bpp": rate.mean(), "mse": mse.mean()}
        if not trained:
            return torch.zeros_like(rate.sum()), {}, measures
        span = math.log(config.lambda_max / config.lambda_min)
        weight = config.lambda_min * torch.exp(level * span)
        balance = (weight / config.rate_weight(0.5)) ** -recipe.balance
        total = ((rate + weight * mse) * balance).mean()
        scene = MeanScene(x, out.mean, weight * balance, self.judges, lettering)
        names = [name for name in recipe.stage_weights(last=False) if name in ON_MEAN]
        return total, {name: ON_MEAN[name].measure(scene) for name in names}, measures
