"""The discriminator that learns beside the texture."""

from __future__ import annotations

import torch
from torch import Tensor

from vlaec.train.photo.adversary import WARM_UP, Adversary


def scene() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """True grain, half of it, the mean without any; the whole is texture."""
    mean = torch.full((2, 3, 32, 32), 0.5)
    grain = 0.1 * torch.randn(2, 3, 32, 32)
    return (
        mean + grain,
        (mean + grain / 2).requires_grad_(),
        mean,
        torch.full_like(mean[:, :1], 3.0),
    )


def test_it_learns_and_asks_for_stronger_grain() -> None:
    torch.manual_seed(1)
    adversary = Adversary()
    target, texture, mean, levels = scene()
    for _ in range(60):
        adversary(*scene())
    true, drawn = (adversary.network(x, mean).mean().item() for x in (target, texture))
    assert true > drawn + 0.5
    loss = adversary(target, texture, mean, levels)
    loss.backward()
    assert texture.grad is not None and bool(texture.grad.isfinite().all())
    assert (texture.grad * (texture.detach() - mean)).sum() < 0


def test_it_is_mute_at_first_and_where_nothing_was_lost() -> None:
    torch.manual_seed(1)
    adversary = Adversary()
    target, texture, mean, levels = scene()
    first = adversary(target, texture, mean, levels).item()
    adversary.steps = WARM_UP
    later = adversary(target, texture, mean, levels).item()
    assert 0 < first < 0.02 * later
    assert adversary(target, texture, mean, torch.zeros_like(levels)) == 0


def test_it_does_not_learn_while_it_is_only_asked() -> None:
    torch.manual_seed(1)
    adversary = Adversary()
    with torch.no_grad():
        adversary(*scene())
    assert adversary.steps == 0
