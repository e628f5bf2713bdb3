"""The photo VLAE: analysis, quality dial, latent residual prediction, synthesis, texture."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..coding.gaussian import LATENT_BOUND
from .blocks import downsample, isometric_, level_weights, residual_stack, upsample
from .config import LATENT_INPUT_SCALE, STRIDE, PhotoConfig
from .pixelcnn import PixelCNN
from .prior import Prior, PriorOutput


class Texture(NamedTuple):
    """What the receiver's second network makes of z: all that is re-invented."""

    detail: Tensor  # [N, 3, H, W] on the [0, 1] scale: added to the mean, the likely part
    features: Tensor  # [N, F, H, W]: what the PixelCNN is conditioned on


class Synthesised(NamedTuple):
    """All that the receiver's networks make of z."""

    mean: Tensor  # [N, 3, H, W] on the [0, 1] scale: the picture without texture
    detail: Tensor  # [N, 3, H, W]
    features: Tensor  # [N, F, H, W]


class LatentNoise(NamedTuple):
    """The randomness of one training pass."""

    z: Tensor  # [N, C, h, w] uniform in +-1/2, in place of rounding
    w: Tensor  # see `Prior.draw_noise`


class VLAEOutput(NamedTuple):
    """One training pass."""

    mean: Tensor  # [N, 3, H, W] on the [0, 1] scale: the picture without texture
    code: Tensor  # [N, C + levels, h, w]: what both synthesis networks start from
    prior: PriorOutput


class Synthesis(nn.Module):
    """Mirror of the analysis, from stride 16 to full resolution in two parts: `trunk` does the
    work at strides 16, 8 and 4, `full` is cheap. `streaming` runs both row by row."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        c = config
        w4, w8, w16 = c.widths
        self.trunk = nn.Sequential(
            nn.Conv2d(c.latent_channels + c.levels, w16, 3, padding=1),
            residual_stack(w16, c.synthesis_depth[2]),
            upsample(w16, w8),
            residual_stack(w8, c.synthesis_depth[1]),
            upsample(w8, w4),
            residual_stack(w4, c.synthesis_depth[0]),
        )
        self.full = nn.Sequential(nn.Conv2d(w4, 16 * c.features, 1), nn.PixelShuffle(4))
        isometric_(self.trunk)
        isometric_(self.full)


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
        # Two networks on the same z: the faithful picture, and what makes it lifelike. The second
        # can be trained for the eye while the first stays as it is (Yan et al. 2021, "On Perceptual
        # Lossy Compression": the encoder of least error is also right for a perceptual decoder).
        self.synthesis = Synthesis(config)
        self.texture_synthesis = Synthesis(config)
        # A 3x3 convolution at full resolution: pixel-shuffle alone leaves a visible grid.
        self.to_mean = nn.Conv2d(c.features, 3, 3, padding=1)
        self.to_detail = nn.Conv2d(c.features, 3, 3, padding=1)
        self.to_features = nn.Conv2d(c.features, c.features, 3, padding=1)
        self.pixelcnn = PixelCNN(config)
        isometric_(self.analysis)
        isometric_(nn.Sequential(self.to_latent))
        for start in self.to_detail.parameters():
            nn.init.zeros_(start)

    def draw_noise(self, x: Tensor, random: torch.Generator) -> LatentNoise:
        """Noise for a training pass of pictures [N, 3, H, W]."""
        h, w = (side // STRIDE for side in x.shape[2:])
        shape = (len(x), self.config.latent_channels, h, w)
        uniform = torch.rand(shape, generator=random, device=x.device) - 0.5
        return LatentNoise(uniform, self.prior.draw_noise(uniform, random))

    def forward(self, x: Tensor, level: Tensor, noise: LatentNoise) -> VLAEOutput:
        """Training pass of all but the texture.

        Args:
            x: [N, 3, H, W] in [0, 1]; H and W multiples of 64.
            level: [N] in [0, 1].
            noise: see `draw_noise`.
        """
        levels = level_weights(level, self.config.levels)
        y = self.encode(x, levels)
        z = y + (y.round() - y).detach()
        with torch.autocast(x.device.type, enabled=False):
            prior = self.prior(z, y + noise.z, levels, noise.w)
        code = self.code(z, prior.mean, prior.log_scale, levels)
        return VLAEOutput(self.mean(self.synthesis.trunk(code)), code, prior)

    def encode(self, x: Tensor, levels: Tensor) -> Tensor:
        """Latent before rounding, [N, C, H/16, W/16], from x [N, 3, H, W] in [0, 1]."""
        return self.latent(self.analysis(x - 0.5), levels)

    def latent(self, trunk: Tensor, levels: Tensor) -> Tensor:
        """Latent before rounding, from the output of `analysis`, [N, widths[2], h, w]."""
        with torch.autocast(trunk.device.type, enabled=False):
            y: Tensor = self.to_latent(trunk.float())
            gain = (levels @ self.log_gain).exp()[:, :, None, None]
            return (y * gain).clamp(-LATENT_BOUND, LATENT_BOUND)

    def code(self, z: Tensor, mean: Tensor, log_scale: Tensor, levels: Tensor) -> Tensor:
        """What both synthesis networks start from, [N, C + levels, h, w], of integer latents and
        what the prior said of them, all [N, C, h, w]."""
        planes_of_z = torch.cat([z * LATENT_INPUT_SCALE, mean * LATENT_INPUT_SCALE, log_scale], 1)
        # Latent residual prediction (Minnen & Singh 2020): z was rounded before its mean was
        # known; this recovers what rounding around the mean would have kept.
        corrected = z + 0.5 * torch.tanh(self.residual_prediction(planes_of_z).float())
        with torch.autocast(z.device.type, enabled=False):  # as the gains: not to 8 bits
            gain = (levels @ self.log_inverse_gain).exp()[:, :, None, None]
        scaled = corrected * gain
        planes = levels[:, :, None, None].expand(-1, -1, *z.shape[2:])
        return torch.cat([scaled, planes], 1).contiguous(memory_format=torch.channels_last)

    def decode(self, z: Tensor, mean: Tensor, log_scale: Tensor, levels: Tensor) -> Synthesised:
        """A whole picture from integer latents and what the prior said of them, all [N, C, h, w];
        the outputs have 16 times the height and width."""
        code = self.code(z, mean, log_scale, levels)
        picture = self.mean(self.synthesis.trunk(code))
        return Synthesised(picture, *self.texture(self.texture_synthesis.trunk(code)))

    def mean(self, trunk: Tensor) -> Tensor:
        """The faithful picture [N, 3, 4h, 4w] of `synthesis.trunk`'s output
        [N, widths[0], h, w]."""
        full = self.synthesis.full(trunk)  # [N, F, 4h, 4w]
        with torch.autocast(trunk.device.type, enabled=False):
            picture: Tensor = self.to_mean(full.float()) + 0.5
        return picture

    def texture(self, trunk: Tensor) -> Texture:
        """Detail and features of the output of `texture_synthesis.trunk`."""
        full = self.texture_synthesis.full(trunk)
        with torch.autocast(trunk.device.type, enabled=False):
            detail: Tensor = self.to_detail(torch.relu(full.float()))
        return Texture(detail, self.to_features(torch.relu(full)))
