"""Discrete actions: every algorithm on data without actions, 5 seeds, 5,000 interactions; the table of docs/discrete.md.

    python benchmarks/discrete.py FOLDER
    python benchmarks/discrete.py FOLDER --only cartpole-random --algos qsi --hidden 64

Runs are made one after the other with the command line, which the script prints, and kept in FOLDER; what is finished is
skipped, and what was interrupted is continued. LunarLander needs box2d and an expert of
``benchmarks/train_experts.py LunarLander-v3 --folder FOLDER``; the grid needs numba.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

GRID = "lfo.tabular:lfo/GridWorld-v0"
LANDER = "collect LunarLander-v3 --policy LunarLander-v3.safetensors --random-frac 0.5 --steps 100000"
DATA = {
    "cartpole-random": ("CartPole-v1", "collect CartPole-v1 --policy random --steps 40000"),
    "cartpole-mixed": ("CartPole-v1", "collect CartPole-v1 --random-frac 0.5 --steps 40000"),
    "acrobot-mixed": ("Acrobot-v1", "collect Acrobot-v1 --random-frac 0.5 --steps 40000"),
    "lander-mixed": ("LunarLander-v3", LANDER),
    "grid-walk": (GRID, "gridworld dataset --steps 40000"),
    "ice": ("FrozenLake-v1", "collect FrozenLake-v1 --policy random --steps 40000"),
}
"""Environment, and how its data is recorded."""


def command(folder: Path, line: str) -> str:
    """What a command of d3g-lfo prints."""
    print(f"$ d3g-lfo {line}", flush=True)
    code = "import sys; sys.argv[0] = 'd3g-lfo'; from lfo.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *shlex.split(line)],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout


def measure(folder: Path, name: str, algo: str, args: argparse.Namespace) -> str:
    """A row of the table: one algorithm on one data set."""
    env, record = DATA[name]
    data, run = f"{name}.h5", f"{name}-{algo}"
    if not (folder / data).exists():
        command(folder, f"{record} -o {data}")
    result = folder / f"{run}.json"
    if not result.exists():
        kept = (folder / run / "run.json").exists()
        fresh = f"{data} --algo {algo} --seeds {args.seeds} --hidden {args.hidden} --steps {args.steps}"
        command(folder, f"train -o {run} --resume" if kept else f"train {fresh} -o {run}")
        begun = kept and "interact" in json.loads((folder / run / "run.json").read_text())
        stage = f"--rounds 5 --hidden {args.hidden} --grad-steps {args.grad_steps} --env {env}"
        command(folder, f"interact {run} --resume" if begun else f"interact {run} {stage}")
        result.write_text(command(folder, f"eval {run} --episodes 20 --json"))
    told = json.loads(result.read_text())
    seeds = [f"{member['return_mean']:.1f}" for member in told["members"]]
    summary = json.loads(command(folder, f"inspect {data} --json"))
    return (
        f"| {name} | {summary['return_mean']:.1f} | {algo} | {told['return_mean']:.1f} | {', '.join(seeds)} |"
    )


def main() -> None:
    """Make what is missing and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--algos", nargs="+", default=["bco", "d3g", "qsi"])
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20_000, help="offline gradient steps")
    parser.add_argument(
        "--grad-steps", type=int, default=4_000, help="in each of five rounds of 1,000 interactions"
    )
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    rows = [measure(args.folder, name, algo, args) for name in args.only for algo in args.algos]
    print("| data | its return | algorithm | return | seeds |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
