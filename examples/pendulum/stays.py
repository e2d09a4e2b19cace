"""Which seeds swing the rod up, and do they hold it? python stays.py RUN

Ten episodes of each seed, from the starts of `d3g-lfo eval`. The rod is up within 20° of upright; how it is held is the
largest tilt of an episode's last two seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import gymnasium as gym
import numpy as np
import pendulum_twin

UP = 20  # degrees


def watch(act: Callable[[np.ndarray], np.ndarray], seeds: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """For each start, the seconds until the rod is up, NaN if never, and the largest tilt of the last 2 s in degrees."""
    env, found = gym.make("PendulumTwin-v0"), []
    for seed in seeds:
        observation, _ = env.reset(seed=int(seed))
        tilts: list[float] = []
        done = False
        while not done:
            observation, _, _, done, _ = env.step(act(observation))
            tilts.append(abs(np.degrees(np.arctan2(observation[1], -observation[0]))))
        up = np.flatnonzero(np.array(tilts) < UP)
        last = round(2 / pendulum_twin.STEP)
        found.append((pendulum_twin.STEP * (up[0] + 1) if len(up) else np.nan, max(tilts[-last:])))
    times, held = np.array(found).T
    return times, held


if __name__ == "__main__":
    from lfo import load_agent, load_policy
    from lfo.envs.rollout import starts
    from lfo.runs.folder import RunFolder

    print("seed   up in      after   held within 20°   tilt at the end")
    for member, seed in enumerate(load_agent(RunFolder(sys.argv[1])).seeds):
        times, held = watch(load_policy(sys.argv[1], member).predict, starts(0, seed, 10))
        up = np.isfinite(times)
        after = f"{np.median(times[up]):.1f} s" if up.any() else "–"
        tilt = f"{np.median(held):.0f}° (up to {held.max():.0f}°)"
        print(f"{seed:<5}{up.sum():>3} of 10{after:>9}{(held < UP).sum():>12} of 10   {tilt}")
