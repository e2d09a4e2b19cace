"""Data sets of many kinds: those that QSI's settings were chosen on, and those that its results are reported on.

    python benchmarks/any_data.py tuning FOLDER
    python benchmarks/any_data.py locomotion FOLDER LADDERS

The first are reported nowhere: other collection seeds, other policies. The second are 200,000 steps of a middle snapshot
of three TRPO policies (openai/imitation, ``expert_policies``, MIT), with sampled actions; LADDERS is the folder of its
``log_*.h5`` files. Beside each ``NAME.h5``, ``NAME-actions.h5`` holds the actions too, for other libraries. Files that
are there are skipped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from lfo.datasets import save
from lfo.datasets.collect import collect
from lfo.datasets.policies import Policy


class Swing:
    """Pendulum: energy shaping, and feedback near the top, with noise."""

    name = "energy shaping"

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Actions [B, 1] for observations [B, 3]."""
        cos, sin, speed = observations.T
        pump = np.where(speed < 0, -1, 1) * np.clip(2 * (5 - (speed**2 / 6 + 5 * cos)), -2, 2)
        hold = -(12 * np.arctan2(sin, cos) + 3 * speed)
        action = np.where((cos > 0.9) & (abs(speed) < 2.5), hold, pump) + 0.2 * rng.standard_normal(len(cos))
        return np.clip(action, -2, 2)[:, None].astype(np.float32)


class Snapshot:
    """A Gaussian policy of two tanh layers, read from a ladder of snapshots.

    Args:
        path: of the ladder.
        number: of the snapshot, the untrained one first.
    """

    def __init__(self, path: Path, number: int) -> None:
        self.name = f"{path.stem}, snapshot {number}"
        with h5py.File(path, "r") as file:
            group = file["snapshots"][sorted(file["snapshots"])[number]]["GaussianPolicy"]
            scaling, layers = group["obsnorm"]["Standardizer"], group["hidden"]["FeedforwardNet"]
            self.mean = scaling["mean_1_D"][()]
            self.std = np.sqrt(np.maximum(scaling["meansq_1_D"][()] - self.mean**2, 0)) + 1e-6
            affine = [layers[name]["AffineLayer"] for name in sorted(layers)] + [group["out"]["AffineLayer"]]
            self.layers = [(one["W"][()], one["b"][()]) for one in affine]
            self.noise = np.exp(group["logstdevs_1_Da"][()].ravel())

    def act(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Sampled actions [B, A], cut to ±1, for observations [B, S]."""
        x = (observations - self.mean) / self.std
        for weight, bias in self.layers[:-1]:
            x = np.tanh(x @ weight + bias)
        weight, bias = self.layers[-1]
        mean = x @ weight + bias
        return np.clip(mean + self.noise * rng.standard_normal(mean.shape), -1, 1).astype(np.float32)


Job = tuple[str, str, Policy | str, int, int]
"""Name, environment, policy, rows and seed of a data set."""


def tuning() -> Iterator[Job]:
    """Data that nothing is reported on."""
    yield "pend-random", "Pendulum-v1", "random", 40_000, 100
    yield "pend-narrow", "Pendulum-v1", Swing(), 20_000, 101
    yield "ip-random", "InvertedPendulum-v5", "random", 50_000, 900
    yield "reacher-random", "Reacher-v5", "random", 50_000, 901


def locomotion(ladders: Path) -> Iterator[Job]:
    """Middle snapshots, and two others to choose settings on."""
    hopper, walker, cheetah = (
        ladders / f"log_{name}.h5" for name in ("Hopper-v1_4", "Walker2d-v1_1", "HalfCheetah-v1_2")
    )
    yield "hopper-s4", "Hopper-v5", Snapshot(hopper, 4), 100_000, 953
    yield "cheetah-s5", "HalfCheetah-v5", Snapshot(cheetah, 5), 100_000, 952
    yield "hopper-medium", "Hopper-v5", Snapshot(hopper, 2), 200_000, 1
    yield "cheetah-medium", "HalfCheetah-v5", Snapshot(cheetah, 3), 200_000, 1
    yield "walker-medium", "Walker2d-v5", Snapshot(walker, 2), 200_000, 1


def main() -> None:
    """Collect what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in ("tuning", "locomotion"):
        kinds.add_parser(kind).add_argument("folder", type=Path)
    kinds.choices["locomotion"].add_argument("ladders", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, env_id, policy, rows, seed in tuning() if args.kind == "tuning" else locomotion(args.ladders):
        path, beside = args.folder / f"{name}.h5", args.folder / f"{name}-actions.h5"
        if not beside.exists():
            fraction = 1.0 if policy == "random" else 0.0
            data, actions = collect(env_id, random_frac=fraction, steps=rows, seed=seed, policy=policy)
            save(data, path, overwrite=True)
            save(data, beside, actions=actions)
            print(f"{path}: {len(data):,} rows, return {data.episode_returns().mean():.1f}", flush=True)


if __name__ == "__main__":
    main()
