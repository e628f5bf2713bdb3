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


class SOAP(torch.optim.Optimizer):
    """Convolution weights [O, I, h, w] have one rotation over O and one over I; all else is
    left as it is, which is Adam with bounded steps.

    The rotations follow the gradients' covariances by one QR step of the power iteration every
    `refresh` updates. Both moments are kept in rotated coordinates, so a step takes two rotations:
    of the gradient and of the update.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        memory: float = 0.95,
        refresh: int = 10,
        eps: float = 1e-8,
    ) -> None:
        """
        Args:
            betas: decays of the first and second moment per step.
            memory: decay of the covariances per measurement, of which there is one in
                MEASURE_EVERY steps.
            refresh: steps between two rotations of the basis.
        """
        settings = {"lr": lr, "betas": betas, "memory": memory, "refresh": refresh, "eps": eps}
        super().__init__(parameters, settings)

    # As for PyTorch's fused optimisers: where it is set and not 0, `step` does nothing.
    found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; the first only measures the covariances."""
        if self.found_inf is not None and self.found_inf:
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad.float(), group)

    def _update(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if gradient.ndim == 4:
            # [O, K, I] is how channels_last keeps a convolution's weight [O, I, h, w].
            gradient = gradient.flatten(2).transpose(1, 2).contiguous()
        if not state:
            state["step"] = 0
            state["first"] = torch.zeros_like(gradient, memory_format=torch.contiguous_format)
            state["second"] = torch.zeros_like(state["first"])
            if gradient.ndim == 3:
                state["covariances"] = _covariances(gradient)
                state["bases"] = [_eigenvectors(c) for c in state["covariances"]]
                return
        state["step"] += 1
        step, (beta1, beta2) = state["step"], group["betas"]
        rotated = _rotate(gradient, state["bases"]) if "bases" in state else gradient
        first, second = state["first"], state["second"]
        first.lerp_(rotated, 1 - beta1)
        second.lerp_(rotated.square(), 1 - beta2)
        scale = (second / (1 - beta2**step)).sqrt_().add_(group["eps"])
        update = first / scale
        # The second moments of a basis that has just moved are those of another: no leaps then.
        update *= (UPDATE_BOUND / update.square().mean().sqrt()).clamp(max=1)
        if "bases" in state:
            update = _rotate(update, [b.T for b in state["bases"]])
            update = update.transpose(1, 2)
        parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] / (1 - beta1**step))
        if "bases" in state and step % MEASURE_EVERY == 0:
            for covariance, seen in zip(state["covariances"], _covariances(gradient), strict=True):
                covariance.lerp_(seen, 1 - group["memory"])
            if step % group["refresh"] == 0:
                _refresh(state)


def _covariances(gradient: Tensor) -> list[Tensor]:
    """Of a gradient [O, K, I]: [O, O] and [I, I]."""
    rows, columns = gradient.flatten(1), gradient.flatten(0, 1)
    return [rows @ rows.T, columns.T @ columns]


def _eigenvectors(covariance: Tensor) -> Tensor:
    """Of a [D, D], which may have little rank; in float64, where that does no harm."""
    c = covariance.double()
    c = c / c.diagonal().mean().clamp_min(1e-30)
    c.diagonal().add_(1e-6)
    return torch.linalg.eigh(c)[1].float()


def _rotate(x: Tensor, bases: list[Tensor]) -> Tensor:
    """Coordinates of x [O, K, I] in two bases, whose columns are the basis vectors."""
    left, right = bases
    rotated = left.T @ x.flatten(1)  # [O, K I]
    return (rotated.view(-1, x.shape[2]) @ right).view(x.shape)


def _refresh(state: dict[str, Any]) -> None:
    """One step of the orthogonal iteration; the first moment moves along, the second stays with
    the basis vector of its rank."""
    old, new = state["bases"], []
    for axis, (covariance, basis) in enumerate(zip(state["covariances"], old, strict=True)):
        image = covariance @ basis
        order = (basis * image).sum(0).argsort(descending=True)
        state["second"] = state["second"].index_select(2 * axis, order)
        new.append(torch.linalg.qr(image[:, order])[0])
    # Out of the old basis, into the new.
    state["first"] = _rotate(_rotate(state["first"], [b.T for b in old]), new)
    state["bases"] = new
