"""The models that are compared: all start from the principal components, as recipe `one` does."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlaec.networks import prior as priors
from vlaec.networks.blocks import level_weights, parity_mask
from vlaec.networks.config import LATENT_INPUT_SCALE, PhotoConfig
from vlaec.networks.photo import LatentNoise, PhotoVLAE, VLAEOutput
from vlaec.networks.seeded import Seeded
from vlaec.train.photo.recipe import RECIPES
from vlaec.train.photo.start import start_from_components

BASE = RECIPES["one"].model
WIDE = replace(BASE, widths=(64, 128, 256), analysis_depth=(3, 2, 2), synthesis_depth=(4, 3, 2))
CONFIGS: dict[str, PhotoConfig] = {
    "base": BASE,
    "grid": replace(BASE, slices=2),
    "attention": BASE,
    "wide-16": WIDE,
    "lean-4": replace(BASE, analysis_depth=(2, 3, 3), synthesis_depth=(2, 4, 3)),
    "latent-192": replace(WIDE, latent_channels=192),
    "quantum": BASE,
}


def build(name: str, crops: Tensor) -> PhotoVLAE:
    """An untrained model of a row; `crops` [N, 3, S, S] are what components are taken from."""
    config = CONFIGS[name]
    with Seeded(1):
        model = QuantumVLAE(config) if name == "quantum" else PhotoVLAE(config)
        if name == "grid":
            model.prior = GridPrior(config)
    start_from_components(model, crops, torch.Generator().manual_seed(1))
    if name == "attention":
        with Seeded(3):
            _attend(model)
    for part in (model.texture_synthesis, model.to_detail, model.to_features, model.pixelcnn):
        part.requires_grad_(False)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class GridPrior(priors.Prior):
    """2 slices x 4 cells of a 2x2 grid in place of 4 slices x 2 parities: as many steps."""

    CELLS = ((0, 0), (1, 1), (0, 1), (1, 0))  # in the order of coding

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__(config)
        c, size = config, config.slice_channels
        self.steps = [
            SimpleNamespace(start=s * size, stop=(s + 1) * size, cell=k, seen=s < c.slices - 1)
            for s in range(c.slices)
            for k in range(4)
        ]
        self.parameters_of = nn.ModuleList(
            priors._network(
                (c.hyper_features if step.seen else 0) + c.levels + step.stop,
                *(c.group_hidden, c.group_hidden, 2 * size),
                kernel=3,
            )
            for step in self.steps
        )
        # For `start_from_components`.
        self.groups = [
            SimpleNamespace(index=i, start=s.start, stop=s.stop) for i, s in enumerate(self.steps)
        ]  # type: ignore[misc]

    def conditionals(self, z: Tensor, features: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """As of the base class."""
        h, w = z.shape[2:]
        planes = levels[:, :, None, None].expand(-1, -1, h, w)
        rows, columns = torch.arange(h)[:, None] % 2, torch.arange(w)[None] % 2
        cells = [(rows == a) & (columns == b) for a, b in self.CELLS]
        means, log_scales = torch.zeros_like(z), torch.zeros_like(z)
        for network, step in zip(self.parameters_of, self.steps, strict=True):
            part = slice(step.start, step.stop)
            known = torch.stack(cells)[: step.cell].any(0)
            seen = torch.cat([z[:, : step.start], z[:, part] * known], 1) * LATENT_INPUT_SCALE
            side = [features] if step.seen else []
            mean, log_scale = network(torch.cat([*side, planes, seen], 1)).chunk(2, 1)
            here = (slice(None), part, cells[step.cell])
            means[here], log_scales[here] = (
                t[:, :, cells[step.cell]].to(z.dtype) for t in (mean, log_scale)
            )
        assert self.level_scale is not None
        log_scales = log_scales + (levels @ self.level_scale)[:, :, None, None]
        return means, log_scales.clamp(priors.SCALE_LOG_MIN, priors.SCALE_LOG_MAX)


class Attention(nn.Module):
    """x + attention within windows of 8x8 positions, four heads; nothing at the start."""

    def __init__(self, channels: int, heads: int = 4, window: int = 8) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.inputs = nn.Conv2d(channels, 3 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)
        nn.init.normal_(self.inputs.weight, std=0.03)
        for start in (self.inputs.bias, self.output.weight, self.output.bias):
            assert start is not None
            nn.init.zeros_(start)
        side = 2 * window - 1
        self.bias = nn.Parameter(torch.zeros(heads, side**2))
        apart = torch.arange(window)[:, None] - torch.arange(window) + window - 1
        index = apart[:, None, :, None] * side + apart[None, :, None, :]
        self.register_buffer("index", index.reshape(window**2, window**2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        n, c, height, width = x.shape
        k, h = self.window, self.heads
        even = x * torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-4).to(x.dtype)
        split = self.inputs(even).view(n, 3, h, c // h, height // k, k, width // k, k)
        q, key, v = split.permute(1, 0, 4, 6, 2, 5, 7, 3).reshape(3, -1, h, k * k, c // h)
        bias = self.bias[:, self.index][None].to(q.dtype)
        out = F.scaled_dot_product_attention(q, key, v, attn_mask=bias)
        out = out.reshape(n, height // k, width // k, h, k, k, c // h)
        out = out.permute(0, 3, 6, 1, 4, 2, 5).reshape(n, c, height, width)
        return x + self.output(out.contiguous(memory_format=torch.channels_last))


def _attend(model: PhotoVLAE) -> None:
    """One block of attention at stride 16 on each side."""
    channels = model.config.widths[2]
    model.analysis.append(Attention(channels))
    first, second, *rest = model.synthesis.trunk
    model.synthesis.trunk = nn.Sequential(first, nn.Sequential(second, Attention(channels)), *rest)


class QuantumVLAE(PhotoVLAE):
    """Learned widths of quantisation, of each element given the groups before it.

    Not given w, as in other codecs: here w is drawn from bits, given z.
    """

    LARGEST = 0.7  # of a log width

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__(config)
        self.width_of = nn.ModuleList(
            priors._network(config.levels + g.stop, 48, config.slice_channels, kernel=3)
            for g in self.prior.groups
        )
        for network in self.width_of:
            assert isinstance(network, nn.Sequential)
            for start in network[-1].parameters():
                nn.init.zeros_(start)

    def forward(self, x: Tensor, level: Tensor, noise: LatentNoise) -> VLAEOutput:
        """As of the base class."""
        levels = level_weights(level, self.config.levels)
        y = self.encode(x, levels)
        h, w = y.shape[2:]
        planes = levels[:, :, None, None].expand(-1, -1, h, w)
        even = parity_mask(h, w, 0)
        known: list[Tensor] = []
        widths: list[Tensor] = []

        def width(group: int, own: Tensor) -> Tensor:
            seen = torch.cat([*known, own], 1) * LATENT_INPUT_SCALE
            with torch.autocast(x.device.type, enabled=False):
                out = self.width_of[group](torch.cat([planes, seen], 1))
                return (self.LARGEST * torch.tanh(out)).exp()

        for group in self.prior.groups[::2]:
            part = y[:, group.start : group.stop]
            first = width(group.index, torch.zeros_like(part))
            second = width(group.index + 1, _rounded(part / first) * even)
            widths.append(torch.where(even, first, second))
            known.append(_rounded(part / widths[-1]))
        z, scale = torch.cat(known, 1), torch.cat(widths, 1)
        with torch.autocast(x.device.type, enabled=False):
            prior = self.prior(z, y / scale + noise.z, levels, noise.w)
        code = self.code(z, prior.mean, prior.log_scale, levels)
        channels = z.shape[1]
        code = torch.cat([code[:, :channels] * scale, code[:, channels:]], 1)
        code = code.contiguous(memory_format=torch.channels_last)
        return VLAEOutput(self.mean(self.synthesis.trunk(code)), code, prior)


def _rounded(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()
