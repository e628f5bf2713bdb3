"""The encoder's search: never worse, bounded to its tile, and a file like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from photo_models import tensors
from PIL import Image
from torch import Tensor

import vlaec
from vlaec import zoo
from vlaec.errors import UsageError
from vlaec.images import Picture
from vlaec.metrics.ssim import ms_ssim
from vlaec.networks import PhotoVLAE
from vlaec.networks.blocks import level_weights
from vlaec.photo import codec, container, refine
from vlaec.photo.exact_prior import PlainPrior
from vlaec.photo.quantise import quantise

GOLDEN = Path(__file__).resolve().parent / "golden" / "models"
QUALITY = 0.4


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> PhotoVLAE:
    """The small trained model of the golden files, as the default too."""
    monkeypatch.setenv("VLAEC_MODELS", str(GOLDEN))
    return zoo.load(zoo.find())


def crop(photo: Path, height: int, width: int) -> np.ndarray:
    with Image.open(photo) as image:
        pixels = np.array(image.convert("RGB").crop((100, 100, 100 + width, 100 + height)))
    return pixels


def cost(
    model: PhotoVLAE, x: Tensor, z: Tensor, error: float = 2.0, dissimilarity: float = 2000.0
) -> float:
    """Rate + lambda * 2 (MSE + 1000 (1 - MS-SSIM)), written once more, or other weights."""
    levels = level_weights(torch.tensor([QUALITY]), model.config.levels)
    with torch.no_grad():
        noise = model.prior.draw_noise(z, torch.Generator().manual_seed(0))
        prior = model.prior(z, z, levels, noise)
        mean = model.decode(z, prior.mean, prior.log_scale, levels).mean
    bpp = float(prior.latent_bits + prior.hyper_bits) / (x.shape[2] * x.shape[3])
    distortion = error * float(((mean - x) * 255).square().mean())
    if min(x.shape[2:]) >= 48:
        distortion += dissimilarity * (1 - float(ms_ssim(mean, x)))
    return bpp + model.config.rate_weight(QUALITY) * distortion


def searched(
    model: PhotoVLAE, x: Tensor, effort: int = 2, tune: str | None = None
) -> tuple[Tensor, Tensor]:
    """z as it is without a search, and with one."""
    levels = level_weights(torch.tensor([QUALITY]), model.config.levels)
    with torch.no_grad():
        y = model.encode(x, levels)
    weights = levels[0].double().numpy()
    prior = PlainPrior(tensors(model), model.config)

    def integers(y: np.ndarray) -> np.ndarray:
        return quantise(y, prior, weights)

    planes = x[0].numpy(), y[0].numpy()
    given = (*planes, weights, QUALITY)
    z = refine.refine(zoo.find(), *given, effort, integers, lambda share: None, tune)
    before, after = (torch.from_numpy(part).float()[None] for part in (integers(planes[1]), z))
    return before, after


def to_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(autouse=True)
def in_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refine, "ANNEALING_STEPS", 40)


@pytest.mark.parametrize("effort", [1, 2])
def test_a_search_pays(model: PhotoVLAE, photo: Path, effort: int) -> None:
    x = to_tensor(crop(photo, 128, 160))
    before, after = searched(model, x, effort)
    assert torch.equal(after, after.round()) and after.shape == before.shape
    assert cost(model, x, after) < 0.995 * cost(model, x, before)


def test_similarity_is_searched_for(model: PhotoVLAE, photo: Path) -> None:
    """What a search for MSE alone finds is worse as a whole."""
    x = to_tensor(crop(photo, 128, 160))
    _, both = searched(model, x)
    _, fidelity = searched(model, x, tune="psnr")
    assert cost(model, x, both) < 0.995 * cost(model, x, fidelity)


@pytest.mark.parametrize(("tune", "weights"), [("psnr", (2.0, 0.0)), ("ms-ssim", (0.3, 4000.0))])
def test_a_search_for_one_metric_finds_more_of_it(
    model: PhotoVLAE, photo: Path, tune: str, weights: tuple[float, float]
) -> None:
    x = to_tensor(crop(photo, 128, 160))
    _, both = searched(model, x)
    _, one = searched(model, x, tune=tune)
    assert cost(model, x, one, *weights) < cost(model, x, both, *weights)


def test_a_pull_keeps_the_search_near_the_analysis_output(
    model: PhotoVLAE, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = to_tensor(crop(photo, 128, 160))
    moved = []
    for pull in (0.0, 3.0, 20.0):
        monkeypatch.setitem(refine.AIMS, None, refine.Aim(pull=pull))
        before, after = searched(model, x)
        moved.append(float((after - before).square().sum()))
    assert moved[0] > moved[1] > moved[2] > 0


@pytest.mark.parametrize("effort", [1, 2])
@pytest.mark.parametrize("size", [(16, 16), (32, 96), (48, 16)])
def test_small_pictures_are_searched_too(
    model: PhotoVLAE, photo: Path, size: tuple[int, int], effort: int
) -> None:
    x = to_tensor(crop(photo, *size))
    before, after = searched(model, x, effort)
    assert cost(model, x, after) <= cost(model, x, before)


@pytest.mark.parametrize(("effort", "steps"), [(1, 3), (2, 1), (2, 3)])
def test_a_search_that_finds_nothing_changes_nothing(
    model: PhotoVLAE, photo: Path, effort: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refine, "ANNEALING_STEPS", steps)
    monkeypatch.setattr(refine, "WHOLE_STEPS", steps)
    x = to_tensor(crop(photo, 64, 64))
    before, after = searched(model, x, effort)
    assert torch.equal(before, after) or cost(model, x, after) < cost(model, x, before)


@pytest.mark.parametrize("effort", [1, 2])
def test_tiles_are_searched_one_by_one(
    model: PhotoVLAE, photo: Path, effort: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With small tiles every part of z moves, and the whole picture gains although each tile
    knows of its neighbours only what lies in its margin."""
    monkeypatch.setattr(refine, "TILE", 4)
    monkeypatch.setattr(refine, "MARGIN", 2)
    x = to_tensor(crop(photo, 96, 144))
    before, after = searched(model, x, effort)
    moved = (before != after).any(1)[0]  # [6, 9]
    for rows in (slice(0, 4), slice(4, 6)):
        for columns in (slice(0, 4), slice(4, 8), slice(8, 9)):
            assert moved[rows, columns].any()
    assert cost(model, x, after) < cost(model, x, before)


def test_soft_rounding_hardens() -> None:
    y = torch.linspace(-2.9, 2.9, 59)[None].repeat(4000, 1)
    noise = torch.Generator().manual_seed(0)
    warm, cold = refine.soft_round(y, 0.5, noise), refine.soft_round(y, 0.02, noise)
    for soft in (warm, cold):
        assert bool(((soft >= y.floor()) & (soft <= y.floor() + 1)).all())
    assert (
        float((cold - cold.round()).abs().mean()) < 0.01 < float((warm - warm.round()).abs().mean())
    )
    # Nearly always the nearer one, and both equally often in the middle.
    share = (cold.round() == y.round()).float().mean(0)
    middle = ((y[0] - y[0].floor()) - 0.5).abs() < 0.05
    assert bool((share[~middle] > 0.95).all()) and bool((share[middle] < 0.95).all())
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(refine.soft_round(y, 0.5, noise).sum(), y)
    assert bool(gradient.isfinite().all()) and float(gradient.abs().max()) > 0


def test_files_of_every_effort(model: PhotoVLAE, photo: Path) -> None:
    pixels = crop(photo, 50, 70)
    picture = Picture(pixels)
    codec.encode(picture)  # the first loads the model
    state = torch.random.get_rng_state()
    files = [codec.encode(picture, 100 * QUALITY, effort=effort) for effort in (0, 1, 1)]
    assert torch.equal(state, torch.random.get_rng_state())
    assert files[1] == files[2] != files[0]
    assert codec.decode(files[1]).rgb.shape == pixels.shape
    assert container.info(files[1]).header.quality == container.info(files[0]).header.quality
    by_api = vlaec.compress(Image.fromarray(pixels), quality=100 * QUALITY, effort=1)
    assert by_api == files[1]


def test_progress_rises(model: PhotoVLAE, photo: Path) -> None:
    told: list[float] = []
    codec.encode(Picture(crop(photo, 32, 32)), 40, progress=told.append, effort=1)
    assert told == sorted(told) and told[-1] == 1 and len(told) > 12


@pytest.mark.parametrize("effort", [-1, 10, 1.5])
def test_no_such_effort(model: PhotoVLAE, effort: float) -> None:
    with pytest.raises(UsageError, match="effort"):
        codec.encode(Picture(np.zeros((8, 8, 3), np.uint8)), effort=effort)  # type: ignore[arg-type]
