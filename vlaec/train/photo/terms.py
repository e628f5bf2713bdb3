"""The table of losses: a name, what it measures, the stages that train on it.

A new loss is a function here and a line in `ON_MEAN` or `ON_TEXTURE`. Its weight and the number of
crops that it looks at are a recipe's `weights` and `crops`; the log and its plot go by the name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from ...metrics.energy import energy_distance
from ...metrics.lattice import lattice_distance
from ...metrics.perceptual import LPIPS
from ...metrics.samples import energy_score
from ...metrics.ssim import ms_ssim
from ...metrics.variance import variance_distance
from ...metrics.windows import FeatureMaps, scales, window_distance, window_levels
from .adversary import Adversary


@dataclass
class MeanScene:
    """What a loss on the faithful picture may look at."""

    target: Tensor  # [N, 3, H, W] in [0, 1]
    mean: Tensor  # [N, 3, H, W]
    factor: Tensor  # [N]: weight of each crop's MSE (0..255 scale) in the rate-distortion loss
    judges: Judges
    lettering: Tensor | None = None  # [N, 1, S, S] in [0, 1]


@dataclass
class TextureScene:
    """What a loss on the texture may look at: one square of every crop."""

    target: Tensor  # [N, 3, S, S] in [0, 1]
    mean: Tensor  # [N, 3, S, S], without gradient
    texture: Tensor  # [N, 3, S, S]: mean + detail + sample; see `muted`
    bits: Tensor  # [] bits per subpixel of the true residual
    judges: Judges
    letters: Tensor  # [N]: mean error on lettering, 0..255 scale
    # For losses on feature maps alone, of the crops that they look at.
    maps: SceneMaps | None = None

    def first(self, n: int) -> TextureScene:
        """The scene of the first `n` crops, or of all for 0."""
        if not n:
            return self
        return replace(
            self,
            target=self.target[:n],
            mean=self.mean[:n],
            texture=self.texture[:n],
            letters=self.letters[:n],
        )


@dataclass
class SceneMaps:
    """Feature maps of a scene, each list computed once a step."""

    target: list[Tensor]
    texture: list[Tensor]
    second: list[Tensor] | None  # of another sample of the same crops
    units: list[Tensor]  # see `windows.scales`
    levels: Tensor  # see `windows.window_levels`

    @classmethod
    def of(
        cls,
        network: FeatureMaps,
        target: Tensor,
        mean: Tensor,
        texture: Tensor,
        second: Tensor | None,
    ) -> SceneMaps:
        """Maps of pictures [N, 3, S, S]; a gradient for `texture` and `second`."""
        with torch.no_grad():
            reference = network(target)
            units, levels = scales(reference), window_levels(target, mean)
        if second is None:
            return cls(reference, network(texture), None, units, levels)
        both = network(torch.cat([texture, second]))
        one, other = ([m[part] for m in both] for part in _halves(len(texture)))
        return cls(reference, one, other, units, levels)


def _halves(n: int) -> tuple[slice, slice]:
    return slice(n), slice(n, None)


class Judges(nn.Module):
    """The networks that losses ask for; None where no weight of a recipe does. None of them is part
    of the model; all but the adversary are frozen."""

    def __init__(
        self,
        lpips: LPIPS | None = None,
        vgg: LPIPS | None = None,
        maps: FeatureMaps | None = None,
        adversary: Adversary | None = None,
    ) -> None:
        super().__init__()
        self.lpips, self.vgg, self.maps, self.adversary = lpips, vgg, maps, adversary

    @classmethod
    def load(cls, names: set[str], folder: Path | None) -> Judges:
        """The networks that the losses of these names ask for, in bfloat16 where they convolve.

        Raises:
            FileNotFoundError: weights are needed and not there.
        """
        needed = {TERMS[name].judge for name in names}
        lpips = LPIPS.load(folder).in_bfloat16() if "lpips" in needed else None
        vgg = LPIPS.load(folder, "vgg").in_bfloat16() if needed & {"vgg", "maps"} else None
        maps = FeatureMaps(vgg) if vgg is not None and "maps" in needed else None
        adversary = Adversary() if "adversary" in needed else None
        return cls(lpips, vgg if "vgg" in needed else None, maps, adversary)


Scene = TypeVar("Scene", MeanScene, TextureScene)


@dataclass(frozen=True)
class Term(Generic[Scene]):
    """One loss."""

    measure: Callable[[Scene], Tensor]  # -> []
    judge: str | None = None  # the field of `Judges` that it needs
    samples: int = 1  # different samples of a crop that it compares
    last: bool = False  # in stage C alone, where z is settled


def _distance(metric: LPIPS | None, target: Tensor, picture: Tensor) -> Tensor:
    """Mean distance of `picture` from `target`, both [N, 3, H, W]; a gradient for the former."""
    assert metric is not None
    with torch.no_grad():
        reference = metric.features(target)
    return metric.distance(reference, metric.features(picture)).mean()


def _dissimilarity(s: MeanScene) -> Tensor:
    # In units of MSE: the distortion is MSE + weight * (1 - MS-SSIM).
    return (s.factor * (1 - ms_ssim(s.mean, s.target))).mean()


def letter_error(target: Tensor, picture: Tensor, lettering: Tensor | None) -> Tensor:
    """Mean absolute error on lettering, 0..255 scale, times its share of each crop [N]."""
    if lettering is None:
        return target.new_zeros(len(target))
    return ((picture - target).abs() * lettering * 255).flatten(1).mean(1)


def muted(target: Tensor, picture: Tensor, lettering: Tensor | None) -> Tensor:
    """A picture [N, 3, S, S] with the original in place of lettering: judges of what a picture
    looks like would invent letters there."""
    return picture if lettering is None else picture.lerp(target, lettering)


def _log_mse(s: TextureScene) -> Tensor:
    # In logarithms a decibel counts the same at every quality.
    mse = ((s.texture - s.target) * 255).square().flatten(1).mean(1)
    return (mse + 1).log().mean()


def _windows(s: TextureScene) -> Tensor:
    assert s.maps is not None
    return window_distance(s.maps.target, s.maps.texture, s.maps.levels, s.maps.units).mean()


def _energy_score(s: TextureScene) -> Tensor:
    assert s.maps is not None and s.maps.second is not None
    return energy_score(s.maps.target, s.maps.texture, s.maps.second, s.maps.units).mean()


def _adversary(s: TextureScene) -> Tensor:
    assert s.judges.adversary is not None
    verdict: Tensor = s.judges.adversary(
        s.target, s.texture, s.mean, window_levels(s.target, s.mean)
    )
    return verdict


# On the mean, in stages A and B. They reach z and the encoder.
ON_MEAN: dict[str, Term[MeanScene]] = {
    "ms_ssim": Term(_dissimilarity),
    # On drawn lettering, in units of MSE: what is wrong in a letter is wrong, however little.
    "lettering": Term(lambda s: (s.factor * letter_error(s.target, s.mean, s.lettering)).mean()),
    "mean_lpips": Term(lambda s: _distance(s.judges.lpips, s.target, s.mean), "lpips"),
}

# On the texture, in stages B and C. They leave the mean alone.
ON_TEXTURE: dict[str, Term[TextureScene]] = {
    "lpips": Term(lambda s: _distance(s.judges.lpips, s.target, s.texture), "lpips"),
    "vgg_lpips": Term(lambda s: _distance(s.judges.vgg, s.target, s.texture), "vgg"),
    # Bits per subpixel: keeps the sampler a likelihood model.
    "nll": Term(lambda s: s.bits),
    # In nats: local energy in bands of frequencies, variance around each pixel, repetition.
    "energy": Term(lambda s: energy_distance(s.texture, s.target).mean()),
    "variance": Term(lambda s: variance_distance(s.texture, s.target).mean()),
    "lattice": Term(lambda s: lattice_distance(s.texture, s.target).mean()),
    "log_mse": Term(_log_mse),
    # On drawn lettering, which the others do not see as soon as this one has a weight.
    "texture_lettering": Term(lambda s: s.letters.mean()),
    # On distributions: these two look at the crops of `crops["maps"]`.
    "wd": Term(_windows, "maps"),
    "ged": Term(_energy_score, "maps", samples=2),
    "adversary": Term(_adversary, "adversary", last=True),
}

TERMS: dict[str, Term[MeanScene] | Term[TextureScene]] = {**ON_MEAN, **ON_TEXTURE}
