"""Initial weights from a generator of their own: torch's modules draw them from its global one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS: tuple[Any, ...] = (
    Tensor.normal_,
    Tensor.uniform_,
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.kaiming_uniform_,
)


class Seeded(TorchFunctionMode):
    """Within it, this thread's modules start from `seed`, as after `torch.manual_seed`; the global
    generator stays as it is."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.random = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        more = {"generator": self.random} if func in _DRAWS else {}
        return func(*args, **(kwargs or {}) | more)
