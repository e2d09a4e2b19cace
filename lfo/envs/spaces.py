"""Action spaces as plain numbers: size, bounds, sampling, noise, what an environment takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box

from lfo.envs.make import Env


@dataclass(frozen=True, eq=False)
class ActionSpace:
    """A box of continuous actions.

    :class:`lfo.nn.heads.ActionHead` turns a network's output into one.
    """

    low: np.ndarray
    """[A] float32, the lowest action."""
    high: np.ndarray
    """[A] float32, the highest action."""

    kind: ClassVar[str] = "continuous"

    @classmethod
    def of(cls, env: Env) -> ActionSpace:
        """The action space of an environment made by :func:`lfo.envs.make.make_env`."""
        space = env.action_space
        assert isinstance(space, Box)
        return cls(space.low.astype(np.float32), space.high.astype(np.float32))

    @property
    def size(self) -> int:
        """Numbers in an action, A."""
        return len(self.low)

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Uniform actions [count, A] float32."""
        return rng.uniform(self.low, self.high, (count, self.size)).astype(np.float32)

    def noise(self, rng: np.random.Generator, count: int, scale: float) -> np.ndarray:
        """Normal noise [count, A] with a standard deviation of ``scale`` half widths of the box."""
        return np.asarray((scale * (self.high - self.low) / 2) * rng.normal(size=(count, self.size)))

    def clip(self, actions: np.ndarray) -> np.ndarray:
        """Actions [..., A] inside the bounds, as the environment takes them."""
        return np.asarray(np.clip(actions, self.low, self.high))

    def same_as(self, other: ActionSpace) -> bool:
        """Whether both take the same actions."""
        return bool(np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high))

    def to_record(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {"kind": self.kind, "low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ActionSpace:
        """What :meth:`to_record` wrote.

        Raises:
            ValueError: a kind that this version does not know.
            KeyError: a field is missing.
        """
        if record["kind"] != cls.kind:
            raise ValueError(f"expected {cls.kind} actions, found {record['kind']}")
        return cls(np.asarray(record["low"], np.float32), np.asarray(record["high"], np.float32))
