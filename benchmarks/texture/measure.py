"""One photograph at every rate: the pictures a file gives, their scores, and its residuals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vlaec import zoo
from vlaec.bench.codecs import Avif
from vlaec.bench.metrics import PAIRS, Compare, load_patch_features
from vlaec.images import Picture
from vlaec.photo.codec import Codec, load_codec
from vlaec.photo.container import unpack

from . import octaves, spectrum
from .render import Layers, SizeSearch, bits_per_pixel, read_layers, sample, sample_in_parallel
from .repetition import Repetition, excess, repetition
from .residuals import Tally

STRENGTHS = (0.0, 0.5, 1.0)
MEAN, FULL, DEFAULT, AVIF = "texture 0", "texture 1", "default", "AVIF"
ROWS = (*(f"texture {strength:g}" for strength in STRENGTHS), DEFAULT, AVIF)
TEMPERATURES = (0.7, 1.0)  # of the samples whose residuals are counted
JACOBI_STEPS = 3
# DISTS, Wasserstein distortion and the Frechet distance look at this much of the middle (either way
# up): VGG16 on whole pictures would take three quarters of the time.
CENTRE = (384, 512)


@dataclass(frozen=True)
class Score:
    """One picture against its original. `patches`: features for the Frechet distance [P, 256]."""

    values: dict[str, float]
    spectrum: np.ndarray
    patches: np.ndarray


@dataclass(frozen=True)
class Original:
    """A photograph, [H, W, 3] uint8, and what every comparison with it needs."""

    name: str
    rgb: np.ndarray
    centre: np.ndarray
    spectrum: np.ndarray
    repetition: Repetition
    patches: np.ndarray


@dataclass(frozen=True)
class Shot:
    """A photograph at one rate."""

    quality: float
    bpp: float
    avif_bpp: float
    strength: float  # the file's own
    sampler_bpp: float  # what the sampler would need to code the rest losslessly
    scores: dict[str, Score]  # by row


@dataclass
class Sampling:
    """Residuals of all photographs at one rate, true and sampled, by temperature."""

    true: Tally = field(default_factory=Tally)
    sampled: dict[float, Tally] = field(default_factory=dict)
    # LPIPS of full texture: pixel after pixel, and after JACOBI_STEPS parallel steps.
    free: list[float] = field(default_factory=list)
    parallel: list[float] = field(default_factory=list)
    # Of full texture, by octave, see `octaves.chance`.
    chance: list[dict[str, np.ndarray]] = field(default_factory=list)


class Scorer:
    """The metrics, loaded once. `whole`: the deep ones on whole pictures instead of the middle."""

    def __init__(self, weights: Path | None, whole: bool) -> None:
        self.whole = whole
        self.psnr, self.lpips, self.dists, self.wd = (
            PAIRS[name].load(weights) for name in ("psnr", "lpips", "dists", "wd")
        )
        self.patches = load_patch_features(weights)

    def original(self, path: Path) -> Original:
        """Read a photograph."""
        with Image.open(path) as image:
            rgb = np.asarray(image.convert("RGB"))
        centre = self._centre(rgb)
        power = spectrum.log_power(rgb)
        return Original(path.stem, rgb, centre, power, repetition(rgb), self.patches(centre))

    def score(self, original: Original, picture: np.ndarray) -> Score:
        """All metrics of a picture [H, W, 3] uint8."""
        power = spectrum.log_power(picture)
        centre = self._centre(picture)
        values = {
            "psnr": self.psnr(original.rgb, picture),
            "lpips": self.lpips(original.rgb, picture),
            "dists": self.dists(original.centre, centre),
            "wd": self.wd(original.centre, centre),
            "spectrum": spectrum.distance(original.spectrum, power),
            "lattice": excess(original.repetition, repetition(picture)),
        }
        return Score(_numbers(values), power, self.patches(centre))

    def crop(self, original: np.ndarray, picture: np.ndarray) -> dict[str, float]:
        """The metrics that make sense on a small crop [h, w, 3]."""
        metrics: dict[str, Compare] = {"psnr": self.psnr, "lpips": self.lpips, "dists": self.dists}
        return _numbers({name: metric(original, picture) for name, metric in metrics.items()})

    def _centre(self, image: np.ndarray) -> np.ndarray:
        if self.whole:
            return image
        height, width = image.shape[:2]
        rows, columns = sorted(CENTRE, reverse=height > width)
        top, left = max(0, (height - rows) // 2), max(0, (width - columns) // 2)
        return np.ascontiguousarray(image[top : top + rows, left : left + columns])


def _numbers(values: dict[str, float | None]) -> dict[str, float]:
    """Rounded for the results' file; a metric that a picture is too small for is left out."""
    return {name: round(value, 5) for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Coder:
    """Makes files with the model that is named, else with those that `compress` takes."""

    model: str | None

    def at(self, quality: float) -> Codec:
        """The codec for a quality."""
        return load_codec(zoo.find(name=self.model, quality=quality).id)

    def of(self, file: bytes) -> Codec:
        """The codec that a file names."""
        return load_codec(unpack(file).header.model_id.hex())

    @property
    def qualities(self) -> tuple[float, float]:
        """Lowest and highest quality."""
        return self.at(0).card.qualities if self.model else (0.0, 100.0)

    @property
    def codecs(self) -> list[Codec]:
        """All that serve a whole quality, by rising quality."""
        lowest, highest = self.qualities
        return list(dict.fromkeys(self.at(q) for q in range(round(lowest), round(highest) + 1)))


class Study:
    """One photograph and its files."""

    def __init__(self, coder: Coder, scorer: Scorer, original: Original) -> None:
        self.coder, self.scorer, self.original = coder, scorer, original
        picture, avif = Picture(original.rgb), Avif()
        self.file = SizeSearch(
            lambda q: coder.at(q).encode(picture, q), *coder.qualities, step=0.01
        )
        self.avif = SizeSearch(lambda level: avif.encode(original.rgb, level), 0, 90, 1)
        self.decode_avif = avif.decode

    def shots(
        self, rates: Sequence[float], sampling: Sampling, sampling_rate: float
    ) -> Iterator[tuple[float, Shot, dict[str, np.ndarray]]]:
        """Each rate (bits per pixel), its measurements, and its pictures by row.

        `sampling` gets this photograph's residuals at `sampling_rate`.
        """
        pixels = self.original.rgb.shape[0] * self.original.rgb.shape[1]
        for rate in rates:
            # AVIF first: its whole levels leave gaps that ours, in hundredths, can follow.
            _, rival = self.avif(rate * pixels / 8)
            quality, data = self.file(len(rival))
            codec = self.coder.of(data)
            layers = read_layers(codec, data)
            residual = sample(codec, layers, codec.sampler.temperature)
            pictures = {
                f"texture {strength:g}": layers.picture(residual, strength)
                for strength in STRENGTHS
            }
            pictures[DEFAULT] = layers.picture(residual, layers.strength)
            pictures[AVIF] = self.decode_avif(rival)
            scores = self._scores(pictures)
            truth = self._truth(layers)
            nll = bits_per_pixel(codec, layers, truth)
            if rate == sampling_rate:
                self._count(codec, sampling, layers, truth, residual)
                sampling.free.append(scores[FULL].values["lpips"])
            bpp, avif_bpp = (round(8 * len(file) / pixels, 4) for file in (data, rival))
            shot = Shot(round(quality, 2), bpp, avif_bpp, layers.strength, round(nll, 4), scores)
            yield rate, shot, pictures

    def _scores(self, pictures: dict[str, np.ndarray]) -> dict[str, Score]:
        """By row; a file's own strength is mostly one that is measured anyway."""
        scores: dict[str, Score] = {}
        for row, picture in pictures.items():
            same = (known for known in scores if np.array_equal(pictures[known], picture))
            known = next(same, None)
            scores[row] = scores[known] if known else self.scorer.score(self.original, picture)
        return scores

    def _truth(self, layers: Layers) -> torch.Tensor:
        """The true residual [3, H, W] on the [0, 1] scale."""
        return (
            torch.from_numpy(self.original.rgb.transpose(2, 0, 1) / np.float32(255)) - layers.mean
        )

    def _count(
        self,
        codec: Codec,
        sampling: Sampling,
        layers: Layers,
        truth: torch.Tensor,
        residual: torch.Tensor,
    ) -> None:
        own = codec.sampler.temperature
        sampling.true.add(truth.numpy() * 255)
        for temperature in TEMPERATURES:
            other = residual if temperature == own else sample(codec, layers, temperature)
            sampling.sampled.setdefault(temperature, Tally()).add(other.numpy() * 255)
        seeded = sample(codec, layers._replace(key=layers.key ^ 1 << 32), own)
        plain, first, second = (
            layers.picture(r, strength)
            for r, strength in ((residual, 0), (residual, 1), (seeded, 1))
        )
        sampling.chance.append(octaves.chance(plain, first, second))
        parallel = sample_in_parallel(codec, layers, own, JACOBI_STEPS)
        distance = self.scorer.lpips(self.original.rgb, layers.picture(parallel, 1))
        sampling.parallel.append(_numbers({"lpips": distance})["lpips"])
