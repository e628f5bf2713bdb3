"""Training recipes as data: everything that decides a model, but for the time it is given."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ..model.config import PRESETS, PhotoConfig


@dataclass(frozen=True)
class Recipe:
    """How a photo model is trained. Progress p runs from 0 to 1 over the time budget."""

    model: PhotoConfig = field(default_factory=PhotoConfig)
    batch: int = 8  # crops per step and process
    crop: int = 128
    learning_rate: float = 1e-3
    final_rate: float = 1e-5
    warmup_steps: int = 200
    clip_norm: float = 1.0
    ema: float = 0.999
    # Stage A (p < sampler_from): rate and fidelity. Stage B adds the sampler.
    sampler_from: float = 0.4
    texture_crop: int = 64
    jacobi_steps: int = 3
    perceptual_weight: float = 1.0
    likelihood_weight: float = 0.02  # per bit and subpixel
    # Weight of each crop's rate-distortion loss: lambda ** -balance. 0.5 evens out low and high
    # rates, 0 lets high rates dominate.
    balance: float = 0.3
    # Share of crops taken at a random reduction (which loses the sources' JPEG artefacts).
    reduced: float = 0.8
    reduction: tuple[float, float] = (0.5, 0.9)
    seed: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Inverse of `to_dict`."""
        rest: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        rest["model"] = PhotoConfig.from_dict(values["model"])
        return cls(**rest)


RECIPES: dict[str, Recipe] = {
    "tiny": Recipe(
        model=PRESETS["tiny"], batch=2, crop=64, texture_crop=32, warmup_steps=5, ema=0.9
    ),
    "small": Recipe(model=PRESETS["small"]),
    "base": Recipe(model=PRESETS["base"], batch=32, crop=256, texture_crop=128, ema=0.9995),
}
