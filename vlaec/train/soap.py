"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al. 2024, arXiv 2409.11321).

Learned codecs need hundreds of thousands of Adam steps, since rate and distortion pull the same
weights in different directions; in rotated coordinates, where the gradient's components are nearly
uncorrelated, far fewer do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Largest root mean square of a step, in units of the learning rate, before Adam's correction of the
# young first moment (which a warm-up outweighs); on pure noise Adam's own is 0.23.
UPDATE_BOUND = 0.3
# Steps between two measurements of the covariances, which cost as much as a rotation.
MEASURE_EVERY = 2
# What `orthonormal` adds to the eigenvalues, in units of their mean: directions of less variance
# are left as they are.
RIDGE = 1e-4


class SOAP(torch.optim.Optimizer):
    """Convolution weights [O, I, h, w] have one rotation over O and one over I, sides longer than
    `longest` none; all else is left as it is, which is Adam with bounded steps.

    The rotations follow the gradients' covariances by one QR step of the power iteration every
    `refresh` updates. Both moments are kept in rotated coordinates, so a step takes two rotations:
    of the gradient and of the update. Parameters of one shape are computed together, and nothing
    waits for a GPU but the first step of a parameter.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        memory: float = 0.95,
        refresh: int = 10,
        longest: int = 1024,
        eps: float = 1e-8,
    ) -> None:
        """
        Args:
            betas: decays of the first and second moment per step.
            memory: decay of the covariances per measurement, of which there is one in
                MEASURE_EVERY steps.
            refresh: steps between two rotations of the basis.
            longest: side of a weight that is rotated: a rotation takes its cube of operations.
        """
        self.longest = longest
        settings = {"lr": lr, "betas": betas, "memory": memory, "refresh": refresh, "eps": eps}
        super().__init__(parameters, settings)
        self._stacks: list[list[_Stack]] = [[] for _ in self.param_groups]

    # As for PyTorch's fused optimisers: where it is set and not 0, `step` changes nothing.
    found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; the first only measures the covariances."""
        sound = None if self.found_inf is None else self.found_inf == 0
        for number, group in enumerate(self.param_groups):
            active = [p for p in group["params"] if p.grad is not None]
            if sum(len(s.parameters) for s in self._stacks[number]) != len(active) or any(
                p.grad is None for s in self._stacks[number] for p in s.parameters
            ):
                self._stacks[number] = self._stacked(active)
            for stack in self._stacks[number]:
                stack.update(group, sound)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a state."""
        super().load_state_dict(state_dict)
        self._stacks = [[] for _ in self.param_groups]

    def _stacked(self, parameters: list[nn.Parameter]) -> list[_Stack]:
        """Parameters in groups of equal shape, layout and age."""
        alike: dict[tuple[Any, ...], list[nn.Parameter]] = {}
        for p in parameters:
            key = (p.shape, p.stride(), p.device, self.state[p].get("step"))
            alike.setdefault(key, []).append(p)
        return [
            _Stack(members, [self.state[p] for p in members], self.longest)
            for members in alike.values()
        ]


class _Stack:
    """Parameters of one shape. Their states hold views of its tensors."""

    def __init__(
        self, parameters: list[nn.Parameter], states: list[dict[str, Any]], longest: int
    ) -> None:
        self.parameters, self.states = parameters, states
        self.convolution = parameters[0].ndim == 4
        sides = parameters[0].shape[:2] if self.convolution else ()
        self.sides = [side for side, size in enumerate(sides) if size <= longest]
        # [O, K, I] is how channels_last keeps a convolution's weight [O, I, h, w].
        self.targets = [self._flat(p.detach()) for p in parameters]
        self.step: int | None = states[0].get("step")
        if self.step is not None:
            self.first = torch.stack([s["first"] for s in states])
            self.second = torch.stack([s["second"] for s in states])
            if self.convolution:
                self.covariances, self.bases = (
                    {side: torch.stack([s[name][side] for s in states]) for side in self.sides}
                    for name in ("covariances", "bases")
                )
            self._share()

    def update(self, group: dict[str, Any], sound: Tensor | None) -> None:
        """One step of all parameters; none where `sound`, a boolean on their device, is false."""
        gradient = torch.stack([self._flat(p.grad) for p in self.parameters]).float()
        if sound is not None:
            gradient = torch.where(sound, gradient, 0)
        if self.step is None:
            self._begin(gradient)
            return
        self.step += 1
        for state in self.states:
            state["step"] = self.step
        step, (beta1, beta2) = self.step, group["betas"]

        def share(x: float) -> Any:
            return x if sound is None else x * sound.to(gradient)

        rotated = self._into(gradient)
        self.first.lerp_(rotated, share(1 - beta1))
        self.second.lerp_(rotated.square(), share(1 - beta2))
        scale = (self.second / (1 - beta2**step)).sqrt_().add_(group["eps"])
        update = self.first / scale
        # The second moments of a basis that has just moved belong to another: no leaps then.
        size = update.flatten(1).square().mean(1).sqrt()
        factor = (UPDATE_BOUND / size).clamp(max=1)
        if sound is not None:
            factor = torch.where(sound, factor, 0)
        update *= factor.view(-1, *[1] * (update.ndim - 1))
        update = self._out_of(update)
        torch._foreach_add_(self.targets, list(update), alpha=-group["lr"] / (1 - beta1**step))
        if self.sides and step % MEASURE_EVERY == 0:
            for side, covariance in self.covariances.items():
                covariance.lerp_(_covariance(gradient, side), share(1 - group["memory"]))
            if step % group["refresh"] == 0:
                self._refresh()

    def _begin(self, gradient: Tensor) -> None:
        self.step = 0
        self.first, self.second = torch.zeros_like(gradient), torch.zeros_like(gradient)
        if self.convolution:
            self.covariances = {side: _covariance(gradient, side) for side in self.sides}
            self.bases = {side: _eigenvectors(c) for side, c in self.covariances.items()}
        self._share()

    def _refresh(self) -> None:
        """One step of the orthogonal iteration; the first moment moves along, the second stays with
        the basis vector of its rank."""
        new = {}
        for side, covariance in self.covariances.items():
            basis = self.bases[side]
            image = covariance @ basis
            order = (basis * image).sum(1).argsort(dim=1, descending=True)  # [B, D]
            along = order.view(len(order), *((-1, 1, 1), (1, 1, -1))[side])
            self.second.copy_(self.second.gather(1 + 2 * side, along.expand_as(self.second)))
            columns = order[:, None].expand_as(basis)
            new[side] = orthonormal(covariance, basis.gather(2, columns))
        # Out of the old basis, into the new.
        moved = self._out_of(self.first)
        for side, fresh in new.items():
            self.bases[side].copy_(fresh)
        self.first.copy_(self._into(moved))

    def _into(self, x: Tensor) -> Tensor:
        """Coordinates of x in the bases."""
        return _rotate(x, self.bases) if self.sides else x

    def _out_of(self, x: Tensor) -> Tensor:
        """The inverse of `_into`."""
        return _rotate(x, {side: b.mT for side, b in self.bases.items()}) if self.sides else x

    def _flat(self, x: Tensor | None) -> Tensor:
        assert x is not None
        return x.permute(0, 2, 3, 1).flatten(1, 2) if self.convolution else x

    def _share(self) -> None:
        """Let every parameter's state see its own part."""
        for i, state in enumerate(self.states):
            state.update(step=self.step, first=self.first[i], second=self.second[i])
            if self.convolution:
                state["covariances"] = {side: c[i] for side, c in self.covariances.items()}
                state["bases"] = {side: b[i] for side, b in self.bases.items()}


def orthonormal(covariance: Tensor, basis: Tensor) -> Tensor:
    """The Q of QR of covariance @ basis, both [B, D, D]: one step of the orthogonal iteration.

    On a GPU by products and Cholesky factors of whole batches, twice, since it has no fast QR (see
    Yamamoto et al. 2015, "Roundoff error analysis of the CholeskyQR2 algorithm"); a basis for which
    that fails stays.
    """
    if covariance.device.type == "cpu":
        return torch.linalg.qr(covariance @ basis)[0]
    return cholesky_qr(covariance, basis)


def cholesky_qr(covariance: Tensor, basis: Tensor) -> Tensor:
    """`orthonormal` without a QR, of a covariance with a small ridge."""
    old, c = basis.double(), covariance.double()
    ridge = RIDGE * c.diagonal(dim1=1, dim2=2).mean(1)
    q = c @ old + ridge[:, None, None] * old
    q = q / q.square().sum(1, keepdim=True).sqrt().clamp_min(1e-300)
    sound = torch.ones_like(ridge, dtype=torch.bool)
    for _ in range(2):
        lower, failed = torch.linalg.cholesky_ex(q.mT @ q)
        q = torch.linalg.solve_triangular(lower, q.mT, upper=False).mT
        sound &= failed == 0
    unit = torch.eye(q.shape[1], device=q.device, dtype=q.dtype)
    sound &= (q.mT @ q - unit).abs().amax((1, 2)) < 1e-4
    return torch.where(sound[:, None, None], q.to(basis.dtype), basis)


def _covariance(gradient: Tensor, side: int) -> Tensor:
    """Covariance [B, O, O] or [B, I, I] of gradients [B, O, K, I], by their side 0 or 1."""
    rows = gradient.flatten(2) if side == 0 else gradient.flatten(1, 2).mT
    return rows @ rows.mT


def _eigenvectors(covariance: Tensor) -> Tensor:
    """Eigenvectors of [B, D, D], which may have little rank: in float64, where that is harmless."""
    c = covariance.double().cpu()
    c = c / c.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)[:, None, None]
    c.diagonal(dim1=1, dim2=2).add_(1e-6)
    return torch.linalg.eigh(c)[1].to(covariance).contiguous()


def _rotate(x: Tensor, bases: dict[int, Tensor]) -> Tensor:
    """Coordinates of x [B, O, K, I] in bases [B, D, D] of its sides, whose columns are the basis
    vectors."""
    if 0 in bases:
        x = (bases[0].mT @ x.flatten(2)).view(x.shape)
    if 1 in bases:
        x = (x.flatten(1, 2) @ bases[1]).view(x.shape)
    return x
