"""Action spaces as plain numbers: size, bounds, sampling, noise, what an environment takes.

An action is [A] float32 everywhere: in buffers, in files, and between policies and the rollout. A discrete action is the
whole number that the environment knows it by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from lfo.envs.make import Env


@dataclass(frozen=True, eq=False)
class ActionSpace:
    """A box of continuous actions; :class:`DiscreteSpace` is the other kind.

    :class:`lfo.nn.heads.ActionHead` turns a network's output into an action.
    """

    low: np.ndarray
    """[A] float32, the lowest action."""
    high: np.ndarray
    """[A] float32, the highest action."""

    kind: ClassVar[str] = "continuous"

    @staticmethod
    def of(env: Env) -> ActionSpace:
        """The action space of an environment made by :func:`lfo.envs.make.make_env`."""
        space: Any = env.action_space
        if isinstance(space, Discrete):
            return DiscreteSpace.counting([space.start], [space.n], ())
        if isinstance(space, MultiDiscrete):
            return DiscreteSpace.counting(space.start, space.nvec, space.shape)
        return ActionSpace(space.low.astype(np.float32), space.high.astype(np.float32))

    @property
    def size(self) -> int:
        """Numbers in an action, A."""
        return len(self.low)

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Uniform actions [count, A] float32."""
        return rng.uniform(self.low, self.high, (count, self.size)).astype(np.float32)

    def noise(self, rng: np.random.Generator, count: int, scale: float) -> np.ndarray:
        """What to add to actions to explore, before :meth:`clip`: [count, A].

        Normal, with a standard deviation of ``scale`` half widths of the box.
        """
        return np.asarray((scale * (self.high - self.low) / 2) * rng.normal(size=(count, self.size)))

    def clip(self, actions: np.ndarray) -> np.ndarray:
        """Actions [..., A] inside the bounds."""
        return np.asarray(np.clip(actions, self.low, self.high))

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        """Actions [n, A] as ``env.step`` takes each of them: [n, ...]."""
        return actions

    def same_as(self, other: ActionSpace) -> bool:
        """Whether both take the same actions."""
        return self.kind == other.kind and bool(
            np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high)
        )

    def to_record(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {"kind": self.kind, "low": self.low.tolist(), "high": self.high.tolist()}

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> ActionSpace:
        """What :meth:`to_record` wrote.

        Raises:
            ValueError: a kind that this version does not know.
            KeyError: a field is missing.
        """
        kind = record["kind"]
        if kind not in (ActionSpace.kind, DiscreteSpace.kind):
            raise ValueError(f"expected {ActionSpace.kind} or {DiscreteSpace.kind} actions, found {kind}")
        low, high = (np.asarray(record[bound], np.float32) for bound in ("low", "high"))
        return (
            ActionSpace(low, high)
            if kind == ActionSpace.kind
            else DiscreteSpace(low, high, tuple(record["shape"]))
        )

    def __str__(self) -> str:
        """For errors."""
        return f"bounds {self.low.tolist()} to {self.high.tolist()}"


@dataclass(frozen=True, eq=False)
class DiscreteSpace(ActionSpace):
    """A choices, each a whole number from ``low`` to ``high``: a ``Discrete`` has one, a ``MultiDiscrete`` several."""

    shape: tuple[int, ...] = ()
    """Of an action as the environment takes it: () is one number."""

    kind: ClassVar[str] = "discrete"

    @classmethod
    def counting(cls, start: Any, number: Any, shape: tuple[int, ...]) -> DiscreteSpace:
        """Choices of ``number`` values each, from ``start`` on."""
        low = np.asarray(start).reshape(-1).astype(np.float32)
        return cls(low, low + np.asarray(number).reshape(-1).astype(np.float32) - 1, shape)

    @property
    def counts(self) -> np.ndarray:
        """[A] int64, how many values each choice has."""
        return np.asarray(self.high - self.low, np.int64) + 1

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Uniform actions [count, A] float32."""
        return self.low + rng.integers(self.counts, size=(count, self.size)).astype(np.float32)

    def noise(self, rng: np.random.Generator, count: int, scale: float) -> np.ndarray:
        """What to add to actions to explore, before :meth:`clip`: [count, A].

        With probability ``scale`` a step towards a uniform value of every choice, as :meth:`clip` starts again from the
        first value after the last; otherwise 0.
        """
        replaced = rng.random((count, 1)) < scale
        return np.asarray(replaced * rng.integers(self.counts, size=(count, self.size)))

    def clip(self, actions: np.ndarray) -> np.ndarray:
        """Actions [..., A] rounded; a value past the last one starts again from the first."""
        return np.asarray(self.low + np.mod(np.rint(actions) - self.low, self.counts))

    def to_env(self, actions: np.ndarray) -> np.ndarray:
        """Actions [n, A] as ``env.step`` takes each of them: int64 [n] for a ``Discrete``, else [n, *shape]."""
        return np.asarray(actions, np.int64).reshape(-1, *self.shape)

    def to_record(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {**super().to_record(), "shape": list(self.shape)}

    def __str__(self) -> str:
        """For errors."""
        return f"choices {self.low.astype(int).tolist()} to {self.high.astype(int).tolist()}"
