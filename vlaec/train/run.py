"""What every training run has: a budget, a schedule, averaged weights, checkpoints, a log."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from . import checkpoint, log
from .machine import Machine

Report = Callable[[log.Row], None]

LOG_SECONDS = 15
SAVE_SECONDS = 120


@dataclass(frozen=True)
class Budget:
    """What a run may use in all: minutes, or steps where speed must not decide the result."""

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        given = [v for v in (self.minutes, self.steps) if v is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ValueError("a budget is a positive number of either minutes or steps")

    def __str__(self) -> str:
        return f"{self.minutes:g} minutes" if self.steps is None else f"{self.steps} steps"

    def spent(self, step: int, elapsed: float) -> float:
        """Progress after `step` steps and `elapsed` seconds: 0 at the start, 1 at the end."""
        if self.steps is not None:
            return step / self.steps
        assert self.minutes is not None
        return elapsed / (60 * self.minutes)


class Settings(Protocol):
    """What a run asks of a recipe of any kind."""

    @property
    def seed(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def final_rate(self) -> float: ...
    @property
    def warmup_steps(self) -> int: ...
    @property
    def ema(self) -> float: ...
    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""


class Meter(Protocol):
    """Adds up what steps cost."""

    @property
    def seconds(self) -> float:
        """Since the meter was made."""

    @property
    def count(self) -> int:
        """Steps."""


AnySettings = TypeVar("AnySettings", bound=Settings)


class Run(ABC, Generic[AnySettings]):
    """One training run of one model in one process.

    The schedule is a function of the budget spent so far, so a run always ends in a finished model
    and may be cut into chunks that resume. Every step has random numbers of its own, so where the
    budget is a number of steps a run in chunks gives the very same weights on the same machine.
    """

    def __init__(
        self, recipe: AnySettings, folder: Path, budget: Budget, machine: Machine, model: nn.Module
    ) -> None:
        self.recipe, self.run, self.budget, self.machine = recipe, folder, budget, machine
        self.device = machine.device
        self.random = torch.Generator(self.device)  # seeded for every step
        # The tensors of state_dict() are the model's own: the moving average reads them directly.
        state = model.state_dict()
        self.current = list(state.values())
        self.ema = {k: v.clone() for k, v in state.items()}
        self.averages = list(self.ema.values())
        self.step, self.elapsed = 0, 0.0
        self.warm_from = 0  # the step from which the optimiser has gathered its moments
        self.optimiser: torch.optim.Optimizer
        self._network = model

    @property
    def checkpoint(self) -> Path:
        """Where the resumable state is kept."""
        return self.run / "checkpoint.pt"

    def train(self, chunk_minutes: float | None, report: Report) -> bool:
        """Train until the budget or this chunk is spent; True when the budget is."""
        self._network.train()
        started = saved = time.monotonic()
        before = self.elapsed
        chunk = math.inf if chunk_minutes is None else chunk_minutes * 60
        meter = self._new_meter()
        while self._progress() < 1 and self.elapsed - before < chunk:
            if not self._counted_step():
                continue
            self.step += 1
            self._set_clock(before + time.monotonic() - started)
            row = self._look()
            if row:
                self._set_clock(before + time.monotonic() - started)
            if row or meter.seconds >= LOG_SECONDS:
                self._report(row, report)
                meter = self._new_meter()
            if self._writes and time.monotonic() - saved >= self.save_seconds:
                self._save()
                saved = time.monotonic()
        if meter.count:
            self._report({}, report)
        if self._writes:
            self._save()
        return self._progress() >= 1

    @abstractmethod
    def _new_meter(self) -> Meter:
        """A meter for the steps from here on."""

    @abstractmethod
    def _counted_step(self) -> bool:
        """One update, added to the meter; False where it must be tried again."""

    @abstractmethod
    def _row(self) -> log.Row:
        """What the meter says."""

    def _look(self) -> log.Row:
        """What else there is to report, such as a validation."""
        return {}

    _writes = True  # whether this process keeps the log and the checkpoint
    save_seconds: float = SAVE_SECONDS

    def _progress(self) -> float:
        return self.budget.spent(self.step, self.elapsed)

    def _set_clock(self, elapsed: float) -> None:
        self.elapsed = elapsed

    def _rate(self, done: float) -> float:
        """The learning rate after a share of a schedule: warm-up, then half a cosine."""
        recipe = self.recipe
        warm = min(1.0, (self.step - self.warm_from + 1) / recipe.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return warm * (recipe.final_rate + (recipe.learning_rate - recipe.final_rate) * cosine)

    def _learning_rate(self) -> float:
        """Learning rate of the next step."""
        return self._rate(self._progress())

    def _set_rate(self) -> None:
        rate = self._learning_rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def _average(self) -> None:
        """Let the averages follow the weights."""
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.averages, self.current, 1 - decay)

    def _begin_with(self, weights: dict[str, Tensor]) -> None:
        """Let both the weights and their averages be these."""
        self._network.load_state_dict(weights)
        torch._foreach_copy_(self.averages, self.current)

    def _report(self, row: log.Row, report: Report) -> None:
        if not self._writes:
            return
        rate = float(self.optimiser.param_groups[0]["lr"])
        head = {"step": self.step, "minutes": self.elapsed / 60, "rate": rate}
        row = head | self._row() | row
        log.append(self.run / "log.jsonl", row)
        report(row)

    def _state(self) -> dict[str, Any]:
        """All that resuming needs."""
        return {
            "recipe": self.recipe.to_dict(),
            "model": self._network.state_dict(),
            "ema": self.ema,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "warm_from": self.warm_from,
        }

    def _save(self) -> None:
        checkpoint.write(self.checkpoint, self._state())

    def _take_up(self, state: dict[str, Any], averages: dict[str, Tensor]) -> bool:
        """Go on from a checkpoint, whole or packed (see `vlaec.train.export.pack`): the
        latter holds averages alone, which become the weights. True for a whole one."""
        self.step, self.elapsed = state["step"], state["elapsed"]
        if "optimiser" not in state:
            self._begin_with(averages)
            self.warm_from = self.step
            return False
        for name, average in self.ema.items():
            average.copy_(averages[name])
        self._network.load_state_dict(state["model"])
        self.warm_from = state.get("warm_from", 0)
        # The moments are the checkpoint's, the settings this program's.
        fresh = self.optimiser.state_dict()
        self.optimiser.load_state_dict(state["optimiser"] | {"param_groups": fresh["param_groups"]})
        return True
