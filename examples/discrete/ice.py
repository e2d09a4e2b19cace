"""FrozenLake, where chance decides: what Q(s, s') promises at the start, and what following it returns; exact.

    python ice.py

Q(s, s') is iterated to its fixed point over the transitions that are possible; I(s, s') is the action that most often
leads from s to s'. Beside it, ordinary value iteration over actions. γ = 0.99.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

GAMMA, SWEEPS = 0.99, 5_000


def model(slippery: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities [S, A, S], rewards [S, S], and which states end an episode [S]."""
    table: dict[int, Any] = gym.make("FrozenLake-v1", is_slippery=slippery).unwrapped.P  # type: ignore[attr-defined]
    size = len(table)
    chances, rewards, over = np.zeros((size, 4, size)), np.zeros((size, size)), np.zeros(size, bool)
    for state, actions in table.items():
        for action, outcomes in actions.items():
            for chance, after, reward, terminated in outcomes:
                chances[state, action, after] += chance
                if after != state:
                    rewards[state, after] = reward
                    over[after] |= terminated
    return chances, rewards, over


def main() -> None:
    """Print the table."""
    print("| ice | Q(s, s') promises | following it returns | the best policy returns |\n|---|--:|--:|--:|")
    for slippery in (False, True):
        chances, rewards, over = model(slippery)
        possible, goes_on = chances.sum(axis=1) > 0, GAMMA * ~over
        q, best = np.zeros_like(rewards), np.zeros(chances.shape[:2])
        for _ in range(SWEEPS):
            q = np.where(possible, rewards + goes_on * q.max(axis=1), -np.inf)
            best = (chances * (rewards[:, None] + goes_on * best.max(axis=1))).sum(axis=2)
        aims = q.argmax(axis=1)
        acted = chances[np.arange(len(q)), :, aims].argmax(axis=1)
        followed = np.zeros(len(q))
        for _ in range(SWEEPS):
            steps = chances[np.arange(len(q)), acted]
            followed = (steps * (rewards + goes_on * followed)).sum(axis=1)
        name = "slippery" if slippery else "not slippery"
        print(f"| {name} | {q[0].max():.3f} | {followed[0]:.3f} | {best[0].max():.3f} |")


if __name__ == "__main__":
    main()
