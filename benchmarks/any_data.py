"""The data that IQSS was tuned on, and one run on it.

    python benchmarks/any_data.py collect FOLDER
    python benchmarks/any_data.py run FOLDER/pend-random.h5 iqss --steps 8000 --set reach=1

Every data set is of a kind that is reported nowhere: other collection seeds, other policies. ``collect`` skips what is
there. ``run`` trains two members of 128 units, lets them interact for five rounds of 1,000 steps, and prints one line:
each round's mean return, a member after the other, and the last metrics.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from lfo.acting.rounds import learn_inverse
from lfo.algorithms import registry
from lfo.datasets import load, save
from lfo.datasets.collect import collect
from lfo.runs.record import Member
from lfo.settings import configure, parse_setting
from lfo.training.loop import train
from lfo.training.progress import Progress


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


DATA = {
    "pend-random": ("Pendulum-v1", "random", 40_000, 100),
    "pend-narrow": ("Pendulum-v1", Swing(), 20_000, 101),
    "ip-random": ("InvertedPendulum-v5", "random", 50_000, 900),
    "reacher-random": ("Reacher-v5", "random", 50_000, 901),
}
"""Name: environment, policy, rows, seed."""


class _Last(Progress):
    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def show(self, metrics: dict[str, float]) -> None:
        """Keep the last row."""
        self.metrics = metrics


def run(path: Path, algo: str, steps: int, rounds: int, grad_steps: int, settings: dict[str, object]) -> str:
    """Train and interact; a line of results."""
    data, spec, last = load(path), registry.spec(algo), _Last()
    config = configure(spec.config(), {"hidden": 128, **settings}, where="any_data")
    members = [Member(0), Member(1)]
    agent, table = train(
        [data],
        algorithm=spec.cls,
        config=config,
        members=members,
        steps=steps,
        device="cpu",
        progress=last,
    )
    done = learn_inverse(
        agent,
        str(data.metadata.env_id),
        demonstrations=table,
        rounds=rounds,
        interactions=1000,
        grad_steps=grad_steps,
        episodes=5,
        hidden=128,
    )
    returns = np.array([r.evaluation.returns.mean(axis=1) for r in done])
    scores = " | ".join(" ".join(f"{x:.1f}" for x in member) for member in returns.T)
    found = last.metrics or {name: values[-1] for name, values in agent.history.items()}
    told = " ".join(f"{name}={value:.3g}" for name, value in found.items())
    return f"{path.stem} {algo} {steps} {rounds} × {grad_steps} {settings}: {scores}  {told}"


def main() -> None:
    """Parse, do, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("collect").add_argument("folder", type=Path)
    one = commands.add_parser("run")
    one.add_argument("data", type=Path)
    one.add_argument("algo")
    one.add_argument("--steps", type=int, default=8000)
    one.add_argument("--rounds", type=int, default=5)
    one.add_argument("--grad-steps", type=int, default=3000)
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.command == "run":
        settings = dict(parse_setting(text) for text in args.set)
        print(run(args.data, args.algo, args.steps, args.rounds, args.grad_steps, settings), flush=True)
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, (env_id, policy, rows, seed) in DATA.items():
        path = args.folder / f"{name}.h5"
        if not path.exists():
            fraction = 1.0 if policy == "random" else 0.0
            save(collect(env_id, random_frac=fraction, steps=rows, seed=seed, policy=policy)[0], path)


if __name__ == "__main__":
    main()
