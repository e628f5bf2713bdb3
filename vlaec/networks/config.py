"""Every size of a photo model in one dataclass, and the presets that the project trains."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..coding.settings import Settings
from ..coding.window import RECEPTIVE_FIELDS

# Pixels on one side of a cell of z.
STRIDE = 16
# What integers are multiplied by where networks read them.
LATENT_INPUT_SCALE = 1 / 4
HYPER_INPUT_SCALE = 1 / 16


@dataclass(frozen=True)
class PhotoConfig(Settings):
    """Sizes of the photo VLAE. `to_dict` / `from_dict` carry it inside a weights file."""

    # Analysis and synthesis: channels at strides 4, 8, 16 and residual blocks per stride.
    widths: tuple[int, int, int] = (64, 128, 192)
    analysis_depth: tuple[int, int, int] = (2, 2, 2)
    synthesis_depth: tuple[int, int, int] = (3, 3, 2)

    # Latent z (integers, stride 16) and its coding groups: channel slices x checkerboard parity.
    latent_channels: int = 128
    slices: int = 4
    group_hidden: int = 96

    # Hyper-latent w (stride 64).
    hyper_channels: int = 16
    hyper_hidden: int = 96
    hyper_features: int = 64
    # Whether the prior's log scales also follow the level by a linear path of their own.
    level_path: bool = False

    # Quality dial: levels between which gains are interpolated geometrically.
    levels: int = 6
    lambda_min: float = 0.0003
    lambda_max: float = 0.12

    # Texture: local PixelCNN on the residual x - mean.
    receptive_field: str = "5x3"
    features: int = 16
    pixel_hidden: int = 64
    pixel_depth: int = 4
    mixtures: int = 5
    temperature: float = 0.7  # of the samples that the perceptual loss sees, and of decoding

    def __post_init__(self) -> None:
        self.check_choice("receptive_field", RECEPTIVE_FIELDS)
        if not 0 <= self.temperature <= 2:
            raise ValueError("temperature must be between 0 and 2")
        if self.latent_channels % self.slices:
            raise ValueError("latent_channels must be a multiple of slices")
        if self.slices < 2:
            raise ValueError("slices must be at least 2: the last slice seeds bits-back")

    @property
    def slice_channels(self) -> int:
        """Channels of z in one slice."""
        return self.latent_channels // self.slices

    @property
    def early_channels(self) -> int:
        """Channels of z that w is inferred from: all slices but the last."""
        return self.latent_channels - self.slice_channels

    def rate_weight(self, level: float) -> float:
        """lambda of `rate + lambda * MSE` (MSE on the 0..255 scale) at a level in [0, 1]."""
        return self.lambda_min * math.exp(level * math.log(self.lambda_max / self.lambda_min))


@dataclass(frozen=True)
class Group:
    """One step of the flow: the channels and the checkerboard parity that it codes."""

    index: int
    start: int
    stop: int
    parity: int
    uses_hyper: bool


def coding_groups(config: PhotoConfig) -> list[Group]:
    """The groups in decoding order; the last slice does not depend on w."""
    size = config.slice_channels
    return [
        Group(2 * s + parity, s * size, (s + 1) * size, parity, s < config.slices - 1)
        for s in range(config.slices)
        for parity in (0, 1)
    ]


SMALL = PhotoConfig()

PRESETS: dict[str, PhotoConfig] = {
    # Seconds to train: for tests.
    "tiny": PhotoConfig(
        widths=(16, 16, 24),
        analysis_depth=(1, 1, 1),
        synthesis_depth=(1, 1, 1),
        latent_channels=16,
        group_hidden=16,
        hyper_channels=4,
        hyper_hidden=16,
        hyper_features=8,
        features=8,
        pixel_hidden=16,
        pixel_depth=1,
        mixtures=3,
    ),
    # Hours on two CPU cores.
    "small": SMALL,
    # Minutes on a data-centre GPU.
    "base": replace(
        SMALL,
        widths=(96, 144, 192),
        analysis_depth=(2, 3, 2),
        synthesis_depth=(3, 3, 2),
        latent_channels=144,
        group_hidden=112,
    ),
}
