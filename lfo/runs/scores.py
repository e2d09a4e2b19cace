"""The scores of a run: what each member returned in each round, and which members stopped. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lfo.runs.folder import RunFolder

PI_O = "pi_o"
"""What CSV and JSON files call the policy that recorded the data. Texts call it π_o."""


@dataclass(frozen=True)
class Rounds:
    """The scores of M members over R rounds. A score is the mean return of a round's evaluation episodes."""

    interactions: np.ndarray
    """[M, R] int64 environment steps before each evaluation; 0 where a member has no such round."""
    scores: np.ndarray
    """[M, R] float64; NaN where a member has no such round."""

    def __len__(self) -> int:
        """M."""
        return len(self.scores)

    @property
    def final(self) -> np.ndarray:
        """[M] each member's score of its last round; NaN for a member without any."""
        last = np.isfinite(self.scores).sum(axis=1) - 1
        padded = np.pad(self.scores, ((0, 0), (0, 1)), constant_values=np.nan)
        return np.asarray(padded[np.arange(len(last)), last])

    @property
    def best(self) -> np.ndarray:
        """[M] each member's highest score, which is optimistic; NaN for a member without any."""
        scores = np.where(np.isfinite(self.scores), self.scores, -np.inf)
        best = scores.max(axis=1, initial=-np.inf)
        return np.where(np.isfinite(best), best, np.nan)

    @property
    def spent(self) -> np.ndarray:
        """[M] environment steps of each member."""
        return np.asarray(self.interactions.max(axis=1, initial=0))

    def of(self, members: Sequence[int]) -> Rounds:
        """The rounds of some members."""
        which = np.asarray(members, dtype=np.intp)
        return Rounds(self.interactions[which], self.scores[which])


def read_rounds(run: RunFolder) -> Rounds:
    """Average ``evaluations.csv`` over the episodes of each member and round.

    A run without evaluations has R = 0. Stopped members are included, see :func:`stopped_members`.

    Raises:
        LfoError: the folder is no run, or ``evaluations.csv`` is damaged.
    """
    count, rows = len(run.info()["members"]), run.rows("evaluations.csv")
    names = ("member", "round", "interactions", "return")
    values = np.array([[float(row[name]) for name in names] for row in rows]).reshape(-1, 4)
    index = (values[:, 0].astype(int), values[:, 1].astype(int) - 1)
    shape = (count, int(values[:, 1].max(initial=0)))
    sums, episodes = np.zeros(shape), np.zeros(shape)
    interactions = np.zeros(shape, dtype=np.int64)
    np.add.at(sums, index, values[:, 3])
    np.add.at(episodes, index, 1)
    interactions[index] = values[:, 2].astype(np.int64)
    scores = np.divide(sums, episodes, out=np.full_like(sums, np.nan), where=episodes > 0)
    return Rounds(interactions, scores)


def stopped_members(info: Mapping[str, Any]) -> dict[int, str]:
    """The members that diverged, by index, each with the reason.

    Args:
        info: what ``run.json`` holds. Older runs have no ``stopped``, which means none.
    """
    return {int(member): str(reason) for member, reason in (info.get("stopped") or {}).items()}
