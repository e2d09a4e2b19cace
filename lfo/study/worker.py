"""One task of a study in a process of its own: a data set, a cell, or the experts' returns.

:mod:`lfo.study.scheduler` starts :func:`main` with three words: the study's folder, the device, and the path in that
folder of what to make. The process ends when its standard input does, which means that its parent closed it or died.
As after Ctrl-C in ``d3g-lfo train``, finished work is on disk by then.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from lfo.acting.evaluation import evaluate_policy
from lfo.atomic import write_csv
from lfo.datasets import LfoError, from_logs, load, save
from lfo.datasets.collect import collect
from lfo.datasets.policies import Policy, is_trained_policy, load_policy
from lfo.envs.faults import opened
from lfo.envs.make import with_kwargs
from lfo.locks import locked
from lfo.runs.policy import load_run_policy
from lfo.study.spec import DataSet, Study, cells, load_study

STOPPED = 130
"""Exit code of a worker that was told to stop."""
EXPERT_SEED = 2_000_000
"""Of the starts of the experts' episodes."""
EXPERT_EPISODES = 100


def main() -> None:
    """Do the task named by the command line: FOLDER DEVICE TASK. Exits 0, 1 or :data:`STOPPED`."""
    folder, device, task = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    try:
        _do(load_study(folder / "study.toml"), folder, device, task)
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except LfoError as error:
        sys.exit(f"Error: {error}")
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"Error: {type(error).__name__}: {' '.join(str(error).split())}")


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _stop_at_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _do(study: Study, folder: Path, device: str, task: str) -> None:
    if task == "experts.csv":
        measure_experts(study, folder)
        return
    for row in study.rows:
        for k, name in enumerate(study.files(row)):
            if task == name:
                make_data(study, row, k, folder / name)
                return
    cell = next(cell for cell in cells(study) if cell.path == task)
    with locked(folder / task / ".lock", timeout=-1):
        from lfo.study.cell import work_on

        work_on(study, cell, folder, device)


def make_data(study: Study, name: str, k: int, path: Path) -> None:
    """Collect data set ``k`` of a row, or copy its source, without actions. Every k and fraction has its own seed."""
    row = study.rows[name]
    if row.source:
        data = from_logs(row.source, row.recipe) if row.recipe else load(row.source)
    else:
        data, _ = collect(
            row.env,
            env_kwargs=row.env_kwargs,
            random_frac=row.random_frac,
            steps=row.transitions or study.transitions,
            seed=row.seeds[k] if row.seeds else 10_000 * (k + 1) + round(1_000 * row.random_frac),
            policy=_policy(row),
            trust_pickle=row.trust_pickle,
        )
    save(data, path, overwrite=True)


def _policy(row: DataSet) -> str | Policy:
    """Who collects: a name or file that :func:`collect` reads, or the policy of a run."""
    if not ((Path(row.policy) / "run.json").is_file() or is_trained_policy(row.policy)):
        return row.policy
    with opened(with_kwargs(row.env, row.env_kwargs)) as env:
        return load_run_policy(Path(row.policy), env, member=row.member)


def measure_experts(study: Study, folder: Path) -> None:
    """Write ``experts.csv``: each environment's expert over 100 whole episodes, without random actions."""
    rows = []
    for env_id in study.experts:
        with opened(env_id) as env:
            policy = load_policy("expert", env)
        generator = np.random.default_rng(0)

        def act(observations: np.ndarray, policy: Any = policy, rng: Any = generator) -> np.ndarray:
            return np.asarray(policy.act(observations[0], rng))[None]

        found = evaluate_policy(act, env_id, episodes=EXPERT_EPISODES, seed=EXPERT_SEED)
        measured = {"return_mean": found.mean, "return_std": found.std}
        rows.append({"env": env_id, "policy": policy.name, "episodes": EXPERT_EPISODES, **measured})
    write_csv(folder / "experts.csv", rows)
