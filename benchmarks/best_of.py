"""What would π_o's row of Table 1 read, had each of its numbers been the best of several evaluations?

    python benchmarks/best_of.py STUDY

For every environment and fraction of random actions: the mean return in a study's data, the standard deviation over
episodes, and mean ± standard deviation (over 1,000 draws) of the best of K means of ten episodes drawn from the data,
beside the published number.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lfo.datasets import load
from lfo.reporting.published import published
from lfo.study.spec import data_names, load_study

EVALUATIONS = (1, 10, 30, 100)


def best_of(returns: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """1,000 draws of the best of ``count`` means of ten returns each."""
    return rng.choice(returns, (1000, count, 10)).mean(axis=2).max(axis=1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a study whose data have been collected")
    folder = parser.parse_args(arguments).study
    study = load_study(folder / "study.toml")
    rng = np.random.default_rng(0)
    print("| env | random | published | mean, std of an episode |", *(f"best of {k} |" for k in EVALUATIONS))
    print("| --- " * (4 + len(EVALUATIONS)) + "|")
    for env in study.envs:
        for random_frac in study.random_frac:
            sets = [load(folder / name) for name in data_names(env, random_frac, study)]
            # The last episode may be cut short
            returns = np.concatenate([data.episode_returns()[:-1] for data in sets])
            row = [env, f"{random_frac:.0%}", "–", f"{returns.mean():.2f}, {returns.std():.2f}"]
            if number := published(env, random_frac, "pi_o"):
                row[2] = f"{number.mean} ± {number.std}"
            for k in EVALUATIONS:
                best = best_of(returns, k, rng)
                row.append(f"{best.mean():.1f} ± {best.std():.1f}")
            print("|", " | ".join(row), "|")


if __name__ == "__main__":
    main()
