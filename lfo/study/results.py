"""``results.csv``: what came out of a study, one row per member and one per data set.

A data set's row has ``pi_o``, its own policy, as its algorithm. The columns are ``data`` (the row of the table),
``env``, ``random_frac`` (empty if unknown), ``algo`` (the column of the table), ``seed``, ``dataset``, ``protocol``,
``score_final`` (mean return of the final evaluation; of pi_o, of the data's episodes), ``score_best`` (the greatest of
the rounds' mean returns), ``interactions``, ``gradient_steps`` (of all networks: offline or imitating, plus those of I)
and ``stopped`` (why a member diverged, in which case it has no scores).
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
from lfo.study.spec import Cell, Study


class Results:
    """Writes ``results.csv`` anew whenever something is finished.

    Args:
        folder: of the study.
        study: its fields.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder, self.study = folder, study
        self._returns: dict[str, float] = {}
        self._finished: dict[Cell, list[dict[str, Any]]] = {}

    def write(self) -> None:
        """Write the rows of what is there."""
        rows: list[dict[str, Any]] = []
        for row in self.study.rows:
            rows += self._policy_rows(row)
            for algo in self.study.algos:
                rows += self._cell_rows(Cell(row, algo))
        write_csv(self.folder / "results.csv", rows)

    def _cell_rows(self, cell: Cell) -> list[dict[str, Any]]:
        if cell not in self._finished:
            found = cell_results(self.folder, self.study, cell)
            if not found:
                return []
            self._finished[cell] = found
        return self._finished[cell]

    def _policy_rows(self, row: str) -> list[dict[str, Any]]:
        rows = []
        for k, name in enumerate(self.study.files(row)):
            if name not in self._returns and (self.folder / name).is_file():
                self._returns[name] = float(load(self.folder / name).episode_returns().mean())
            if name in self._returns:
                rows.append(_row(self.study, Cell(row, PI_O), dataset=k, score_final=self._returns[name]))
        return rows


def cell_results(folder: Path, study: Study, cell: Cell) -> list[dict[str, Any]]:
    """The rows of a cell in ``results.csv``, one per member; none while it is not finished."""
    run = RunFolder(folder / cell.path)
    returns: dict[int, list[float]] = defaultdict(list)
    for row in run.rows("scores.csv"):
        returns[int(row["member"])].append(float(row["return"]))
    if not returns:
        return []
    best, stopped, sized = read_rounds(run).best, stopped_members(run.info()), study.sized(cell.algo)
    fitted = sized.rounds * sized.grad_steps
    offline = registry.spec(study.algorithm(cell.algo)).learns_offline
    steps = fitted + (sized.steps if offline else fitted)
    rows = []
    for m, mine in sorted(returns.items()):
        scores = {"score_final": float(np.mean(mine)), "score_best": float(best[m])}
        rows.append(
            _row(
                study,
                cell,
                seed=study.seeds[m],
                dataset=m % len(study.files(cell.data)),
                interactions=sized.rounds * sized.interactions,
                gradient_steps=steps,
                **({"stopped": stopped[m]} if m in stopped else scores),
            )
        )
    return rows


def _row(study: Study, cell: Cell, **found: Any) -> dict[str, Any]:
    row = study.rows[cell.data]
    return {
        "data": cell.data,
        "env": row.env,
        "random_frac": "" if row.source else row.random_frac,
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
