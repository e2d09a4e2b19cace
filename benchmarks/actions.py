"""The same motions by other actions: ten inputs instead of one, and ten that were rewired. What has to be learned anew?

    python benchmarks/actions.py transfer RUN -o FILE.csv     # RUN of `d3g-lfo online inputs:TenInputs-v0`
    python benchmarks/actions.py figure FOLDER -o FILE.png

``transfer`` keeps Q and τ of RUN, and learns only I, in ``inputs:Rewired-v0``: rounds of 250 interactions, five of them.
``figure`` draws the folder's ``one-d3g`` and ``ten-d3g`` (runs), ``one-td3.csv`` and ``ten-td3.csv`` (of
``benchmarks/peers/online.py``) and ``transfer.csv``. The environments are in ``examples/actions``.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import matplotlib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "actions"))
ENV = "inputs:Rewired-v0"
HEAD = ["seed", "interactions", "return"]


def transfer(run: Path, output: Path) -> None:
    """Learn I alone in the rewired environment; a row for each seed and round."""
    from lfo import RunFolder, learn_inverse, load_agent

    agent = load_agent(RunFolder(run), "cpu")
    rounds = learn_inverse(
        agent, ENV, rounds=5, interactions=250, grad_steps=2000, episodes=10, hidden=agent.config.hidden
    )
    rows = [
        [seed, round_.interactions, float(round_.evaluation.member_means[m])]
        for m, seed in enumerate(agent.seeds)
        for round_ in rounds
    ]
    with output.open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Interactions [R] and returns [M, R], of a run or a CSV file."""
    if path.is_dir():
        from lfo import RunFolder
        from lfo.runs.scores import read_rounds

        rounds = read_rounds(RunFolder(path))
        return rounds.interactions[0], rounds.scores
    table = np.array([[float(x) for x in row] for row in list(csv.reader(path.open()))[1:]])
    seeds = np.unique(table[:, 0])
    each = [table[table[:, 0] == seed] for seed in seeds]
    return each[0][:, 1], np.stack([one[:, 2] for one in each])


def figure(folder: Path, output: Path) -> None:
    """Return against interactions: learning with one input and with ten, and the transfer."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    found, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
    for name, label, colour, style in (
        ("one-d3g", "D3G, one input", "#1f5fa8", "-"),
        ("ten-d3g", "D3G, ten inputs", "#1f5fa8", "--"),
        ("one-td3.csv", "TD3, one input", "#a85a1f", "-"),
        ("ten-td3.csv", "TD3, ten inputs", "#a85a1f", "--"),
    ):
        steps, returns = read(folder / name)
        left.plot(steps, returns.mean(axis=0), style, color=colour, label=label)
        left.fill_between(steps, returns.min(axis=0), returns.max(axis=0), color=colour, alpha=0.1, lw=0)
    steps, returns = read(folder / "transfer.csv")
    right.plot(steps, returns.T, color="#1f5fa8", lw=0.8, alpha=0.5)
    right.plot(
        steps, returns.mean(axis=0), color="#1f5fa8", label="D3G, rewired: I learned anew, Q and τ kept"
    )
    left.set(xlabel="interactions", ylabel="return", title="From nothing")
    right.set(
        xlabel="interactions with the rewired inputs", title="After rewiring: Q and τ kept", ylim=(0, 1050)
    )
    left.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    found.savefig(output, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, what in (("transfer", transfer), ("figure", figure)):
        one = kinds.add_parser(kind)
        one.add_argument("source", type=Path)
        one.add_argument("-o", "--output", type=Path, required=True)
        one.set_defaults(what=what)
    args = parser.parse_args()
    args.what(args.source, args.output)


if __name__ == "__main__":
    main()
