"""Choices made on the page of `blind`, turned into Elo ratings with intervals.

Ratings are the maximum of the Bradley-Terry likelihood, where a tie is half a win for each. Half a
draw against the mean keeps a codec that always won finite. Source: Hunter, "MM algorithms for
generalized Bradley-Terry models" (Annals of Statistics, 2004).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UsageError
from .curves import Interval

MEAN = 1500.0
RESAMPLES = 500
_SCORES = {"left": 1.0, "right": 0.0, "same": 0.5}
_SEED = 20240229
_ROUNDS = 200


@dataclass(frozen=True)
class Vote:
    """One choice: `score` is what `left` won, 1, 0 or a half."""

    rater: str
    picture: str
    left: str
    right: str
    score: float


def read_votes(paths: Iterable[Path]) -> list[Vote]:
    """The choices of all files. Raises UsageError for a file that is none of the page's."""
    votes = []
    for path in paths:
        try:
            with path.open(newline="", encoding="utf-8") as file:
                votes += [
                    Vote(r["rater"], r["picture"], r["left"], r["right"], _SCORES[r["choice"]])
                    for r in csv.DictReader(file)
                ]
        except (OSError, KeyError, ValueError, csv.Error) as error:
            raise UsageError(f"{path} holds no choices of a blind comparison") from error
    if not votes:
        raise UsageError("the files hold no choice")
    return votes


def ratings(votes: Sequence[Vote]) -> dict[str, Interval]:
    """Elo by codec, best first, with 95 % intervals.

    The bootstrap draws whole groups of one rater and picture, whose choices are not independent.
    """
    codecs = sorted({name for vote in votes for name in (vote.left, vote.right)})
    place = {name: index for index, name in enumerate(codecs)}
    groups: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros((len(codecs),) * 2))
    for vote in votes:
        wins = groups[vote.rater, vote.picture]
        wins[place[vote.left], place[vote.right]] += vote.score
        wins[place[vote.right], place[vote.left]] += 1 - vote.score
    tables = np.array(list(groups.values()))
    estimates = _elo(tables.sum(0))
    rng = np.random.default_rng(_SEED)
    counts = rng.multinomial(len(tables), np.full(len(tables), 1 / len(tables)), RESAMPLES)
    drawn = _elo(np.tensordot(counts, tables, 1))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    order = np.argsort(-estimates)
    return {codecs[i]: Interval(float(estimates[i]), float(low[i]), float(high[i])) for i in order}


def _elo(wins: np.ndarray) -> np.ndarray:
    """Ratings [..., codecs] from wins [..., codecs, codecs] of the row over the column."""
    games = wins + wins.swapaxes(-1, -2)
    strength = np.ones(wins.shape[:-1])
    for _ in range(_ROUNDS):
        share = games / (strength[..., :, None] + strength[..., None, :])
        # Half a draw against a codec of strength 1.
        strength = (wins.sum(-1) + 0.25) / (share.sum(-1) + 0.5 / (strength + 1))
        strength /= np.exp(np.log(strength).mean(-1, keepdims=True))
    elo: np.ndarray = MEAN + 400 * np.log10(strength)
    return elo
