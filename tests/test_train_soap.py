"""SOAP: Adam in rotated coordinates."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlaec.train.soap import SOAP, UPDATE_BOUND, cholesky_qr


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(6, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 5, 1))


def mixed(n: int, channels: int) -> Tensor:
    """Inputs [n, channels, 8, 8] whose channels are strongly correlated, of very unequal size."""
    mixing = torch.linalg.qr(torch.randn(channels, channels))[0]
    mixing = mixing * torch.logspace(0, -2, channels)
    return torch.einsum("oc,nchw->nohw", mixing, torch.randn(n, channels, 8, 8))


def fit(optimiser: str, steps: int) -> float:
    """Loss after learning a map of badly conditioned inputs, in steps of one largest size."""
    torch.manual_seed(0)
    student = nn.Conv2d(16, 16, 3, padding=1)
    x = mixed(8, 16)
    target = F.conv2d(x, torch.randn(16, 16, 3, 3) * 3, padding=1)
    parameters = list(student.parameters())
    chosen: torch.optim.Optimizer = SOAP(parameters, 0.02 / UPDATE_BOUND)
    if optimiser == "adam":
        chosen = torch.optim.Adam(parameters, 0.02, betas=(0.9, 0.99))
    for _ in range(steps):
        chosen.zero_grad()
        loss = (student(x) - target).square().mean()
        loss.backward()
        chosen.step()
    return float(loss.detach())


def test_where_directions_differ_it_needs_fewer_steps() -> None:
    assert fit("soap", 400) < 0.5 * fit("adam", 400)


def test_steps_are_bounded() -> None:
    model = network()
    optimiser = SOAP(model.parameters(), lr=1.0, betas=(0.0, 0.99))
    for scale in (1.0, 1e-6, 1e3, 1e3, 1.0) * 5:
        before = [p.detach().clone() for p in model.parameters()]
        for p in model.parameters():
            p.grad = scale * torch.randn_like(p)
        optimiser.step()
        for old, new in zip(before, model.parameters(), strict=True):
            assert (new - old).square().mean().sqrt() <= UPDATE_BOUND * 1.001


def test_turning_all_gradients_turns_all_steps() -> None:
    """In rotated coordinates it does the rotated steps: the basis of the weights does not matter.

    Up to the refreshed basis's own freedom, which generic gradients do not leave.
    """
    torch.manual_seed(1)
    turn = torch.linalg.qr(torch.randn(8, 8))[0]
    plain, turned = (nn.Parameter(torch.zeros(8, 7, 1, 1)) for _ in range(2))
    optimisers = [SOAP([p], lr=0.1, betas=(0.9, 0.99)) for p in (plain, turned)]
    spread = torch.logspace(0, -1.5, 8)[:, None]
    for _ in range(25):
        gradient = spread * torch.randn(8, 7)
        plain.grad = gradient[:, :, None, None].clone()
        turned.grad = (turn @ gradient)[:, :, None, None].clone()
        for optimiser in optimisers:
            optimiser.step()
    expected = turn @ plain.detach()[:, :, 0, 0]
    torch.testing.assert_close(turned.detach()[:, :, 0, 0], expected, atol=2e-3, rtol=1e-2)


def test_a_bad_step_is_skipped() -> None:
    model = network()
    optimiser = SOAP(model.parameters(), lr=0.1)
    for bad in (0.0, 0.0, 1.0):
        before = copy.deepcopy(model.state_dict())
        for p in model.parameters():
            p.grad = torch.full_like(p, float("nan")) if bad else torch.randn_like(p)
        optimiser.found_inf = torch.tensor(bad)
        optimiser.step()
    for name, old in before.items():
        assert torch.equal(old, model.state_dict()[name])


def test_its_state_can_be_saved_and_taken_up() -> None:
    torch.manual_seed(0)
    gradients = [[torch.randn_like(p) for p in network().parameters()] for _ in range(14)]

    def run(cut: int | None) -> list[Tensor]:
        model = network()
        optimiser = SOAP(model.parameters(), lr=0.01)
        for step, values in enumerate(gradients):
            if step == cut:
                state = copy.deepcopy(optimiser.state_dict())
                optimiser = SOAP(model.parameters(), lr=0.01)
                optimiser.load_state_dict(state)
            for p, value in zip(model.parameters(), values, strict=True):
                p.grad = value.clone()
            optimiser.step()
        return [p.detach() for p in model.parameters()]

    for a, b in zip(run(None), run(7), strict=True):
        assert torch.equal(a, b)


def test_parameters_without_gradients_stay() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    SOAP(model.parameters(), lr=0.1).step()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("zero", [0.0, 1e-12])
def test_vanishing_gradients_do_no_harm(zero: float) -> None:
    model = network()
    optimiser = SOAP(model.parameters(), lr=0.1)
    for _ in range(25):
        for p in model.parameters():
            p.grad = zero * torch.randn_like(p)
        optimiser.step()
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_parameters_of_one_shape_are_computed_together_as_if_alone() -> None:
    torch.manual_seed(0)
    together = [nn.Parameter(torch.randn(6, 5, 3, 3)) for _ in range(3)]
    together.append(nn.Parameter(torch.randn(7)))
    alone = [nn.Parameter(p.detach().clone()) for p in together]
    optimisers = [SOAP(together, lr=0.01), *(SOAP([p], lr=0.01) for p in alone)]
    for step in range(25):
        for i, (p, q) in enumerate(zip(together, alone, strict=True)):
            # One of them takes part from the 5th step on only.
            p.grad = None if i == 1 and step < 5 else torch.randn_like(p)
            q.grad = p.grad
        for optimiser in optimisers:
            optimiser.step()
    for p, q in zip(together, alone, strict=True):
        torch.testing.assert_close(p, q, atol=1e-5, rtol=1e-5)


def test_the_orthogonal_iteration_without_qr() -> None:
    torch.manual_seed(0)
    factors = torch.randn(4, 24, 24) * torch.logspace(0, -3, 24)[:, None]
    covariance = factors @ factors.mT
    basis = torch.linalg.qr(torch.randn(4, 24, 24))[0]
    for _ in range(60):
        basis = cholesky_qr(covariance, basis)
    unit = torch.eye(24).expand(4, -1, -1)
    torch.testing.assert_close(basis.mT @ basis, unit, atol=1e-5, rtol=0)
    turned = basis.mT @ covariance @ basis
    values = torch.linalg.eigvalsh(covariance.double()).flip(1).float()
    torch.testing.assert_close(
        turned.diagonal(dim1=1, dim2=2)[:, :6], values[:, :6], rtol=0.05, atol=0
    )

    once = cholesky_qr(covariance, basis)
    expected = torch.linalg.qr(
        (
            covariance.double()
            + 1e-4
            * covariance.diagonal(dim1=1, dim2=2).double().mean(1)[:, None, None]
            * torch.eye(24).double()
        )
        @ basis.double()
    )[0].float()
    torch.testing.assert_close(once.abs(), expected.abs(), atol=1e-4, rtol=0)
    for hopeless in (torch.zeros_like(covariance), covariance * float("nan")):
        assert torch.equal(cholesky_qr(hopeless, basis), basis)


def test_long_sides_are_not_rotated() -> None:
    """With none rotated it is Adam with bounded steps, which treats elements one by one."""
    torch.manual_seed(0)
    gradients = torch.randn(12, 3, 8, 1, 1)
    found = []
    for shape in ((3, 8, 1, 1), (24,)):
        p = nn.Parameter(torch.zeros(shape))
        optimiser = SOAP([p], lr=0.1, longest=2)
        for gradient in gradients:
            p.grad = gradient.reshape(shape).clone()
            optimiser.step()
        found.append(p.detach().flatten())
    assert torch.allclose(*found, atol=1e-6)
    p = nn.Parameter(torch.zeros(3, 8, 1, 1))
    optimiser = SOAP([p], lr=0.1, longest=4)
    for gradient in gradients:
        p.grad = gradient.clone()
        optimiser.step()
    assert list(optimiser.state[p]["bases"]) == [0] and not torch.allclose(p.flatten(), found[0])
