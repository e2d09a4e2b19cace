"""Environments that misbehave: which call does what, and at which step."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np

STEP = {
    "raises": "step {n}: ZeroDivisionError: division by zero; correct the environment",
    "none": "step {n}: expected (observation, reward, terminated, truncated, info), found None",
    "four": "step {n}: expected (observation, reward, terminated, truncated, info), found a tuple of 4",
    "longer": "step {n}: expected an observation of shape [2], found an array of float32 of shape [3]",
    "short": "step {n}: expected an observation of shape [2], found an array of float32 of shape [1]",
    "square": "step {n}: expected an observation of shape [2], found an array of float32 of shape [2, 2]",
    "text": "step {n}: expected an observation of shape [2], found str 'here'",
    "nan": "step {n}: expected a finite observation, dimension 1, found nan",
    "inf": "step {n}: expected a finite observation, dimension 1, found inf",
    "no reward": "step {n}: expected a number as reward, found None",
    "array reward": "step {n}: expected a number as reward, found an array of float64 of shape [1]",
    "text reward": "step {n}: expected a number as reward, found str 'one'",
    "nan reward": "step {n}: expected a finite reward, found nan",
    "array flag": "step {n}: expected true or false as terminated, found an array of bool of shape [2]",
}
"""What a step can do, and what is said of it at step ``n``."""
RESET = {
    "raises": "ZeroDivisionError: division by zero; correct the environment",
    "none": "expected (observation, info), found None",
    "bare": "expected (observation, info), found an array of float32 of shape [2]",
    "longer": "expected an observation of shape [2], found an array of float32 of shape [3]",
    "nan": "expected a finite observation, found NaN or infinity",
}
HERE = np.zeros(2, np.float32)
GOOD = (HERE, 1.0, False, False, {})
RESULTS: dict[str, Any] = {
    "none": None,
    "four": GOOD[:4],
    "longer": (np.zeros(3, np.float32), *GOOD[1:]),
    "short": (np.zeros(1, np.float32), *GOOD[1:]),
    "square": (np.zeros((2, 2), np.float32), *GOOD[1:]),
    "text": ("here", *GOOD[1:]),
    "nan": (np.array([0, np.nan], np.float32), *GOOD[1:]),
    "inf": (np.array([0, np.inf], np.float32), *GOOD[1:]),
    "no reward": (HERE, None, *GOOD[2:]),
    "array reward": (HERE, np.ones(1), *GOOD[2:]),
    "text reward": (HERE, "one", *GOOD[2:]),
    "nan reward": (HERE, float("nan"), *GOOD[2:]),
    "array flag": (HERE, 1.0, np.zeros(2, bool), False, {}),
    "bare": HERE,
}


class Odd(gym.Env[Any, Any]):
    """Walks on a line; an episode has 5 steps.

    Args:
        call: ``step``, ``reset`` or ``close``.
        what: a name of ``RESULTS``, ``raises`` or ``hangs``.
        at: the number of the call, from 1, from which it does that.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, call: str = "", what: str = "", at: int = 1) -> None:
        self.calls = {"step": 0, "reset": 0, "close": 0}
        self.call, self.what, self.at = call, what, at
        self.place, self.length = HERE, 0

    def _turn(self, call: str, good: Any) -> Any:
        self.calls[call] += 1
        if call != self.call or self.calls[call] < self.at:
            return good
        if self.what == "raises":
            return 1 / 0
        while self.what == "hangs":
            time.sleep(0.01)
        if call == "reset" and self.what in ("longer", "nan"):
            return RESULTS[self.what][0], {}
        return RESULTS[self.what]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.length, self.place = 0, self.np_random.normal(size=2).astype(np.float32)
        return self._turn("reset", (self.place, {}))

    def step(self, action: Any) -> Any:
        self.length += 1
        self.place = self.place + np.float32(0.1) * np.float32(action[0])
        return self._turn("step", (self.place, float(self.place[0]), False, self.length >= 5, {}))

    def close(self) -> None:
        self._turn("close", None)


gym.register("Odd-v0", Odd)
for _call, _results in (("step", STEP), ("reset", RESET), ("close", {"raises": ""})):
    for _what in (*_results, "hangs"):
        for _at in (1, 2, 3, 7, 40, 45):
            gym.register(
                f"Odd-{_call}-{_what.replace(' ', '-')}-{_at}-v0",
                Odd,
                kwargs={"call": _call, "what": _what, "at": _at},
            )
