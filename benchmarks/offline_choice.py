"""How well `compare --offline` ranks runs: Spearman's correlation with the return after interaction.

python benchmarks/offline_choice.py make FOLDER       # 3 data sets, 8 runs of 2 seeds on each; 20 min on one core
python benchmarks/offline_choice.py measure FOLDER    # a minute
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from lfo.datasets import Transitions, load
from lfo.reporting.offline import rank
from lfo.runs.folder import RunFolder
from lfo.runs.loading import load_agent
from lfo.runs.scores import read_rounds

DATA = {
    "ip100": ("InvertedPendulum-v5", "--random-frac", "1"),
    "pend100": ("Pendulum-v1", "--policy", "random"),
    "re75": ("Reacher-v5", "--random-frac", "0.75"),
}
RUNS = {
    "d300": "--steps 300",
    "d1000": "--steps 1000",
    "d3000": "--steps 3000",
    "d10000": "--steps 10000",
    "dg9": "--steps 3000 --set gamma=0.9",
    "dg5": "--steps 3000 --set gamma=0.5",
    "dcyc10": "--steps 3000 --set cycle_weight=10",
    "paper": "--steps 3000 --paper",
}
ROUNDS = "--rounds 3 --interactions 1000 --grad-steps 1000 --episodes 10 --hidden 64"


def make(folder: Path) -> None:
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    for name, words in DATA.items():
        for file, steps, seed in ((f"{name}.h5", 40_000, 0), (f"{name}-fresh.h5", 20_000, 77)):
            if not (folder / file).exists():
                d3g("collect", *words, "--steps", steps, "--seed", seed, "-o", folder / file)
        for run, settings in RUNS.items():
            out = folder / "runs" / f"{name}-{run}"
            if not (out / "evaluations.csv").exists():
                train = ("train", folder / f"{name}.h5", "-o", out, "--seeds", "0-1", "--hidden", "64")
                d3g(*train, *settings.split(), "--overwrite")
                d3g("interact", out, *ROUNDS.split())


def measure(folder: Path) -> None:
    """For each data set: how the offline value, and each run's own Q(s, τ(s)), rank the members and the runs."""
    print(
        "| data | members | returns | offline, fresh data | offline, own data | own Q | chosen run (best) |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name in DATA:
        runs = [RunFolder(folder / "runs" / f"{name}-{run}") for run in RUNS]
        scores = {str(run.path): read_rounds(run).final for run in runs}
        returns = np.concatenate([scores[str(run.path)] for run in runs])
        fresh, own = (load(folder / f"{name}{kind}.h5") for kind in ("-fresh", ""))
        found = [values(runs, fresh), values(runs, own), np.concatenate([own_q(run, fresh) for run in runs])]
        correlations = " | ".join(f"{spearmanr(returns, one).statistic:.2f}" for one in found)
        means = [each.mean() for each in scores.values()]
        chosen = int(np.argmax(found[0].reshape(len(runs), -1).mean(axis=1)))
        spread = f"{returns.min():.1f} to {returns.max():.1f}"
        choice = f"{means[chosen]:.1f} ({max(means):.1f})"
        print(f"| {name} | {len(returns)} | {spread} | {correlations} | {choice} |")


def values(runs: list[RunFolder], data: Transitions) -> np.ndarray:
    found = {one.run: one.values for one in rank(runs, data)[0]}
    return np.concatenate([found[str(run.path)] for run in runs])


@torch.no_grad()
def own_q(run: RunFolder, data: Transitions) -> np.ndarray:
    """What a run itself believes: the mean Q(s, τ(s)) over the data's states [M]."""
    agent = load_agent(run, "cpu")
    states = torch.from_numpy(np.array(data.states[:8000])).expand(len(agent.seeds), -1, -1)
    return np.asarray(agent.values(states, agent.aim(states)).mean(dim=1))


def d3g(*words: object) -> None:
    subprocess.run([Path(sys.executable).with_name("d3g-lfo"), *map(str, words)], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=["make", "measure"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    (make if arguments.task == "make" else measure)(arguments.folder)
