"""The set VLAE: small images, continuous latents, a local PixelCNN over the image itself.

The model of Chen et al. 2016 (arXiv 1611.02731) on the building blocks of the photo model. All
networks are stacks of 1x1 and 3x3 convolutions, ReLU, (un)shuffles and residual blocks, and z
lives in units of an integer grid far finer than the posterior is wide: so everything has an exact
form for the coder, and rounding z costs next to nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..coding.gaussian import HYPER_LOG_MIN, LATENT_BOUND, SCALE_LOG_MAX
from .blocks import downsample, isometric_, residual_stack, upsample
from .iaf import InverseFlow
from .prior import gaussian_kl
from .set_config import STAGE_STRIDE, SetConfig
from .set_pixels import (
    SetPixelCNN,
    bernoulli_log_likelihood,
    centre,
    mixture_log_likelihood,
    split_mixture,
)
from .set_prior import make_prior
from .set_units import LATENT_UNIT, LOG_SCALE_START


class SetVLAE(nn.Module):
    """Variational lossy autoencoder for sets of small images of one size.

    Images are [N, 1, H, W] of 0 and 1, or [N, 3, H, W] of k / 255.
    """

    def __init__(self, config: SetConfig) -> None:
        super().__init__()
        self.config = config
        self.pixelcnn = SetPixelCNN(config)
        if not config.latent_channels:
            # A PixelCNN alone: what it may know of its place in the image is learned.
            self.place = nn.Parameter(torch.zeros(config.features, config.height, config.width))
            return
        self.analysis = _analysis(config)
        self.synthesis = _synthesis(config)
        self.prior = make_prior(config)
        self.flow = None
        if config.posterior == "iaf":
            c, h, w = config.latent_shape
            self.flow = InverseFlow(c * h * w, config.iaf_hidden, config.iaf_steps)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of q(z | x), each [N, C, h, w]."""
        if not self.config.latent_channels:
            nothing = x.new_zeros(len(x), *self.config.latent_shape)
            return nothing, nothing
        first, second = self.analysis(centre(x)).float().chunk(2, 1)
        log_scale = (second + LOG_SCALE_START).clamp(HYPER_LOG_MIN, SCALE_LOG_MAX)
        return (first * LATENT_UNIT).clamp(-LATENT_BOUND, LATENT_BOUND), log_scale

    def features(self, z: Tensor) -> Tensor:
        """What the PixelCNN sees of z [N, C, h, w]: [N, F, H, W]."""
        if not self.config.latent_channels:
            return self.place.expand(len(z), -1, -1, -1)
        out: Tensor = self.synthesis(z / LATENT_UNIT)
        return out

    def pixels(self, x: Tensor, features: Tensor) -> Tensor:
        """Parameters of every pixel's distribution, [N, P, H, W] (see `set_pixels`)."""
        out: Tensor = self.pixelcnn(centre(x), features)
        return out.float()

    def log_likelihood(self, x: Tensor, features: Tensor) -> Tensor:
        """log p(x | z) in nats, [N]; one image [1, C, H, W] goes with all features."""
        parameters = self.pixels(x, features)
        x = x.expand(len(parameters), -1, -1, -1)
        if self.config.kind == "binary":
            return bernoulli_log_likelihood(x, parameters)
        return mixture_log_likelihood(x, split_mixture(parameters))

    def elbo(self, x: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """KL(q(z | x) || p(z)) and log p(x | z) for one z ~ q, each [N], in nats.

        The KL is exact in every element given the sampled elements before it; with the flow
        posterior it is log q - log p of the sample.
        """
        z, kl = self.sample(x, random)
        return kl, self.log_likelihood(x, self.features(z))

    def sample(self, x: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """z ~ q(z | x) [N, C, h, w], reparametrised, and an unbiased estimate of the KL [N]."""
        mean, log_scale = self.encode(x)
        if not self.config.latent_channels:
            return mean, mean.flatten(1).sum(1)
        noise = torch.empty_like(mean).normal_(generator=random)
        z = mean + log_scale.exp() * noise
        if self.flow is None:
            kl = gaussian_kl(mean, log_scale, *self.prior.conditionals(z))
            return z, kl.flatten(1).sum(1)
        log_q = (log_density(noise) - log_scale).flatten(1).sum(1)
        z, log_determinant = self.flow(z, mean)
        p_mean, p_log_scale = self.prior.conditionals(z)
        log_p = log_density((z - p_mean) * (-p_log_scale).exp()) - p_log_scale
        return z, log_q - log_determinant - log_p.flatten(1).sum(1)


def log_density(standardised: Tensor) -> Tensor:
    """log N(x; 0, 1) up to the constant, which cancels between prior and posterior."""
    return -0.5 * standardised.square()


def _analysis(config: SetConfig) -> nn.Sequential:
    c = config
    w2, w4 = c.widths
    layers: list[nn.Module] = [
        nn.PixelUnshuffle(2),
        nn.Conv2d(4 * c.channels, w2, 3, padding=1),
        residual_stack(w2, c.analysis_depth[0]),
        downsample(w2, w4),
        residual_stack(w4, c.analysis_depth[1]),
    ]
    rest, width = c.latent_stride // STAGE_STRIDE, w4
    if rest > 1:
        layers += [nn.PixelUnshuffle(rest), nn.Conv2d(w4 * rest**2, c.dense, 1), nn.ReLU()]
        width = c.dense
    last = nn.Conv2d(width, 2 * c.latent_channels, 1)
    network = nn.Sequential(*layers, last)
    isometric_(network)
    with torch.no_grad():
        last.weight[c.latent_channels :].mul_(0.01)  # all scales start alike
    return network


def _synthesis(config: SetConfig) -> nn.Sequential:
    c = config
    w2, w4 = c.widths
    rest = c.latent_stride // STAGE_STRIDE
    first: list[nn.Module] = [nn.Conv2d(c.latent_channels, w4, 3, padding=1)]
    if rest > 1:
        first = [
            nn.Conv2d(c.latent_channels, c.dense, 1),
            nn.ReLU(),
            nn.Conv2d(c.dense, w4 * rest**2, 1),
            nn.PixelShuffle(rest),
        ]
    network = nn.Sequential(
        *first,
        residual_stack(w4, c.synthesis_depth[1]),
        upsample(w4, w2),
        residual_stack(w2, c.synthesis_depth[0]),
        nn.Conv2d(w2, 4 * c.features, 1),
        nn.PixelShuffle(2),
    )
    isometric_(network)
    return network
