"""Training recipes as data: everything that decides a model, and the budget of a run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from ...coding.settings import Settings
from ...networks.config import PRESETS, PhotoConfig
from .terms import TERMS

OPTIMISERS = ("adam", "soap")
# Where a model starts: at random isometries, or at the photographs' principal components.
STARTS = ("isometries", "klt")
# Where its second network starts when stage B begins: as it is, or as a copy of the first.
TEXTURE_STARTS = ("own", "mean")

DEFAULT_WEIGHTS = {"lpips": 3.0, "nll": 0.02, "energy": 0.2, "log_mse": 0.2}

# The fields of recipes in the cards of older models, and what they are called now.
OLD_WEIGHTS = {
    "perceptual_weight": "lpips",
    "vgg_weight": "vgg_lpips",
    "likelihood_weight": "nll",
    "energy_weight": "energy",
    "variance_weight": "variance",
    "lattice_weight": "lattice",
    "texture_fidelity": "log_mse",
    "mean_perceptual_weight": "mean_lpips",
    "ms_ssim_weight": "ms_ssim",
}
OLD_CROPS = {"vgg_crops": "vgg_lpips", "likelihood_crops": "nll"}


@dataclass(frozen=True)
class Recipe(Settings):
    """How a photo model is trained. Progress p runs from 0 to 1 over the budget."""

    KIND: ClassVar[str] = "recipe"

    model: PhotoConfig = field(default_factory=PhotoConfig)
    batch: int = 8  # crops per step and process
    crop: int = 128
    start: str = "isometries"  # of STARTS
    texture_start: str = "own"  # of TEXTURE_STARTS
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
    # Weight of every loss but rate and MSE, by its name in `terms.TERMS`.
    weights: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    # Weights that are others in stage C.
    last_weights: dict[str, float] = field(default_factory=dict)
    # Losses that look at the first so many crops of a batch only, by name; "maps" stands for all on
    # feature maps. VGG16 costs as much as the model.
    crops: dict[str, int] = field(default_factory=dict)
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
    # So many pages are drawn when the run begins, for crops of them; 0: new ones in every step.
    page_pool: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        self.check_choice("optimiser", OPTIMISERS)
        self.check_choice("start", STARTS)
        self.check_choice("texture_start", TEXTURE_STARTS)
        lowest, highest = self.qualities
        if not 0 <= lowest <= highest <= 1:
            raise ValueError("qualities must be a range within 0 to 1")
        if not 0 <= self.drawn <= 0.5:
            raise ValueError("drawn must be a share between 0 and 0.5")
        named = {*self.weights, *self.last_weights, *self.crops} - {*TERMS, "maps"}
        if named:
            raise ValueError(f"no such losses: {', '.join(sorted(named))}")

    def stage_weights(self, last: bool) -> dict[str, float]:
        """The weights that are not 0 in stages A and B, or in the last stage, C."""
        weights = self.weights | self.last_weights if last else self.weights
        used = {name: weight for name, weight in weights.items() if weight}
        return used if last else {n: w for n, w in used.items() if not TERMS[n].last}

    def weighted(self, **weights: float) -> Recipe:
        """A copy with some weights changed."""
        return replace(self, weights=self.weights | weights)

    @property
    def losses(self) -> set[str]:
        """Names of all losses of any stage."""
        return {*self.stage_weights(last=False), *self.stage_weights(last=True)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of `to_dict`; older recipes are read, too."""
        return super().from_dict(_by_name(values))


def _by_name(values: Any) -> dict[str, Any]:
    """A recipe whose weights are fields of their own, as they were before 0.1, in today's form."""
    if not isinstance(values, dict):
        raise ValueError("no fields with names")
    if "weights" in values:
        return values
    weights, crops, rest = dict(DEFAULT_WEIGHTS), {"vgg_lpips": 2}, {}
    for name, value in values.items():
        if name in OLD_WEIGHTS:
            weights[OLD_WEIGHTS[name]] = value
        elif name in OLD_CROPS:
            crops[OLD_CROPS[name]] = value
        else:
            rest[name] = value
    used = {name: weight for name, weight in weights.items() if weight}
    return {**rest, "weights": used, "crops": {k: v for k, v in crops.items() if v and k in used}}


# Shares of the stages, and weights of the texture's losses, with which `small` was finished.
_STAGED = Recipe(
    sampler_from=0.3,
    structure_until=0.55,
    weights={"lpips": 6.0, "energy": 0.6, "log_mse": 0.02, "nll": 0.01},
)

# One residual block more than `small` at strides 4 and 16.
_DEEP = replace(PRESETS["small"], analysis_depth=(3, 2, 3), synthesis_depth=(4, 3, 3))

# Weights with which texture is trained as a distribution: none of them punishes another sample, but
# LPIPS, and the energy score pays for it. The small ones mend single faults: coloured pixels
# (variance), grids (lattice) and letters that look like others. Temperature 1: what is learned is
# what is drawn.
_SAMPLED = {
    "wd": 1.0,
    "ged": 0.15,
    "lpips": 1.5,
    "variance": 0.04,
    "lattice": 0.02,
    "nll": 0.03,
    "texture_lettering": 0.3,
}

# One model for all qualities, for minutes on a GPU (`bin/train-gpu`): stage A from the principal
# components, with large batches; then stages B and C from what it leaves.
_ONE = Recipe(
    model=replace(_DEEP, level_path=True, lambda_min=0.00012, lambda_max=0.11, temperature=1.0),
    start="klt",
    optimiser="soap",
    learning_rate=1.4e-3,
    warmup_steps=100,
    batch=64,
    crop=256,
    sampler_from=1.0,
    structure_until=1.0,
    texture_crop=128,
    jacobi_steps=8,
    weights={"ms_ssim": 1000.0, "lettering": 20.0},
    reduced=0.7,
    reduction=(0.6, 0.95),
    drawn=1 / 8,
    page_pool=192,
)

RECIPES: dict[str, Recipe] = {
    "tiny": Recipe(
        model=PRESETS["tiny"], batch=2, crop=64, texture_crop=32, warmup_steps=5, ema=0.9
    ),
    "small": replace(_STAGED, model=PRESETS["small"], texture_crop=96),
    "base": replace(
        _STAGED,
        model=PRESETS["base"],
        warmup_steps=200,
        batch=32,
        crop=256,
        ema=0.9995,
        sampler_from=0.6,
        structure_until=0.6,
        texture_crop=128,
        texture_crops=6,
        encoder_share=0.25,
        jacobi_steps=8,
        drawn=1 / 16,
        heat=1.43,
        weights={
            "lpips": 6.0,
            "vgg_lpips": 4.0,
            "nll": 0.01,
            "energy": 1.4,
            "variance": 0.7,
            "lattice": 0.45,
            "log_mse": 0.02,
            "ms_ssim": 1000.0,
        },
        crops={"vgg_lpips": 8},
    ),
    "one": _ONE,
    "one-texture": replace(
        _ONE,
        learning_rate=7e-4,
        batch=32,
        sampler_from=0.0,
        structure_until=0.5,
        texture_start="mean",
        texture_crops=16,
        encoder_share=1.0,
        heat=1.25,
        # Three times as much as alone: the encoder hears the losses on texture and the rate.
        weights={name: 3 * weight for name, weight in _SAMPLED.items()} | _ONE.weights,
        crops={"maps": 16},
        jacobi_steps=12,
    ),
    # Stage C again, on a CPU: small batches need small steps. With more of what looks at one place
    # at a time than in `_SAMPLED`: chance decided more than it had to.
    "one-finish": replace(
        _ONE,
        start="isometries",
        learning_rate=1.5e-4,
        final_rate=5e-6,
        warmup_steps=60,
        ema=0.997,
        batch=8,
        crop=128,
        sampler_from=0.0,
        structure_until=0.0,
        texture_crop=112,
        heat=1.25,
        weights=_SAMPLED | {"lpips": 2.5, "energy": 0.3, "variance": 0.15, "lattice": 0.1},
        crops={"maps": 6, "nll": 4},
        jacobi_steps=0,
        drawn=0.0,
        page_pool=0,
    ),
}
