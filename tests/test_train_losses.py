"""The objective and MS-SSIM as a loss."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training import RECIPE

from vlaec.metrics.ssim import ms_ssim, window_size
from vlaec.networks import PhotoVLAE
from vlaec.train.photo.losses import Losses, Objective
from vlaec.train.photo.recipe import Recipe


class Distance(nn.Module):
    """In place of LPIPS: squared error."""

    def features(self, x: Tensor) -> list[Tensor]:
        return [x]

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        return (a[0] - b[0]).square().mean((1, 2, 3))


def evaluate(recipe: Recipe, corner: tuple[int, int] | None) -> tuple[Losses, PhotoVLAE]:
    torch.manual_seed(0)
    model = PhotoVLAE(recipe.model)
    objective = Objective(model, recipe, Distance())  # type: ignore[arg-type]
    x = torch.rand(2, 3, 64, 64)
    losses = objective(x, torch.tensor([0.2, 0.9]), corner)
    losses.total.backward()
    return losses, model


def test_gradients_reach_every_parameter_in_stage_b() -> None:
    _, model = evaluate(replace(RECIPE, perceptual_weight=1.0), (16, 0))
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_stage_a_leaves_the_sampler_alone() -> None:
    losses, model = evaluate(RECIPE, None)
    assert losses.likelihood == 0 and losses.perceptual == 0
    assert all(p.grad is None for p in model.pixelcnn.parameters())


def test_the_samples_distance_leaves_the_mean_alone() -> None:
    _, without = evaluate(replace(RECIPE, likelihood_weight=0.0), (0, 0))
    _, with_it = evaluate(replace(RECIPE, likelihood_weight=0.0, perceptual_weight=5.0), (0, 0))
    assert torch.equal(without.to_mean.weight.grad, with_it.to_mean.weight.grad)
    assert with_it.to_features.weight.grad.abs().sum() > 0
    _, on_mean = evaluate(
        replace(RECIPE, likelihood_weight=0.0, mean_perceptual_weight=5.0), (0, 0)
    )
    assert not torch.equal(without.to_mean.weight.grad, on_mean.to_mean.weight.grad)


def test_a_share_of_the_textures_gradient_reaches_the_encoder() -> None:
    def gradient(share: float, weight: float = 1e4) -> Tensor:
        torch.manual_seed(0)
        recipe = replace(RECIPE, perceptual_weight=weight, encoder_share=share)
        model = PhotoVLAE(recipe.model)
        nn.init.normal_(model.to_detail.weight, std=0.1)
        objective = Objective(model, recipe, Distance())  # type: ignore[arg-type]
        objective(torch.rand(2, 3, 64, 64), torch.tensor([0.2, 0.9]), (0, 0)).total.backward()
        assert model.to_latent.weight.grad is not None
        return model.to_latent.weight.grad

    without, whole, half = gradient(0.0), gradient(1.0), gradient(0.5)
    assert torch.equal(without, gradient(0.0, 1.0))
    reach = whole - without
    assert reach.abs().max() > without.abs().max()
    torch.testing.assert_close(half - without, reach / 2, atol=1e-3 * float(reach.max()), rtol=1e-3)


def test_texture_on_some_of_the_crops() -> None:
    """Their number changes what is measured in stage B, and nothing in stage C."""
    recipe = replace(RECIPE, perceptual_weight=1.0, texture_crops=1)
    x, level = torch.rand(2, 3, 64, 64), torch.tensor([0.2, 0.9])
    found = {}
    for structure in (True, False):
        for crops in (0, 1, 2):
            torch.manual_seed(0)
            model = PhotoVLAE(recipe.model)
            own = replace(recipe, texture_crops=crops)
            objective = Objective(model, own, Distance())  # type: ignore[arg-type]
            found[structure, crops] = objective(x, level, (0, 0), structure).perceptual.item()
    assert found[True, 0] == found[True, 2] != found[True, 1]
    assert found[False, 0] == found[False, 1] == found[False, 2]


def test_the_second_perceptual_loss_sees_some_crops_too() -> None:
    def gradient(crops: int) -> Tensor:
        recipe = replace(RECIPE, likelihood_weight=0.0, vgg_weight=1.0, vgg_crops=crops)
        torch.manual_seed(0)
        model = PhotoVLAE(recipe.model)
        objective = Objective(model, recipe, None, Distance())  # type: ignore[arg-type]
        detail = torch.zeros(2, 3, 32, 32, requires_grad=True)
        features = torch.randn(2, recipe.model.features, 32, 32)
        losses = objective.texture(torch.rand(2, 3, 32, 32), detail.detach(), detail, features)
        losses.vgg.backward()
        assert losses.perceptual == 0 and detail.grad is not None
        return detail.grad.flatten(1).any(1)

    assert gradient(1).tolist() == [True, False] and gradient(2).all()


def test_the_likelihood_of_some_crops_too() -> None:
    def gradient(crops: int) -> Tensor:
        torch.manual_seed(0)
        recipe = replace(RECIPE, likelihood_crops=crops)
        objective = Objective(PhotoVLAE(recipe.model), recipe, None)
        features = torch.randn(2, recipe.model.features, 32, 32, requires_grad=True)
        zeros = torch.zeros(2, 3, 32, 32)
        objective.texture(torch.rand(2, 3, 32, 32), zeros, zeros, features).likelihood.backward()
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
        objective = Objective(model, recipe, None)
        features = torch.zeros(64, recipe.model.features, 16, 16)
        sampled[heat] = objective.texture.sample(features).detach().std((1, 2, 3))  # [64]
    ratio = sampled[3.0] / sampled[1.0].mean()
    assert 0.9 < ratio.min() < 1.1 and 2 < ratio.max() < 3.3 and ratio.median() < 1.5


def test_the_exact_sample_and_many_jacobi_steps_agree() -> None:
    sides = [replace(RECIPE, perceptual_weight=1.0, jacobi_steps=steps) for steps in (0, 200)]
    exact, jacobi = (evaluate(recipe, (0, 0))[0] for recipe in sides)
    torch.testing.assert_close(exact.perceptual, jacobi.perceptual, atol=1e-4, rtol=1e-3)


def test_ms_ssim_counts_as_distortion() -> None:
    plain, _ = evaluate(RECIPE, None)
    both, _ = evaluate(replace(RECIPE, ms_ssim_weight=1000.0), None)
    assert plain.dissimilarity == 0 and 0 < both.dissimilarity <= 1
    assert both.total > plain.total and both.mse == plain.mse


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
    assert (ms_ssim(a, worse) < ms_ssim(a, b)).all()
    for picture in (b, torch.zeros_like(a), 1 - a):
        moved = picture.clone().requires_grad_()
        ms_ssim(a, moved).sum().backward()
        assert moved.grad is not None and bool(moved.grad.isfinite().all())


def test_ms_ssim_is_not_computed_in_bfloat16() -> None:
    a, b = pair(128)
    with torch.autocast("cpu", torch.bfloat16):
        inside = ms_ssim(a, b)
    assert torch.equal(inside, ms_ssim(a, b))


def test_window_sizes() -> None:
    assert [window_size(s) for s in (48, 64, 80, 128, 175, 176, 4000)] == [3, 3, 5, 7, 9, 11, 11]
    with pytest.raises(ValueError, match="48"):
        window_size(47)
