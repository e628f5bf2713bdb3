"""Training recipes as data: everything that decides a model, and the budget of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...coding.settings import settings
from ...networks.config import PRESETS, PhotoConfig

OPTIMISERS = ("adam", "soap")


@dataclass(frozen=True)
class Recipe:
    """How a photo model is trained. Progress p runs from 0 to 1 over the budget."""

    model: PhotoConfig = field(default_factory=PhotoConfig)
    batch: int = 8  # crops per step and process
    crop: int = 128
    optimiser: str = "adam"  # of OPTIMISERS
    learning_rate: float = 7e-4
    final_rate: float = 1e-5
    warmup_steps: int = 200
    clip_norm: float = 1.0
    ema: float = 0.999
    # Stage A (p < sampler_from): rate and fidelity. Stage B adds the texture. In stage C
    # (p >= structure_until) only the texture is trained: files and texture 0 stay as they are.
    sampler_from: float = 0.5
    structure_until: float = 1.0
    texture_crop: int = 64
    # The texture is trained on the first so many crops of a batch in stage B (0: all), where each
    # costs more than its structure, and on all in stage C.
    texture_crops: int = 0
    # Share of the texture's gradient that reaches z and the encoder in stage B.
    encoder_share: float = 1.0
    # How samples are drawn: Jacobi steps from zero, or 0 for the exact sample by wavefront (which
    # takes hundreds of tiny kernels: for CPUs).
    jacobi_steps: int = 0
    # The noise of each crop's sample is enlarged by up to this, mostly by little: a sampler that is
    # never trained above the temperature of decoding breaks out there.
    heat: float = 1.0
    perceptual_weight: float = 3.0  # of the texture's LPIPS
    # LPIPS on VGG16, of the first `vgg_crops` of a batch: it costs as much as the model.
    vgg_weight: float = 0.0
    vgg_crops: int = 2
    likelihood_weight: float = 0.02  # per bit and subpixel
    likelihood_crops: int = 0  # of the first so many of a batch (0: of all)
    energy_weight: float = 0.2  # per nat of the texture's local energy in bands of frequencies
    variance_weight: float = 0.0  # per nat of the texture's variance around each pixel
    lattice_weight: float = 0.0  # per nat of what the texture repeats every 2, 4 or 8 pixels
    texture_fidelity: float = 0.2  # per nat of the texture's MSE: 0.23 nats are 1 dB
    mean_perceptual_weight: float = 0.0  # of the mean's LPIPS
    # 1 - MS-SSIM in units of MSE: the distortion is MSE + ms_ssim_weight * (1 - MS-SSIM).
    ms_ssim_weight: float = 0.0
    # Weight of each crop's rate-distortion loss: lambda ** -balance. 0.5 evens out low and high
    # rates, 0 lets high rates dominate.
    balance: float = 0.45
    # Qualities of the crops, 0 to 1: a model for some of them is the better at those.
    qualities: tuple[float, float] = (0.0, 1.0)
    # Share of crops taken at a random reduction (which loses the sources' JPEG artefacts).
    reduced: float = 0.8
    reduction: tuple[float, float] = (0.5, 0.9)
    # Share of crops that are drawn pages (`pages`).
    drawn: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise ValueError(f"optimiser must be one of {', '.join(OPTIMISERS)}")
        lowest, highest = self.qualities
        if not 0 <= lowest <= highest <= 1:
            raise ValueError("qualities must be a range within 0 to 1")
        if not 0 <= self.drawn <= 0.5:
            raise ValueError("drawn must be a share between 0 and 0.5")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Inverse of `to_dict`; what is not given has its default.

        Raises:
            ValueError: an unknown field, or a value that cannot be.
        """
        own = settings(cls, values, "recipe")
        return cls(**own | {"model": PhotoConfig.from_dict(values.get("model", {}))})


@dataclass(frozen=True)
class Budget:
    """What a run may use in all: minutes, or steps where speed must not decide the result."""

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        given = [v for v in (self.minutes, self.steps) if v is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ValueError("a budget is a positive number of either minutes or steps")

    def __str__(self) -> str:
        return f"{self.minutes:g} minutes" if self.steps is None else f"{self.steps} steps"

    def spent(self, step: int, elapsed: float) -> float:
        """Progress after `step` steps and `elapsed` seconds: 0 at the start, 1 at the end."""
        if self.steps is not None:
            return step / self.steps
        assert self.minutes is not None
        return elapsed / (60 * self.minutes)


# Shares of the stages, and weights of the texture's losses, with which `small` was finished.
_STAGED = Recipe(
    sampler_from=0.3,
    structure_until=0.55,
    perceptual_weight=6.0,
    energy_weight=0.6,
    texture_fidelity=0.02,
    likelihood_weight=0.01,
)

# One residual block more than `small` at strides 4 and 16: it may start from it (`--init`).
_DEEP = replace(PRESETS["small"], analysis_depth=(3, 2, 3), synthesis_depth=(4, 3, 3))

# Structure and texture together, with a little of the texture's gradient for z, then the texture
# (stage C). Sizes and rates are those for a finished model (`--init`), to make it better for a part
# of the qualities.
_TUNED = replace(
    _STAGED,
    model=_DEEP,
    optimiser="soap",
    learning_rate=5e-4,
    warmup_steps=60,
    batch=16,
    ema=0.995,
    sampler_from=0.0,
    structure_until=0.5,
    texture_crop=96,
    texture_crops=6,
    encoder_share=0.25,
    drawn=1 / 16,
    heat=1.43,
    vgg_weight=4.0,
    vgg_crops=3,
    likelihood_crops=6,
    energy_weight=1.4,
    variance_weight=0.7,
    lattice_weight=0.45,
    ms_ssim_weight=1000.0,
)

RECIPES: dict[str, Recipe] = {
    "tiny": Recipe(
        model=PRESETS["tiny"], batch=2, crop=64, texture_crop=32, warmup_steps=5, ema=0.9
    ),
    "small": replace(_STAGED, model=PRESETS["small"], texture_crop=96),
    # Dissimilarity beside the MSE makes files larger at equal lambda; and where the two meet, those
    # of the first were smaller by a fifth. Hence lambdas of their own.
    "small-low": replace(
        _TUNED, qualities=(0.0, 0.48), model=replace(_DEEP, lambda_min=0.0001, lambda_max=0.9)
    ),
    "small-high": replace(
        _TUNED, qualities=(0.42, 1.0), model=replace(_DEEP, lambda_min=0.00018, lambda_max=0.106)
    ),
    "base": replace(
        _TUNED,
        model=PRESETS["base"],
        optimiser="adam",
        learning_rate=7e-4,
        warmup_steps=200,
        sampler_from=0.6,
        structure_until=0.6,
        jacobi_steps=8,
        batch=32,
        crop=256,
        texture_crop=128,
        vgg_crops=8,
        likelihood_crops=0,
        ema=0.9995,
    ),
}
