"""What labelled peers make of the same rows: d3rlpy's TD3+BC, IQL and BC, *given the actions*.

    python -m venv peers && peers/bin/pip install -r benchmarks/peers/requirements.txt
    d3g-lfo collect Hopper-v5 --policy medium.safetensors --random-frac 0 --steps 200000 --keep-actions -o hopper.h5
    peers/bin/python benchmarks/peers/train.py hopper.h5 --env Hopper-v5 --algo td3+bc --seeds 0-2 -o peers.csv

Settings are d3rlpy's defaults for the paper of each algorithm, with observations standardised. One row per seed: the
mean return of the final policy over ``--episodes`` episodes, from starts that depend on the seed. Rows that the CSV
already holds are not computed again, so that a run that was killed can be repeated.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import d3rlpy
import gymnasium as gym
import h5py
import numpy as np
import torch
from d3rlpy.algos import BCConfig, IQLConfig, TD3PlusBCConfig
from d3rlpy.preprocessing import StandardObservationScaler

ALGOS = {"td3+bc": TD3PlusBCConfig, "iql": IQLConfig, "bc": BCConfig}
COLUMNS = ("data", "env", "algo", "seed", "steps", "episodes", "return_mean", "return_std", "seconds")


def load(path: Path) -> d3rlpy.dataset.MDPDataset:
    with h5py.File(path) as file:
        columns = {
            name: file[name][()] for name in ("observations", "actions", "rewards", "terminals", "timeouts")
        }
    columns["timeouts"] = columns["timeouts"] & ~columns["terminals"]
    columns["timeouts"][-1] |= not columns["terminals"][-1]
    return d3rlpy.dataset.MDPDataset(**columns)


def evaluate(algo: object, env_id: str, seed: int, episodes: int) -> np.ndarray:
    env, returns = gym.make(env_id), []
    for start in np.random.SeedSequence([seed, 0]).generate_state(episodes).tolist():
        observation, _ = env.reset(seed=start)
        total, over = 0.0, False
        while not over:
            action = algo.predict(np.float32(observation)[None])[0]  # type: ignore[attr-defined]
            clipped = np.clip(action, env.action_space.low, env.action_space.high)
            observation, reward, terminated, truncated, _ = env.step(clipped)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return np.asarray(returns)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="HDF5 with actions, as `collect --keep-actions` writes")
    parser.add_argument("--env", required=True)
    parser.add_argument("--algo", choices=ALGOS, required=True)
    parser.add_argument("--seeds", default="0-2", help="such as 0-2")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV, appended to")
    args = parser.parse_args()
    torch.set_num_threads(1)
    first, _, last = args.seeds.partition("-")
    done = set()
    if args.output.exists():
        with open(args.output, newline="") as file:
            done = {tuple(row[c] for c in COLUMNS[:5]) for row in csv.DictReader(file)}
    for seed in range(int(first), int(last or first) + 1):
        key = (args.data.name, args.env, args.algo, str(seed), str(args.steps))
        if key in done:
            continue
        began = time.monotonic()
        d3rlpy.seed(seed)
        config = ALGOS[args.algo](batch_size=256, observation_scaler=StandardObservationScaler())
        algo = config.create(device=False)
        algo.fit(
            load(args.data),
            n_steps=args.steps,
            n_steps_per_epoch=args.steps,
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        )
        returns = evaluate(algo, args.env, seed, args.episodes)
        row = (
            *key,
            args.episodes,
            round(returns.mean(), 2),
            round(returns.std(), 2),
            round(time.monotonic() - began),
        )
        new = not args.output.exists()
        with open(args.output, "a", newline="") as file:
            csv.writer(file).writerows([COLUMNS, row] if new else [row])
        print(dict(zip(COLUMNS, row, strict=True)), flush=True)


if __name__ == "__main__":
    main()
