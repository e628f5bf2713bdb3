"""The objective and MS-SSIM as a loss."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training import RECIPE

from vlaec.metrics import ssim
from vlaec.metrics.ssim import ms_ssim, window_size
from vlaec.networks import PhotoVLAE
from vlaec.train.photo.adversary import WARM_UP, Adversary
from vlaec.train.photo.losses import Losses, Objective
from vlaec.train.photo.recipe import Recipe
from vlaec.train.photo.terms import (
    ON_MEAN,
    ON_TEXTURE,
    TERMS,
    Judges,
    TextureScene,
    letter_error,
    muted,
)


def seeded() -> torch.Generator:
    """What an objective draws its noise from."""
    return torch.Generator().manual_seed(0)


class Distance(nn.Module):
    """In place of LPIPS: squared error."""

    def features(self, x: Tensor) -> list[Tensor]:
        return [x]

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        return (a[0] - b[0]).square().mean((1, 2, 3))


def judges() -> Judges:
    """Stand-ins for the networks, whose weights are not everywhere."""
    stand_in, adversary = Distance(), Adversary()
    adversary.steps = WARM_UP  # its verdict counts in full
    return Judges(stand_in, stand_in, Maps(), adversary)  # type: ignore[arg-type]


class Maps(nn.Module):
    """In place of VGG16's: pixels, at sizes that halve."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [nn.functional.avg_pool2d(x - 0.5, 2 ** (i % 4)) for i in range(9)]


def evaluate(recipe: Recipe, corner: tuple[int, int] | None) -> tuple[Losses, PhotoVLAE]:
    torch.manual_seed(0)
    model = PhotoVLAE(recipe.model)
    objective = Objective(model, recipe, judges())
    x = torch.rand(2, 3, 64, 64)
    losses = objective(x, torch.tensor([0.2, 0.9]), corner, seeded())
    losses.total.backward()
    return losses, model


def test_gradients_reach_every_parameter_in_stage_b() -> None:
    _, model = evaluate(RECIPE.weighted(lpips=1.0), (16, 0))
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_stage_a_leaves_the_sampler_alone() -> None:
    losses, model = evaluate(RECIPE, None)
    assert losses.terms == {} and set(losses.measures) == {"bpp", "mse"}
    assert all(p.grad is None for p in model.pixelcnn.parameters())


def test_the_samples_distance_leaves_the_mean_alone() -> None:
    _, without = evaluate(RECIPE.weighted(nll=0.0), (0, 0))
    _, with_it = evaluate(RECIPE.weighted(nll=0.0, lpips=5.0), (0, 0))
    assert torch.equal(without.to_mean.weight.grad, with_it.to_mean.weight.grad)
    assert with_it.to_features.weight.grad.abs().sum() > 0
    _, on_mean = evaluate(RECIPE.weighted(nll=0.0, mean_lpips=5.0), (0, 0))
    assert not torch.equal(without.to_mean.weight.grad, on_mean.to_mean.weight.grad)


def test_a_share_of_the_textures_gradient_reaches_the_encoder() -> None:
    def gradient(share: float, weight: float = 1e4) -> Tensor:
        torch.manual_seed(0)
        recipe = replace(RECIPE.weighted(lpips=weight), encoder_share=share)
        model = PhotoVLAE(recipe.model)
        nn.init.normal_(model.to_detail.weight, std=0.1)
        objective = Objective(model, recipe, judges())
        x, level = torch.rand(2, 3, 64, 64), torch.tensor([0.2, 0.9])
        objective(x, level, (0, 0), seeded()).total.backward()
        assert model.to_latent.weight.grad is not None
        return model.to_latent.weight.grad

    without, whole, half = gradient(0.0), gradient(1.0), gradient(0.5)
    assert torch.equal(without, gradient(0.0, 1.0))
    reach = whole - without
    assert reach.abs().max() > without.abs().max()
    torch.testing.assert_close(half - without, reach / 2, atol=1e-3 * float(reach.max()), rtol=1e-3)


def test_texture_on_some_of_the_crops() -> None:
    """Their number changes what is measured in stage B, and nothing in stage C."""
    recipe = RECIPE.weighted(lpips=1.0)
    x, level = torch.rand(2, 3, 64, 64), torch.tensor([0.2, 0.9])
    found = {}
    for structure in (True, False):
        for crops in (0, 1, 2):
            torch.manual_seed(0)
            model = PhotoVLAE(recipe.model)
            own = replace(recipe, texture_crops=crops)
            objective = Objective(model, own, judges())
            losses = objective(x, level, (0, 0), seeded(), structure)
            found[structure, crops] = losses.terms["lpips"].item()
    assert found[True, 0] == found[True, 2] != found[True, 1]
    assert found[False, 0] == found[False, 1] == found[False, 2]


def test_the_second_perceptual_loss_sees_some_crops_too() -> None:
    def gradient(crops: int) -> Tensor:
        recipe = replace(RECIPE.weighted(nll=0.0, vgg_lpips=1.0), crops={"vgg_lpips": crops})
        torch.manual_seed(0)
        model = PhotoVLAE(recipe.model)
        objective = Objective(model, recipe, judges())
        detail = torch.zeros(2, 3, 32, 32, requires_grad=True)
        features = torch.randn(2, recipe.model.features, 32, 32)
        noise = objective.texture.draw_noise(features, False, seeded())
        x = torch.rand(2, 3, 32, 32)
        terms, _ = objective.texture(x, detail.detach(), detail, features, noise)
        terms["vgg_lpips"].backward()
        assert "lpips" not in terms and detail.grad is not None
        return detail.grad.flatten(1).any(1)

    assert gradient(1).tolist() == [True, False] and gradient(2).all()


def test_the_likelihood_of_some_crops_too() -> None:
    def gradient(crops: int) -> Tensor:
        torch.manual_seed(0)
        recipe = replace(RECIPE, crops={"nll": crops})
        objective = Objective(PhotoVLAE(recipe.model), recipe, Judges())
        features = torch.randn(2, recipe.model.features, 32, 32, requires_grad=True)
        zeros = torch.zeros(2, 3, 32, 32)
        noise = objective.texture.draw_noise(features, False, seeded())
        terms, _ = objective.texture(torch.rand(2, 3, 32, 32), zeros, zeros, features, noise)
        terms["nll"].backward()
        assert features.grad is not None
        return features.grad.flatten(1).any(1)

    assert gradient(1).tolist() == [True, False] and gradient(0).all()


def test_hot_samples_vary_more_and_none_less() -> None:
    """Mixtures of equal logits at scale s: the noise's spread shows in the sample."""
    sampled = {}
    for heat in (1.0, 3.0):
        torch.manual_seed(0)
        recipe = replace(RECIPE, heat=heat)
        model = PhotoVLAE(recipe.model)
        objective = Objective(model, recipe, Judges())
        features = torch.zeros(64, recipe.model.features, 16, 16)
        noise = objective.texture.sampling_noise((64, 16, 16), seeded())
        sample = objective.texture.sample(features, noise)
        sampled[heat] = sample.detach().std((1, 2, 3))  # [64]
    ratio = sampled[3.0] / sampled[1.0].mean()
    assert 0.9 < ratio.min() < 1.1 and 2 < ratio.max() < 3.3 and ratio.median() < 1.5


def test_the_exact_sample_and_many_jacobi_steps_agree() -> None:
    sides = [replace(RECIPE.weighted(lpips=1.0), jacobi_steps=steps) for steps in (0, 200)]
    exact, jacobi = (evaluate(recipe, (0, 0))[0] for recipe in sides)
    torch.testing.assert_close(exact.terms["lpips"], jacobi.terms["lpips"], atol=1e-4, rtol=1e-3)


ALL = dict.fromkeys(TERMS, 1.0)


@torch.no_grad()
def of_everything(last: bool, **weights: float) -> Losses:
    recipe = replace(RECIPE, weights=ALL, last_weights=weights, texture_crop=80)
    torch.manual_seed(0)
    objective = Objective(
        PhotoVLAE(recipe.model), recipe if last else recipe.weighted(**weights), judges()
    )
    x, lettering = torch.rand(2, 3, 128, 128), torch.rand(2, 1, 128, 128)
    level = torch.tensor([0.2, 0.9])
    return objective(x, level, (0, 0), seeded(), structure=not last, lettering=lettering)


@pytest.fixture(scope="module", params=[False, True], ids=["B", "C"])
def everything(request: pytest.FixtureRequest) -> tuple[bool, Losses]:
    return request.param, of_everything(request.param)


@pytest.mark.parametrize("name", TERMS)
def test_the_total_moves_with_a_weight_by_the_term(
    name: str, everything: tuple[bool, Losses]
) -> None:
    """For every weight, d total / d weight is the term: none is dropped, none counts twice."""
    last, before = everything
    after = of_everything(last, **{name: 21.0})
    if name in ON_MEAN if last else TERMS[name].last:
        assert name not in after.terms and after.total == before.total
        return
    term = after.terms[name].item()
    assert abs(term) > 1e-3 and term == before.terms[name].item()
    assert (after.total - before.total).item() / 20 == pytest.approx(term, rel=1e-2, abs=1e-4)


def test_a_batch_may_be_smaller_than_what_losses_look_at() -> None:
    """As where a GPU's memory does not suffice."""
    found = []
    for crops in (0, 16):
        torch.manual_seed(0)
        recipe = replace(RECIPE.weighted(wd=1.0, ged=1.0), crops={"maps": crops})
        losses = Objective(PhotoVLAE(recipe.model), recipe, judges())(
            torch.rand(2, 3, 64, 64), torch.tensor([0.2, 0.9]), (0, 0), seeded()
        )
        found.append(losses.total.item())
    assert found[0] == found[1]


def test_the_rate_distortion_loss_is_what_it_says() -> None:
    recipe = replace(RECIPE, balance=0.3)
    torch.manual_seed(0)
    model = PhotoVLAE(recipe.model)
    x, level = torch.rand(1, 3, 64, 64), torch.tensor([0.9])
    losses = Objective(model, recipe, Judges())(x, level, None, seeded())
    rate, mse = losses.measures["bpp"].item(), losses.measures["mse"].item()
    factor = recipe.model.rate_weight(0.9)
    expected = (rate + factor * mse) * (factor / recipe.model.rate_weight(0.5)) ** -0.3
    assert losses.total.item() == pytest.approx(expected, rel=1e-5)


def test_stage_c_may_have_weights_of_its_own() -> None:
    recipe = replace(RECIPE.weighted(wd=0.0), last_weights={"wd": 2.0, "energy": 0.0})
    torch.manual_seed(0)
    objective = Objective(PhotoVLAE(recipe.model), recipe, judges())
    x, level = torch.rand(2, 3, 64, 64), torch.tensor([0.2, 0.9])
    names = [
        set(objective(x, level, (0, 0), seeded(), structure).terms) for structure in (True, False)
    ]
    assert names == [{"energy", "nll", "log_mse"}, {"wd", "nll", "log_mse"}]


def test_what_lettering_looks_like_is_judged_by_its_error_alone() -> None:
    """Where letters are, no other loss moves the texture; elsewhere the two do not meet."""
    target, mean, texture = torch.rand(3, 2, 3, 64, 64, generator=seeded())
    lettering = torch.zeros(2, 1, 64, 64)
    lettering[:, :, :, :32] = 1

    def gradient(name: str) -> Tensor:
        picture = texture.clone().requires_grad_()
        seen = muted(target, picture, lettering)
        error = letter_error(target, picture, lettering)
        scene = TextureScene(target, mean, seen, torch.zeros(()), judges(), error)
        ON_TEXTURE[name].measure(scene).backward()
        assert picture.grad is not None
        return picture.grad != 0

    for name in ("lpips", "energy", "log_mse"):
        moved = gradient(name)
        assert not moved[..., :32].any() and moved[..., 32:].any()
    moved = gradient("texture_lettering")
    assert moved[..., :32].all() and not moved[..., 32:].any()
    # Without lettering nothing is muted, and nothing is an error.
    assert muted(target, texture, None) is texture
    assert not letter_error(target, texture, None).any()


def test_letters_count_where_they_are() -> None:
    torch.manual_seed(0)
    objective = Objective(PhotoVLAE(RECIPE.model), RECIPE.weighted(lettering=2.0), judges())
    x, level = torch.rand(2, 3, 64, 64), torch.tensor([0.2, 0.9])
    found = []
    for lettering in (None, torch.zeros(2, 1, 64, 64), torch.ones(2, 1, 64, 64)):
        losses = objective(x, level, None, seeded(), lettering=lettering)
        found.append((losses.total.item(), losses.terms["lettering"].item()))
    assert found[0] == found[1] and found[0][1] == 0
    assert found[2][0] - found[0][0] == pytest.approx(2 * found[2][1], rel=1e-4)


def test_recipes_of_old_cards_still_load() -> None:
    old = {"perceptual_weight": 6.0, "vgg_weight": 4.0, "vgg_crops": 3, "variance_weight": 0.7}
    recipe = Recipe.from_dict({**old, "energy_weight": 0.0, "likelihood_crops": 6})
    weights = {"lpips": 6.0, "nll": 0.02, "log_mse": 0.2, "vgg_lpips": 4.0, "variance": 0.7}
    assert recipe.weights == weights and recipe.crops == {"vgg_lpips": 3, "nll": 6}
    assert Recipe.from_dict({}) == Recipe()
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(ValueError, match="no such losses: warmth"):
        recipe.weighted(warmth=1.0)


def test_ms_ssim_counts_as_distortion() -> None:
    plain, _ = evaluate(RECIPE, None)
    both, _ = evaluate(RECIPE.weighted(ms_ssim=1000.0), None)
    assert both.terms["ms_ssim"] > 0 and "ms_ssim" not in plain.terms
    assert both.total > plain.total and both.measures["mse"] == plain.measures["mse"]


def pair(side: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    a = torch.rand(2, channels, side, side + 7, generator=generator)
    a = F.avg_pool2d(a, 5, 1, 2)
    return a, (a + 0.05 * torch.randn(a.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("side", [176, 193, 256])
def test_ms_ssim_agrees_with_pytorch_msssim(side: int) -> None:
    reference = pytest.importorskip("pytorch_msssim")
    a, b = pair(side)
    expected = reference.ms_ssim(a, b, data_range=1.0, size_average=False)
    torch.testing.assert_close(ms_ssim(a, b), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [64, 128])
def test_ms_ssim_of_training_crops_agrees_for_their_window(side: int) -> None:
    reference = pytest.importorskip("pytorch_msssim")
    a, b = pair(side)
    size = window_size(side)
    expected = reference.ms_ssim(a, b, data_range=1.0, size_average=False, win_size=size)
    torch.testing.assert_close(ms_ssim(a, b), expected, atol=1e-5, rtol=0)


def test_ms_ssim_orders_pictures_and_has_gradients() -> None:
    a, b = pair(128)
    assert torch.allclose(ms_ssim(a, a), torch.ones(2), atol=1e-6)
    worse = (a + 2 * (b - a)).clamp(0, 1)
    assert (ms_ssim(worse, a) < ms_ssim(b, a)).all()
    for picture in (b, torch.zeros_like(a), 1 - a):
        moved = picture.clone().requires_grad_()
        ms_ssim(moved, a).sum().backward()
        assert moved.grad is not None and bool(moved.grad.isfinite().all())


def test_the_filters_gradient_is_that_of_autograd() -> None:
    x = torch.rand(2, 3, 20, 17, requires_grad=True)
    window = torch.softmax(-((torch.arange(7) - 3.0) ** 2), 0)
    blurred, plain = ssim._blur(x, window), ssim._filtered(x, window)
    above = torch.rand_like(blurred)
    ours, theirs = (torch.autograd.grad(y, x, above)[0] for y in (blurred, plain))
    torch.testing.assert_close(ours, theirs)


def test_ms_ssim_is_not_computed_in_bfloat16() -> None:
    a, b = pair(128)
    with torch.autocast("cpu", torch.bfloat16):
        inside = ms_ssim(a, b)
    assert torch.equal(inside, ms_ssim(a, b))


def test_window_sizes() -> None:
    assert [window_size(s) for s in (48, 64, 80, 128, 175, 176, 4000)] == [3, 3, 5, 7, 9, 11, 11]
    with pytest.raises(ValueError, match="48"):
        window_size(47)
