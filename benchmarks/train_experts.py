"""Train the built-in experts with Stable-Baselines3 and write them where the package ships them.

    python benchmarks/train_experts.py InvertedPendulum-v5
    python benchmarks/train_experts.py Reacher-v5
    python benchmarks/train_experts.py CartPole-v1
    python benchmarks/train_experts.py Acrobot-v1
    python benchmarks/train_experts.py LunarLander-v3 --folder experts    # needs box2d; not shipped

TD3 for continuous actions, PPO for discrete ones. One thread, seed 0; about 4 and 20 minutes on a CPU core for the
first two. Every 10,000 steps the actor is measured over 100
episodes that are used for this selection alone; the best of these actors is kept (the last among equals).
The return in the file's metadata is that of the kept actor over 100 other episodes.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise

from lfo.acting.evaluation import Evaluation, evaluate_policy
from lfo.datasets.policies import MLPPolicy, from_sb3

EVERY, EPISODES = 10_000, 100
SELECTION_SEED, REPORT_SEED = 1, 2


@dataclass(frozen=True)
class Recipe:
    """What differs between the environments; the rest is TD3's default."""

    steps: int
    learning_starts: int
    noise: float
    """Standard deviation of the exploration noise, in units of the (−1, 1) scaled action."""

    algorithm = "TD3"

    def model(self, env_id: str) -> TD3:
        env = gym.make(env_id)
        actions = np.ones(env.action_space.shape)
        return TD3(
            "MlpPolicy",
            env,
            seed=0,
            device="cpu",
            learning_starts=self.learning_starts,
            action_noise=NormalActionNoise(0 * actions, self.noise * actions),
            policy_kwargs={"net_arch": [64, 64]},
        )


@dataclass(frozen=True)
class Discrete:
    """Of PPO with eight environments; the rest is its default."""

    steps: int
    gamma: float = 0.99
    n_steps: int = 128
    entropy: float = 0.0

    algorithm = "PPO"

    def model(self, env_id: str) -> PPO:
        return PPO(
            "MlpPolicy",
            make_vec_env(env_id, 8, seed=0),
            seed=0,
            device="cpu",
            n_steps=self.n_steps,
            batch_size=256,
            gamma=self.gamma,
            ent_coef=self.entropy,
        )


RECIPES: dict[str, Recipe | Discrete] = {
    "InvertedPendulum-v5": Recipe(steps=60_000, learning_starts=1_000, noise=0.3),
    "Reacher-v5": Recipe(steps=300_000, learning_starts=10_000, noise=0.1),
    "CartPole-v1": Discrete(steps=100_000),
    "Acrobot-v1": Discrete(steps=100_000),
    "LunarLander-v3": Discrete(steps=600_000, gamma=0.999, n_steps=1_024, entropy=0.01),
}


def measure(policy: MLPPolicy, env_id: str, seed: int) -> Evaluation:
    return evaluate_policy(lambda obs: policy.act(obs), env_id, episodes=EPISODES, seed=seed)


def train(env_id: str, recipe: Recipe | Discrete) -> MLPPolicy:
    torch.set_num_threads(1)
    model = recipe.model(env_id)
    best, best_return = from_sb3(model, recipe.algorithm, name=env_id), -np.inf
    for step in range(EVERY, recipe.steps + 1, EVERY):
        model.learn(EVERY, reset_num_timesteps=False)
        policy = from_sb3(model, recipe.algorithm, name=env_id)
        result = measure(policy, env_id, SELECTION_SEED)
        print(f"step {step}: {result}", file=sys.stderr, flush=True)
        if result.mean >= best_return:
            best, best_return = policy, result.mean
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("env", choices=RECIPES)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "datasets" / "experts")
    args = parser.parse_args()
    policy = train(args.env, RECIPES[args.env])
    result = measure(policy, args.env, REPORT_SEED)
    metadata = {
        "env_id": args.env,
        "algorithm": f"{RECIPES[args.env].algorithm} (Stable-Baselines3), actor 64-64",
        "return_mean": f"{result.mean:.4f}",
        "return_std": f"{result.std:.4f}",
        "episodes": str(EPISODES),
        "command": f"python benchmarks/train_experts.py {args.env}",
    }
    args.folder.mkdir(parents=True, exist_ok=True)
    path = args.folder / f"{args.env}.safetensors"
    path.write_bytes(policy.to_bytes(metadata))
    print(f"{path}: {result}")


if __name__ == "__main__":
    main()
