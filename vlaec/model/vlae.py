"""The photo VLAE: analysis, quality dial, latent residual prediction, synthesis, texture head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .blocks import downsample, isometric_, level_weights, residual_stack, upsample
from .config import PhotoConfig
from .pixelcnn import PixelCNN
from .prior import LATENT_BOUND, LATENT_INPUT_SCALE, Prior, PriorOutput

STRIDE = 16


class Synthesised(NamedTuple):
    """What the receiver's network makes of z."""

    mean: Tensor  # [N, 3, H, W] on the [0, 1] scale: the picture without texture
    features: Tensor  # [N, F, H, W]: what the PixelCNN is conditioned on


class VLAEOutput(NamedTuple):
    """One training pass."""

    synthesised: Synthesised
    prior: PriorOutput


class PhotoVLAE(nn.Module):
    """Variational lossy autoencoder for RGB photographs.

    The posterior of z is uniform of width 1 around the analysis output, so z is coded by rounding.
    """

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        w4, w8, w16 = c.widths
        self.analysis = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, w4, 3, padding=1),
            residual_stack(w4, c.analysis_depth[0]),
            downsample(w4, w8),
            residual_stack(w8, c.analysis_depth[1]),
            downsample(w8, w16),
            residual_stack(w16, c.analysis_depth[2]),
        )
        self.to_latent = nn.Conv2d(w16, c.latent_channels, 1)
        # Gains multiply y before rounding, inverse gains undo it after; one row per level.
        spread = 0.5 * torch.log(torch.tensor(c.lambda_max / c.lambda_min))
        ramp = torch.linspace(0, 1, c.levels)[:, None] * spread + 0.7
        self.log_gain = nn.Parameter(ramp.repeat(1, c.latent_channels))
        self.log_inverse_gain = nn.Parameter(-ramp.repeat(1, c.latent_channels))
        self.prior = Prior(config)
        self.residual_prediction = nn.Sequential(
            nn.Conv2d(3 * c.latent_channels, c.latent_channels, 1),
            nn.ReLU(),
            nn.Conv2d(c.latent_channels, c.latent_channels, 3, padding=1),
        )
        self.synthesis = nn.Sequential(
            nn.Conv2d(c.latent_channels + c.levels, w16, 3, padding=1),
            residual_stack(w16, c.synthesis_depth[2]),
            upsample(w16, w8),
            residual_stack(w8, c.synthesis_depth[1]),
            upsample(w8, w4),
            residual_stack(w4, c.synthesis_depth[0]),
            nn.Conv2d(w4, 32 * c.features, 1),
            nn.PixelShuffle(4),
        )
        # A 3x3 convolution at full resolution: pixel-shuffle alone leaves a visible grid.
        self.to_mean = nn.Conv2d(c.features, 3, 3, padding=1)
        self.to_features = nn.Conv2d(c.features, c.features, 3, padding=1)
        self.pixelcnn = PixelCNN(config)
        isometric_(self.analysis)
        isometric_(nn.Sequential(self.to_latent))
        isometric_(self.synthesis)

    def forward(self, x: Tensor, level: Tensor) -> VLAEOutput:
        """Training pass.

        Args:
            x: [N, 3, H, W] in [0, 1]; H and W multiples of 64.
            level: [N] in [0, 1].
        """
        levels = level_weights(level, self.config.levels)
        y = self.encode(x, levels)
        noisy = y + torch.rand_like(y) - 0.5
        z = y + (y.round() - y).detach()
        with torch.autocast(x.device.type, enabled=False):
            prior = self.prior(z, noisy, levels)
        synthesised = self.decode(z, prior.mean, prior.log_scale, levels)
        return VLAEOutput(synthesised, prior)

    def encode(self, x: Tensor, levels: Tensor) -> Tensor:
        """Latent before rounding, [N, C, H/16, W/16], from x [N, 3, H, W] in [0, 1]."""
        trunk = self.analysis(x - 0.5)
        with torch.autocast(x.device.type, enabled=False):
            y: Tensor = self.to_latent(trunk.float())
            gain = (levels @ self.log_gain).exp()[:, :, None, None]
            return (y * gain).clamp(-LATENT_BOUND, LATENT_BOUND)

    def decode(self, z: Tensor, mean: Tensor, log_scale: Tensor, levels: Tensor) -> Synthesised:
        """Picture and texture features from integer latents and what the prior said of them.

        All [N, C, h, w]; the outputs have 16 times the height and width.
        """
        return self.heads(self.trunk(z, mean, log_scale, levels))

    def trunk(self, z: Tensor, mean: Tensor, log_scale: Tensor, levels: Tensor) -> Tensor:
        """The synthesis up to stride 4, [N, widths[0], 4 h, 4 w]."""
        known = torch.cat([z * LATENT_INPUT_SCALE, mean * LATENT_INPUT_SCALE, log_scale], 1)
        # Latent residual prediction (Minnen & Singh 2020): z was rounded before its mean was
        # known; this recovers what rounding around the mean would have kept.
        corrected = z + 0.5 * torch.tanh(self.residual_prediction(known).float())
        scaled = corrected * (levels @ self.log_inverse_gain).exp()[:, :, None, None]
        planes = levels[:, :, None, None].expand(-1, -1, *z.shape[2:])
        joined = torch.cat([scaled, planes], 1).contiguous(memory_format=torch.channels_last)
        out: Tensor = self.synthesis[:-2](joined)
        return out

    def heads(self, trunk: Tensor) -> Synthesised:
        """Both heads at full resolution from (a band of) `trunk`, [N, widths[0], h, w]."""
        full = self.synthesis[-2:](trunk)  # [N, 2F, 4h, 4w]
        shared, own = full.chunk(2, 1)
        with torch.autocast(trunk.device.type, enabled=False):
            picture = self.to_mean(shared.float()) + 0.5
        return Synthesised(picture, self.to_features(torch.relu(own)))
