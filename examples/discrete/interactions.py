"""How many interactions I(s, s') needs where actions are redundant: CartPole with 2, 20 and 200 permuted actions.

    python interactions.py redundant.png

I is fitted to random interactions, five seeds. Its accuracy is how often the number that it names for a transition stands
for the action that was taken, on 2,000 transitions that it has not seen. Nothing else of D3G depends on the actions.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import redundant
import torch

from lfo.acting.rounds import fit_inverse
from lfo.algorithms.inverse import Inverse, InverseConfig
from lfo.datasets.collect import collect
from lfo.envs.make import make_env
from lfo.envs.spaces import ActionSpace
from lfo.nn.scaling import Units
from lfo.training.seeding import seeded
from lfo.training.sources import ReplayBuffer

SEEDS, SEEN, TESTED, STEPS = range(5), (50, 200, 1000, 5000), 2_000, 1_000


def accuracy(env_id: str, seen: int) -> list[float]:
    """Of each seed's I after ``seen`` interactions."""
    env: Any = make_env(env_id)
    meaning = env.get_wrapper_attr("meaning")
    found = [collect(env_id, policy="random", steps=seen + TESTED, seed=seed) for seed in SEEDS]
    units = Units.of([data for data, _ in found], list(SEEDS), standardise=True)
    inverse = Inverse(InverseConfig(hidden=64), units, ActionSpace.of(env), list(SEEDS), standardised=True)
    columns = [
        np.stack([getattr(data, name) for data, _ in found])
        for name in ("states", "next_states", "rewards", "terminated", "truncated")
    ]
    actions = np.stack([taken for _, taken in found])
    buffer = ReplayBuffer(units, 1, seen)
    buffer.append(*(torch.from_numpy(part[:, :seen].copy()) for part in (*columns, actions)))
    fit_inverse(inverse, buffer, STEPS, [seeded(seed, 0) for seed in SEEDS])
    states, after = (torch.from_numpy(part[:, seen:].copy()) for part in columns[:2])
    with torch.no_grad():
        named = inverse(units.states(states), units.deltas(states, after)).numpy()
    same = meaning[named.astype(int)] == meaning[actions[:, seen:].astype(int)]
    return [float(value) for value in same.mean(axis=(1, 2))]


def main() -> None:
    """Print the table and draw it."""
    torch.set_num_threads(1)
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    print("| actions | " + " | ".join(f"{seen:,}" for seen in SEEN) + " |\n|--:|" + "--:|" * len(SEEN))
    for times in redundant.TIMES:
        curve = np.array([accuracy(f"redundant:CartPole{times}-v0", seen) for seen in SEEN])
        print(f"| {2 * times} | " + " | ".join(f"{row.mean():.3f} ± {row.std():.3f}" for row in curve) + " |")
        axes.errorbar(SEEN, curve.mean(axis=1), curve.std(axis=1), marker="o", label=f"{2 * times} actions")
    axes.set(xscale="log", xlabel="interactions", ylabel="accuracy of I(s, s')", ylim=(0.45, 1.02))
    axes.legend(frameon=False)
    figure.savefig(sys.argv[1], dpi=150)


if __name__ == "__main__":
    main()
