"""``results.csv``: what came out of a study, one row per member and one per data set.

A data set's row has ``pi_o``, its own policy, as its algorithm. The columns are ``env``, ``random_frac``, ``algo``,
``seed``, ``dataset``, ``protocol``, ``score_final`` (mean return of the final evaluation; of pi_o, of the data's
episodes), ``score_best`` (the greatest of the rounds' mean returns), ``interactions``, ``gradient_steps`` (of all
networks: offline or imitating, plus those of I) and ``stopped`` (why a member diverged, in which case it has no scores).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from lfo.algorithms import registry
from lfo.atomic import write_csv
from lfo.datasets import load
from lfo.runs.folder import RunFolder
from lfo.runs.scores import PI_O, read_rounds, stopped_members
from lfo.study.spec import Cell, Study, data_names


class Results:
    """Writes ``results.csv`` anew whenever something is finished.

    Args:
        folder: of the study.
        study: its fields.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder, self.study = folder, study
        self._returns: dict[str, float] = {}

    def write(self) -> None:
        """Write the rows of what is there."""
        rows: list[dict[str, Any]] = []
        for env in self.study.envs:
            for fraction in self.study.random_frac:
                rows += self._policy_rows(env, fraction)
                for algo in self.study.algos:
                    rows += cell_results(self.folder, self.study, Cell(env, fraction, algo))
        write_csv(self.folder / "results.csv", rows)

    def _policy_rows(self, env: str, random_frac: float) -> list[dict[str, Any]]:
        rows = []
        for k, name in enumerate(data_names(env, random_frac, self.study)):
            if name not in self._returns and (self.folder / name).is_file():
                self._returns[name] = float(load(self.folder / name).episode_returns().mean())
            if name in self._returns:
                cell = Cell(env, random_frac, PI_O)
                rows.append(_row(self.study, cell, dataset=k, score_final=self._returns[name]))
        return rows


def cell_results(folder: Path, study: Study, cell: Cell) -> list[dict[str, Any]]:
    """The rows of a cell in ``results.csv``, one per member; none while it is not finished."""
    run = RunFolder(folder / cell.path)
    returns: dict[int, list[float]] = defaultdict(list)
    for row in run.rows("scores.csv"):
        returns[int(row["member"])].append(float(row["return"]))
    if not returns:
        return []
    best, stopped = read_rounds(run).best, stopped_members(run.info())
    fitted = study.rounds * study.grad_steps
    steps = fitted + (study.steps if registry.spec(cell.algo).learns_offline else fitted)
    rows = []
    for m, mine in sorted(returns.items()):
        scores = {"score_final": float(np.mean(mine)), "score_best": float(best[m])}
        rows.append(
            _row(
                study,
                cell,
                seed=study.seeds[m],
                dataset=m % len(cell.data_names(study)),
                interactions=study.rounds * study.interactions,
                gradient_steps=steps,
                **({"stopped": stopped[m]} if m in stopped else scores),
            )
        )
    return rows


def _row(study: Study, cell: Cell, **found: Any) -> dict[str, Any]:
    return {
        "env": cell.env,
        "random_frac": cell.random_frac,
        "algo": cell.algo,
        "seed": "",
        "dataset": "",
        "protocol": study.protocol,
        "score_final": "",
        "score_best": "",
        "interactions": 0,
        "gradient_steps": 0,
        "stopped": "",
    } | found
