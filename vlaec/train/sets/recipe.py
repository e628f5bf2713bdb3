"""Training recipes of set models, as data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from ...coding.settings import Settings
from ...networks.set_config import SET_PRESETS, SetConfig
from .data import DATASETS


@dataclass(frozen=True)
class SetRecipe(Settings):
    """How a set model is trained. Progress runs from 0 to 1 over the budget."""

    KIND: ClassVar[str] = "recipe"

    model: SetConfig = field(default_factory=SetConfig)
    dataset: str = "mnist-static"
    batch: int = 64
    optimiser: str = "adam"  # or "soap", whose steps take longer and get further
    learning_rate: float = 2e-3
    final_rate: float = 1e-5
    warmup_steps: int = 200
    weight_decay: float = 0.0  # decoupled (AdamW)
    clip_norm: float = 100.0  # of nats per image, for each of the networks
    ema: float = 0.999
    bfloat16: bool = True
    flips: bool = False  # left-right
    shifts: int = 0  # up to so many pixels in each direction, for sets too small for the model
    warps: float = 0.0  # pixels, root mean square, by which a smooth random field bends each image
    # The share of images that are shifted and bent falls from 1 to this: no test image is.
    shifts_end: float = 1.0
    dropout: float = 0.0  # share of hidden activations left out, in q and p, for the same reason
    # Soft free bits (Chen et al. 2016, appendix): the KL's weight rises or falls by `kl_rate` per
    # step while the KL is more than `kl_tolerance` above, or is below, so many nats. 0: weight 1.
    # From progress `kl_until` on the target is 0: z has learned to speak, now every nat must pay.
    kl_target: float = 0.0
    kl_until: float = 1.0
    kl_tolerance: float = 0.05
    kl_rate: float = 0.1
    # The weights with the best ELBO on so many validation images, looked at so many times, are
    # what the run is worth.
    validations: int = 20
    validation_images: int = 5000
    seed: int = 1

    def __post_init__(self) -> None:
        self.check_choice("dataset", DATASETS)
        self.check_choice("optimiser", ("adam", "soap"))


TINY = SetRecipe(batch=16, warmup_steps=5, ema=0.9, bfloat16=False, validation_images=16)

# Without a target at first z falls silent within minutes: the window learns faster.
CIFAR = SetRecipe(
    model=SET_PRESETS["cifar"],
    dataset="cifar10",
    batch=16,
    learning_rate=1.2e-3,
    clip_norm=1000.0,
    flips=True,
    kl_target=400.0,
    kl_until=0.3,
    validation_images=1000,
)

# For the smallest files: a decoder that sees more, small networks around z, which it hardly needs.
CIFAR_LOSSLESS = replace(
    CIFAR,
    model=replace(
        CIFAR.model,
        widths=(32, 64),
        analysis_depth=(1, 1),
        synthesis_depth=(1, 1),
        pixel_hidden=160,
    ),
    batch=32,
    optimiser="soap",
    learning_rate=2.5e-3,
    kl_target=300.0,
    kl_until=0.25,
    validations=10,
)

LONG = SetRecipe(
    model=replace(SET_PRESETS["mnist"], receptive_field="11x6"),
    batch=512,
    learning_rate=2e-3,
    ema=0.998,
    dropout=0.1,
)
# A twelfth of MNIST's images: unless they are varied the model soon learns them by heart.
CALTECH = replace(
    LONG,
    dataset="caltech",
    batch=128,
    warmup_steps=100,
    weight_decay=0.03,
    ema=0.999,
    flips=True,
    shifts=2,
    warps=0.7,
    shifts_end=0.05,
    dropout=0.2,
    kl_target=12.0,
    kl_until=0.7,
    validations=25,
    validation_images=2000,
)
CIFAR_LONG = replace(
    CIFAR,
    model=replace(CIFAR.model, pixel_hidden=256, pixel_depth=4, mixtures=10),
    batch=128,
    learning_rate=2e-3,
    ema=0.998,
    kl_target=0.0,
)

SET_RECIPES: dict[str, SetRecipe] = {
    "mnist": SetRecipe(model=SET_PRESETS["mnist"], kl_target=12.0),
    # For many epochs, in large batches: what a GPU does in minutes. Start from weights of `mnist`.
    "mnist-long": LONG,
    "caltech-long": replace(CALTECH, batch=512, ema=0.998),
    "cifar-long": CIFAR_LONG,
    "cifar-long-4x2": replace(CIFAR_LONG, model=replace(CIFAR_LONG.model, receptive_field="4x2")),
    "caltech": CALTECH,
    "cifar": CIFAR,
    "cifar-lossless": CIFAR_LOSSLESS,
    "cifar-5x3": replace(CIFAR, model=replace(CIFAR.model, receptive_field="5x3")),
    "cifar-4x2": replace(
        CIFAR_LOSSLESS, model=replace(CIFAR_LOSSLESS.model, receptive_field="4x2")
    ),
    "cifar-grey": replace(CIFAR, model=replace(CIFAR.model, grey_context=True)),
    "cifar-large": replace(
        CIFAR, model=SET_PRESETS["cifar-large"], batch=128, ema=0.9995, validation_images=5000
    ),
    # Seconds to train: for tests.
    "tiny-binary": replace(TINY, model=SET_PRESETS["tiny-binary"]),
    "tiny-colour": replace(TINY, model=SET_PRESETS["tiny-colour"], dataset="cifar10", flips=True),
}
