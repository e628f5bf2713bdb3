"""Every size of a model for sets of small images in one dataclass, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..coding.settings import Settings
from ..coding.window import RECEPTIVE_FIELDS

KINDS = ("binary", "colour")
PRIORS = ("made", "groups", "gaussian")
POSTERIORS = ("gaussian", "iaf")
WINDOWS = (*RECEPTIVE_FIELDS, "11x6", "none")
# Pixels per cell of the coarsest stage of the analysis, along one side.
STAGE_STRIDE = 4


@dataclass(frozen=True)
class SetConfig(Settings):
    """Sizes of a set model. `to_dict` / `from_dict` carry it inside a weights file."""

    kind: str = "binary"  # images of one bit, or of three times eight bits, per pixel
    height: int = 28
    width: int = 28

    # Analysis and synthesis: channels at strides 2 and 4, residual blocks per stride. `dense` is
    # the width between stride 4 and a latent of one cell; a latent at stride 4 does not use it.
    widths: tuple[int, int] = (32, 64)
    analysis_depth: tuple[int, int] = (2, 2)
    synthesis_depth: tuple[int, int] = (2, 2)
    dense: int = 256

    # Latent z: no channels make a PixelCNN alone.
    latent_channels: int = 64
    latent_stride: int = 28
    prior: str = "made"
    made_hidden: int = 512
    made_depth: int = 2
    slices: int = 4  # of the prior "groups"
    group_hidden: int = 48
    posterior: str = "gaussian"
    iaf_steps: int = 2
    iaf_hidden: int = 320

    # Local PixelCNN over the image itself; "none" makes a decoder of independent pixels.
    receptive_field: str = "7x4"
    grey_context: bool = False
    features: int = 16
    pixel_hidden: int = 64
    pixel_depth: int = 2
    mixtures: int = 5  # of colour

    def __post_init__(self) -> None:
        self.check_choice("kind", KINDS)
        self.check_choice("prior", PRIORS)
        self.check_choice("posterior", POSTERIORS)
        self.check_choice("receptive_field", WINDOWS)
        if self.latent_stride % STAGE_STRIDE:
            raise ValueError(f"latent_stride must be a multiple of {STAGE_STRIDE}")
        if self.height % self.latent_stride or self.width % self.latent_stride:
            raise ValueError("height and width must be multiples of latent_stride")
        if self.prior == "groups" and self.latent_channels % self.slices:
            raise ValueError("latent_channels must be a multiple of slices")
        if self.kind == "colour" and self.pixel_hidden < 6:
            raise ValueError("pixel_hidden must be at least 6 for colour images")
        if self.grey_context and self.kind != "colour":
            raise ValueError("grey_context is for colour images")

    @property
    def channels(self) -> int:
        """Planes of an image: 1 or 3."""
        return 1 if self.kind == "binary" else 3

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of z."""
        stride = self.latent_stride
        return self.latent_channels, self.height // stride, self.width // stride

    @property
    def subpixels(self) -> int:
        """Values of an image: the dimensions of bits/dim."""
        return self.channels * self.height * self.width


MNIST = SetConfig()
CIFAR = SetConfig(
    kind="colour",
    height=32,
    width=32,
    widths=(48, 96),
    latent_channels=16,
    latent_stride=4,
    prior="groups",
    features=24,
    pixel_hidden=128,
    pixel_depth=3,
)

SET_PRESETS: dict[str, SetConfig] = {
    "mnist": MNIST,
    "cifar": CIFAR,
    # As large as the paper's: for GPUs.
    "cifar-large": replace(
        CIFAR,
        widths=(96, 192),
        analysis_depth=(4, 4),
        synthesis_depth=(4, 4),
        group_hidden=96,
        features=48,
        pixel_hidden=256,
        pixel_depth=5,
        mixtures=10,
    ),
    # Seconds to train: for tests.
    "tiny-binary": replace(
        MNIST,
        height=8,
        width=12,
        widths=(8, 8),
        analysis_depth=(1, 1),
        synthesis_depth=(1, 1),
        dense=16,
        latent_channels=6,
        latent_stride=4,
        made_hidden=24,
        iaf_hidden=24,
        receptive_field="4x2",
        features=4,
        pixel_hidden=8,
        pixel_depth=1,
    ),
    "tiny-colour": replace(
        CIFAR,
        height=8,
        width=8,
        widths=(8, 8),
        analysis_depth=(1, 1),
        synthesis_depth=(1, 1),
        latent_channels=4,
        slices=2,
        group_hidden=8,
        receptive_field="4x2",
        features=4,
        pixel_hidden=8,
        pixel_depth=1,
        mixtures=2,
    ),
}
