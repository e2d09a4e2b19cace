"""Which part of a policy fails? Replaces the parts of I(s, τ(s)) one by one by exact ones, on InvertedPendulum.

    python benchmarks/diagnose_pendulum.py RUN [--episodes 3] [--steps 500]

The simulator stands in for I: of 31 actions it takes the one whose true next state is nearest to the aim, in units
of the standard deviation of s' − s. What is then measured is the aim alone:

- ``Q``: no aim; the action whose true next state has the greatest min_i Q_θi(s, s'). Is the critic right?
- ``τ(s)``: the aim of the policy, as published. ``C(s, τ(s))``: with ``act_on_cycle``.

Prints the mean steps that each member balances, at most ``--steps``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import gymnasium as gym
import numpy as np
import torch

from lfo import RunFolder, load_agent
from lfo.envs.make import make_env

ENV = "InvertedPendulum-v5"
Chooser = Callable[[np.ndarray, np.ndarray], int]


class Simulator:
    """The true next states of a state, one an action of the grid."""

    def __init__(self, actions: int = 31) -> None:
        self.env: gym.Env = make_env(ENV).unwrapped
        self.env.reset(seed=0)
        self.actions = np.linspace(self.env.action_space.low[0], self.env.action_space.high[0], actions)

    def next_states(self, state: np.ndarray) -> np.ndarray:
        reached = []
        for action in self.actions:
            self.env.set_state(state[:2].astype(float), state[2:].astype(float))
            self.env.do_simulation(np.array([action]), self.env.frame_skip)
            reached.append(np.concatenate([self.env.data.qpos, self.env.data.qvel]))
        return np.asarray(reached, dtype=np.float32)


def balance(simulator: Simulator, choose: Chooser, seed: int, steps: int) -> int:
    """Steps until the pole falls, at most ``steps``."""
    env = make_env(ENV)
    state, _ = env.reset(seed=seed)
    for step in range(1, steps + 1):
        action = simulator.actions[choose(state, simulator.next_states(state))]
        state, _, terminated, _, _ = env.step(np.array([action]))
        if terminated:
            return step
    return steps


def choosers(agent: torch.nn.Module, member: int) -> dict[str, Chooser]:
    units, members = agent.units, len(agent.seeds)
    scale = units.delta_std[member, 0].numpy()

    def stacked(state: np.ndarray, rows: int) -> torch.Tensor:
        return torch.from_numpy(np.float32(state)).expand(members, rows, -1)

    @torch.no_grad()
    def by_value(state: np.ndarray, reached: np.ndarray) -> int:
        q = agent.values(stacked(state, len(reached)), torch.from_numpy(reached))
        return int(q[member].argmax())

    def by_aim(on_cycle: bool) -> Chooser:
        config = replace(agent.config, act_on_cycle=on_cycle)

        def choose(state: np.ndarray, reached: np.ndarray) -> int:
            agent.config = config
            aim = agent.aim(stacked(state, 1))[member, 0].numpy()
            return int((((reached - aim) / scale) ** 2).sum(axis=1).argmin())

        return choose

    return {
        "Q": by_value,
        "C(s, τ(s))": by_aim(True),
        "τ(s)": by_aim(False),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()
    agent, simulator = load_agent(RunFolder(arguments.run), "cpu"), Simulator()
    names = list(choosers(agent, 0))
    print("| seed |", " | ".join(names), "|\n|---" * 1 + "|---" * len(names) + "|")
    for member, seed in enumerate(agent.seeds):
        means = []
        for choose in choosers(agent, member).values():
            runs = [balance(simulator, choose, 1000 + e, arguments.steps) for e in range(arguments.episodes)]
            means.append(f"{np.mean(runs):.0f}")
        print(f"| {seed} |", " | ".join(means), "|", flush=True)


if __name__ == "__main__":
    main()
