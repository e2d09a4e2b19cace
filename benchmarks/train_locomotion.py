"""Train SAC on a locomotion task with Stable-Baselines3 and keep a ladder of snapshots of its policy.

    python benchmarks/train_locomotion.py Hopper-v5 --folder ladders
    python benchmarks/train_locomotion.py Hopper-v5 --folder ladders --steps 300000    # continues where it stopped

One thread, seed 0, 2 × 128 units, otherwise SAC's defaults. Every 10,000 steps the mean action is measured over ten
episodes and the policy is kept as ``ladders/Hopper-v5/STEP.safetensors``; ``returns.csv`` has a row a snapshot. The
model and its replay buffer are saved there too, so that a killed run loses at most 10,000 steps. (Environment and
random state start anew then, so a continued run is not bit for bit the run that was not interrupted.)
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import gymnasium as gym
import torch
from stable_baselines3 import SAC

from lfo.acting.evaluation import evaluate_policy
from lfo.datasets.policies import from_sb3

ENVS = ("Hopper-v5", "Walker2d-v5", "HalfCheetah-v5")
EVERY, EPISODES, SELECTION_SEED = 10_000, 10, 1


def load_or_make(env_id: str, folder: Path) -> SAC:
    env = gym.make(env_id)
    if (folder / "model.zip").is_file():
        model = SAC.load(folder / "model.zip", env=env, device="cpu")
        model.load_replay_buffer(folder / "buffer.pkl")  # written by this script, below
        return model
    return SAC("MlpPolicy", env, seed=0, device="cpu", policy_kwargs={"net_arch": [128, 128]})


def save(model: SAC, folder: Path) -> None:
    model.save_replay_buffer(folder / "buffer.pkl.part")
    model.save(folder / "model.part.zip")
    os.replace(folder / "buffer.pkl.part", folder / "buffer.pkl")
    os.replace(folder / "model.part.zip", folder / "model.zip")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("env", choices=ENVS)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = args.folder / args.env
    folder.mkdir(parents=True, exist_ok=True)
    model = load_or_make(args.env, folder)
    while model.num_timesteps < args.steps:
        started = time.monotonic()
        model.learn(EVERY, reset_num_timesteps=False)
        policy = from_sb3(model, "SAC", name=args.env)
        result = evaluate_policy(
            lambda obs, p=policy: p.act(obs), args.env, episodes=EPISODES, seed=SELECTION_SEED
        )
        metadata = {
            "env_id": args.env,
            "algorithm": f"SAC (Stable-Baselines3), actor 128-128, {model.num_timesteps} steps",
            "return_mean": f"{result.mean:.4f}",
            "return_std": f"{result.std:.4f}",
            "episodes": str(EPISODES),
            "command": f"python benchmarks/train_locomotion.py {args.env}",
        }
        (folder / f"{model.num_timesteps}.safetensors").write_bytes(policy.to_bytes(metadata))
        save(model, folder)
        with open(folder / "returns.csv", "a", newline="") as file:
            csv.writer(file).writerow(
                [
                    model.num_timesteps,
                    f"{result.mean:.2f}",
                    f"{result.std:.2f}",
                    f"{result.lengths.mean():.0f}",
                ]
            )
        print(
            f"{model.num_timesteps}: {result}, {EVERY / (time.monotonic() - started):.0f} steps/s", flush=True
        )


if __name__ == "__main__":
    main()
