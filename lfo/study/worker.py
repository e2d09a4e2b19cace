"""The process that does tasks of a study: data sets, cells, the experts' returns.

:class:`lfo.study.executors.process.WorkerProcess` starts :func:`main` with two words, the study's folder and the
device, and sends it one task after the other as lines of JSON. Each task runs in a fork, which ends with it, so that
tasks share no state and only the first one waits for imports. A task's exit code is printed as a line.

The task under way ends when standard input does, which means that the parent closed it or died. As after Ctrl-C in
``d3g-lfo train``, finished work is on disk by then.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

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
from lfo.study.executors.process import FORKS, MACHINE_FAULT, STOPPED
from lfo.study.spec import DataSet, Study, cells, load_study
from lfo.study.status import is_done

CELL_IMPORTS = ("lfo.study.cell", "lfo.reporting.portraits", "gymnasium.envs.mujoco", "torch._dynamo")
"""What cells import; torch imports the last one with its first optimiser."""
EXPERT_SEED = 2_000_000
"""Of the starts of the experts' episodes."""
EXPERT_EPISODES = 100

_MACHINE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOMEM}


def main() -> None:
    """Do the tasks that come in on standard input, until it ends. On the command line: FOLDER DEVICE."""
    folder, device = Path(sys.argv[1]), sys.argv[2]
    while line := _next_line():
        request = json.loads(line)
        if not FORKS:
            _do_and_exit(folder, device, request)
        if request["task"].startswith("cells/"):
            _import_what_cells_need()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # of fork beside threads: numpy's know about it
            child = os.fork()
        if child == 0:
            _do_and_exit(folder, device, request)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with suppress(BrokenPipeError):  # the parent died
            os.write(1, b"%d\n" % code)


def _import_what_cells_need() -> None:
    """Import here, once, what every cell would import in its fork: some five seconds."""
    for name in CELL_IMPORTS:
        with suppress(Exception):  # the task will say what is wrong
            import_module(name)


def _next_line() -> bytes:
    """A line of standard input, read without a buffer: a task reads from there too."""
    line = b""
    while not line.endswith(b"\n") and (more := os.read(0, 1)):
        line += more
    return line


def _do_and_exit(folder: Path, device: str, request: dict[str, Any]) -> NoReturn:
    """Do a task. The process exits with 0, 1, :data:`STOPPED` or :data:`MACHINE_FAULT`."""
    code = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(request["env"])
        code = _attempt(folder, device, request["task"])
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _attempt(folder: Path, device: str, task: str) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    try:
        _do(load_study(folder / "study.toml"), folder, device, task)
    except KeyboardInterrupt:
        return STOPPED
    except Exception as error:
        told = str(error)
        if not isinstance(error, LfoError):
            traceback.print_exc()
            told = f"{type(error).__name__}: {' '.join(told.split())}"
        print(f"Error: {told}", file=sys.stderr)
        return MACHINE_FAULT if _is_machine_fault(error) else 1
    return 0


def _is_machine_fault(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in _MACHINE_FAULTS:
            return True
        error = error.__cause__ or error.__context__
    return False


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _stop_at_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _do(study: Study, folder: Path, device: str, task: str) -> None:
    """Do a task, unless another process has done it by now."""
    path = folder / task
    if task == "experts.csv":
        measure_experts(study, folder)
    elif task.startswith("data/"):
        with locked(path.with_name(f".{path.name}.lock"), timeout=-1):
            if not path.is_file():
                row, k = next(
                    (row, k) for row in study.rows for k, name in enumerate(study.files(row)) if name == task
                )
                make_data(study, row, k, path)
    else:
        cell = next(cell for cell in cells(study) if cell.path == task)
        path.mkdir(parents=True, exist_ok=True)
        with locked(path / ".lock", timeout=-1):
            if not is_done(folder, cell):
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
