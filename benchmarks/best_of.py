"""What would π_o's row of Table 1 read, had each of its numbers been the best of several evaluations?

    python benchmarks/best_of.py STUDY

For every data set: the mean return in a study's data, the standard deviation over
episodes, and mean ± standard deviation (over 1,000 draws) of the best of K means of ten episodes drawn from the data,
beside the number that the study's references have.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lfo.datasets import load
from lfo.study.references import read_references
from lfo.study.spec import load_study

EVALUATIONS = (1, 10, 30, 100)


def best_of(returns: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """1,000 draws of the best of ``count`` means of ten returns each."""
    return rng.choice(returns, (1000, count, 10)).mean(axis=2).max(axis=1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a study whose data have been collected")
    folder = parser.parse_args(arguments).study
    study = load_study(folder / "study.toml")
    rng, references = np.random.default_rng(0), read_references(study.references)
    print("| data | published | mean, std of an episode |", *(f"best of {k} |" for k in EVALUATIONS))
    print("| --- " * (3 + len(EVALUATIONS)) + "|")
    for name in study.rows:
        sets = [load(folder / file) for file in study.files(name)]
        # The last episode may be cut short
        returns = np.concatenate([data.episode_returns()[:-1] for data in sets])
        row = [name, "–", f"{returns.mean():.2f}, {returns.std():.2f}"]
        if found := references.get((name, "pi_o")):
            row[1] = f"{found.mean} ± {found.std}"
        for k in EVALUATIONS:
            best = best_of(returns, k, rng)
            row.append(f"{best.mean():.1f} ± {best.std():.1f}")
        print("|", " | ".join(row), "|")


if __name__ == "__main__":
    main()
