"""TD3 and DDPG of Stable-Baselines3, to set beside ``d3g-lfo online``: the same steps, widths, batch and evaluations.

    python benchmarks/peers/online.py Hopper-v5 --algo td3 --seeds 0-2 --steps 100000 -o hopper-td3.csv

One row for each evaluation: seed, interactions, mean return of 10 whole episodes. A seed that is in the file already is
skipped, so a run that was stopped goes on with the next seed. Needs ``pip install 'stable-baselines3>=2.3'``.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import DDPG, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise

EPISODES = 10


class Evaluations(BaseCallback):
    """Whole episodes without noise, every so many steps."""

    def __init__(self, env_id: str, every: int, seed: int) -> None:
        super().__init__()
        self.env, self.every, self.seed = gym.make(env_id), every, seed
        self.rows: list[tuple[int, float]] = []
        self.seconds = 0.0

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every == 0:
            begun = time.perf_counter()
            returns = [self._episode(10_000 * self.seed + e) for e in range(EPISODES)]
            self.rows.append((self.num_timesteps, float(np.mean(returns))))
            print(f"seed {self.seed}  {self.num_timesteps:,}  {np.mean(returns):.2f}", flush=True)
            self.seconds += time.perf_counter() - begun
        return True

    def _episode(self, start: int) -> float:
        state, _ = self.env.reset(seed=start)
        total, over = 0.0, False
        while not over:
            action, _ = self.model.predict(state, deterministic=True)
            state, reward, terminated, truncated, _ = self.env.step(action)
            total, over = total + float(reward), terminated or truncated
        return total


def train(args: argparse.Namespace, seed: int) -> list[tuple[int, float]]:
    """Train one seed; its evaluations."""
    env = gym.make(args.env)
    size = env.action_space.shape[0]
    algorithm, rate = (TD3, 3e-4) if args.algo == "td3" else (DDPG, 1e-3)
    model = algorithm(
        "MlpPolicy",
        env,
        learning_rate=rate,
        learning_starts=args.start,
        batch_size=256,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": [args.hidden, args.hidden]},
        action_noise=NormalActionNoise(np.zeros(size), np.full(size, 0.1)),  # SB3's actions are from −1 to 1
        seed=seed,
        device="cpu",
    )
    evaluations = Evaluations(args.env, args.eval_every, seed)
    begun = time.perf_counter()
    model.learn(args.steps, callback=evaluations)
    seconds = time.perf_counter() - begun - evaluations.seconds
    print(f"seed {seed}: {args.steps / seconds:.0f} steps/s without evaluations", flush=True)
    return evaluations.rows


def main() -> None:
    """Train the seeds that are missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("env")
    parser.add_argument("--algo", choices=("td3", "ddpg"), default="td3")
    parser.add_argument("--seeds", default="0-2", help="first-last")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--start", type=int, default=10_000)
    parser.add_argument("--eval-every", type=int, default=5_000)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    first, _, last = args.seeds.partition("-")
    done: list[list[str]] = []
    if args.output.exists():
        done = list(csv.reader(args.output.read_text().splitlines()))[1:]
    for seed in range(int(first), int(last or first) + 1):
        if str(seed) not in {row[0] for row in done}:
            done += [[str(seed), str(steps), f"{score:.4f}"] for steps, score in train(args, seed)]
            with args.output.open("w", newline="") as file:
                csv.writer(file).writerows([["seed", "interactions", "return"], *done])


if __name__ == "__main__":
    main()
