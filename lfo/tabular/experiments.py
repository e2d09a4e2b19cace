"""The published experiments as data, and the trials that they consist of.

A trial is one learner on one grid with one seed. Its result depends on nothing else, such as the number of
processes. It is stored in its own file when it is finished, so that an interrupted run continues with the missing
ones. The curves of an experiment share their trials' seeds, so their differences are paired.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lfo.atomic import atomic_file, write_whole
from lfo.errors import LfoError
from lfo.processes import require_memory, share_out
from lfo.tabular.grid import Grid, coordinates, make_grid, policy_return, policy_value

EPISODES = 50_000
REVERSED = (3, 2, 1, 0)


@dataclass(frozen=True)
class Curve:
    """One line of a figure: a learner on a grid."""

    label: str
    learner: Literal["qss", "qsa"]
    grid: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of :func:`~lfo.tabular.grid.make_grid`."""
    learned_inverse: bool = False
    """QSS only: I(s, s') is learned from the actions seen, not given."""
    transferred: bool = False
    """Q is first learned for as many episodes with the usual actions; then I starts empty."""
    frozen: bool = False
    """The transferred Q does not change; only I is learned."""
    panel: str = ""
    """The part of the figure the line is drawn in."""

    @property
    def name(self) -> str:
        """What the curve is called outside its panel."""
        return f"{self.label}, {self.panel}" if self.panel else self.label


@dataclass(frozen=True)
class Experiment:
    """One figure."""

    title: str
    trials: int
    """Published number of trials."""
    curves: tuple[Curve, ...]
    log_x: bool = False
    """Draw episodes on a logarithmic axis."""


def _slips() -> tuple[Curve, ...]:
    return tuple(
        Curve(name, learner, {"slip": slip}, panel=f"{slip:.0%} slips")
        for slip in (0.25, 0.5, 0.75)
        for name, learner in _LEARNERS
    )


def _redundant() -> tuple[Curve, ...]:
    return tuple(
        Curve(f"{4 * copies} actions", learner, {"redundancy": copies}, learner == "qss", panel=name)
        for name, learner in _LEARNERS
        for copies in (1, 10, 100)
    )


_LEARNERS: tuple[tuple[str, Literal["qss", "qsa"]], ...] = (("QSS", "qss"), ("QSA", "qsa"))
_PERMUTED = {"permutation": REVERSED}

EXPERIMENTS: dict[str, Experiment] = {
    "equivalence": Experiment(
        "QSS and Q-learning (QSA) in a deterministic grid",
        trials=50,
        curves=(Curve("QSS", "qss"), Curve("QSA", "qsa")),
    ),
    "stochastic": Experiment(
        "QSS and Q-learning (QSA) when some actions are replaced at random", trials=10, curves=_slips()
    ),
    "cliff": Experiment(
        "QSS and Q-learning (QSA) at a windy cliff",
        trials=10,
        curves=(Curve("QSS", "qss", {"windy_cliff": True}), Curve("QSA", "qsa", {"windy_cliff": True})),
    ),
    "redundant": Experiment(
        "QSS and Q-learning (QSA) with 4, 40 and 400 actions", trials=50, curves=_redundant()
    ),
    "permuted": Experiment(
        "QSS and Q-learning (QSA) after the actions are reversed",
        trials=50,
        curves=(
            Curve("QSS, transferred", "qss", _PERMUTED, learned_inverse=True, transferred=True),
            Curve("QSS, transferred, Q frozen", "qss", _PERMUTED, True, transferred=True, frozen=True),
            Curve("QSS, from scratch", "qss", _PERMUTED, learned_inverse=True),
            Curve("QSA, transferred", "qsa", _PERMUTED, transferred=True),
            Curve("QSA, from scratch", "qsa", _PERMUTED),
        ),
        log_x=True,
    ),
}


@dataclass(frozen=True)
class Trial:
    """What is kept of one trial."""

    returns: NDArray[np.float32]
    """[episodes + 1]: return of the greedy policy before each episode and after the last one; the mean of 10
    rollouts where dynamics are random."""
    values: NDArray[np.float64]
    """[S]: learned value of each state: max over N(s) of Q(s, s'), or max over a of Q(s, a)."""
    policy: NDArray[np.float64]
    """[S, 4]: the final greedy policy, as probabilities of directions."""
    start_value: float
    """The learned value of the start: its entry of ``values``."""
    true_start_value: float
    """The exact discounted value of the final greedy policy there."""
    policy_return: float
    """The exact expected undiscounted return of the final greedy policy."""


@dataclass(frozen=True)
class Task:
    """One trial to run: which, how long, from which seed."""

    experiment: str
    curve: int
    trial: int
    episodes: int
    seed: int


def run_trial(task: Task) -> Trial:
    """Learn, evaluating the greedy policy before each episode.

    Raises:
        LfoError: numba is not installed.
    """
    from lfo.tabular.learners import Settings

    curve = EXPERIMENTS[task.experiment].curves[task.curve]
    grid = make_grid(**curve.grid)
    returns, values, policy = (_run_qss if curve.learner == "qss" else _run_qsa)(curve, grid, task)
    return Trial(
        returns=returns.astype(np.float32),
        values=values,
        policy=policy,
        start_value=float(values[grid.start]),
        true_start_value=float(policy_value(grid, policy, Settings().gamma)[grid.start]),
        policy_return=policy_return(grid, policy),
    )


def _generators(task: Task, phase: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Random numbers for acting and for evaluating; phase 1 is learning before a transfer."""
    streams = np.random.SeedSequence(task.seed, spawn_key=(task.trial, phase)).spawn(2)
    return np.random.default_rng(streams[0]), np.random.default_rng(streams[1])


Learned = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _run_qss(curve: Curve, grid: Grid, task: Task) -> Learned:
    """Returns, state values and policy of QSS."""
    from lfo.tabular import learners

    settings = learners.Settings()
    learned = curve.learned_inverse
    new_inverse = learners.unknown_inverse if learned else learners.given_inverse
    table = learners.qss_table(grid, settings, new_inverse(grid))
    if curve.transferred:
        original = make_grid()
        table = learners.qss_table(original, settings, new_inverse(original))
        learners.learn_qss(original, table, settings, task.episodes, *_generators(task, 1), True, learned)
        table = learners.QssTable(table.q, new_inverse(grid))
    returns = learners.learn_qss(
        grid, table, settings, task.episodes, *_generators(task, 0), not curve.frozen, learned
    )
    values = np.take_along_axis(table.q, grid.moves, axis=1).max(axis=1)
    return returns, values, learners.qss_policy(grid, table)


def _run_qsa(curve: Curve, grid: Grid, task: Task) -> Learned:
    """Returns, state values and policy of Q-learning."""
    from lfo.tabular import learners

    settings = learners.Settings()
    table = learners.qsa_table(grid, settings)
    if curve.transferred:
        learners.learn_qsa(make_grid(), table, settings, task.episodes, *_generators(task, 1))
    returns = learners.learn_qsa(grid, table, settings, task.episodes, *_generators(task, 0))
    return returns, table.q.max(axis=1), learners.qsa_policy(grid, table)


def trial_path(directory: Path, task: Task) -> Path:
    """Where a trial is stored: DIRECTORY/trials/EXPERIMENT/CURVE-TRIAL.npz."""
    return directory / "trials" / task.experiment / f"{task.curve}-{task.trial:03}.npz"


def save_trial(path: Path, trial: Trial) -> None:
    """Store a trial; a file that is there is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        np.savez_compressed(file, **asdict(trial))


def load_trial(path: Path, task: Task) -> Trial:
    """Read a stored trial.

    Raises:
        LfoError: The file is damaged or not of this task.
    """
    remedy = "delete the file and run again with --resume"
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in Trial.__dataclass_fields__}
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise LfoError(f"{path}: trial: expected a stored trial, found {error}; {remedy}") from error
    if arrays["returns"].shape != (task.episodes + 1,) or not np.isfinite(arrays["returns"]).all():
        raise LfoError(
            f"{path}: returns: expected {task.episodes + 1} finite numbers, found shape {arrays['returns'].shape}; "
            f"{remedy}"
        )
    kept: dict[str, Any] = {name: array if array.ndim else float(array) for name, array in arrays.items()}
    return Trial(**kept)


def plan(names: Iterable[str], trials: int | None, episodes: int, seed: int) -> list[Task]:
    """All trials of the named experiments, the published number of each unless ``trials`` says otherwise."""
    return [
        Task(name, curve, trial, episodes, seed)
        for name in names
        for curve in range(len(EXPERIMENTS[name].curves))
        for trial in range(trials or EXPERIMENTS[name].trials)
    ]


def run_experiments(
    directory: Path,
    names: Sequence[str],
    *,
    trials: int | None = None,
    episodes: int = EPISODES,
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda finished, total: None,
) -> list[Task]:
    """Run the trials that are not stored in ``directory`` yet, in ``jobs`` processes.

    Args:
        directory: Where trials are stored; made if it is missing.
        names: Keys of :data:`EXPERIMENTS`.
        trials: Trials of each curve; the published number if None.
        episodes: Episodes a trial.
        seed: A trial's own seed is derived from it and the trial's number.
        jobs: Processes. The results do not depend on it. With more than one, a script needs
            ``if __name__ == "__main__":`` around this call.
        progress: Called with (trials finished, all trials), also at the start.

    Returns:
        All tasks of the run; their trials are stored.

    Raises:
        LfoError: numba is not installed, the returns of a trial do not fit into memory, or the directory holds trials
            of another seed or length.
    """
    import lfo.tabular.learners  # noqa: F401  (if numba is missing, fail here and not in a worker)

    require_memory(8 * episodes, f"{episodes:,} episodes", "make them fewer")
    _claim(directory, {"seed": seed, "episodes": episodes})
    tasks = plan(names, trials, episodes, seed)
    missing = [task for task in tasks if not trial_path(directory, task).exists()]
    done = len(tasks) - len(missing)
    progress(done, len(tasks))

    def stored(index: int, nothing: None) -> None:
        nonlocal done
        done += 1
        progress(done, len(tasks))

    share_out(partial(_store, directory), missing, jobs, stored, finish=True)
    return tasks


def _claim(directory: Path, settings: dict[str, int]) -> None:
    """Note the settings that all trials of a directory share; refuse a directory with others."""
    path = directory / "run.json"
    if path.exists():
        found = _read_settings(path)
        if found != settings:
            said = [" ".join(f"--{name} {value}" for name, value in one.items()) for one in (settings, found)]
            raise LfoError(
                f"{path}: settings: expected {said[0]}, found {said[1]}; pass {said[1]}, or choose another folder"
            )
        return
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(settings) + "\n")


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return {"seed": settings["seed"], "episodes": settings["episodes"]}
    except (ValueError, TypeError, KeyError) as error:
        raise LfoError(
            f"{path}: settings: expected seed and episodes, found {error!r}; pass --overwrite to start again, or "
            "choose another folder"
        ) from error


def _store(directory: Path, task: Task) -> None:
    save_trial(trial_path(directory, task), run_trial(task))


def greedy_path(grid: Grid, policy: NDArray[np.float64]) -> NDArray[np.float32]:
    """(row, column) of the states that a policy visits from the start where nothing slips: [steps + 1, 2]."""
    path = [grid.start]
    while not grid.terminal[path[-1]]:
        state = int(grid.moves[path[-1], policy[path[-1]].argmax()])
        if state in path:
            break
        path.append(state)
    return coordinates(grid, np.asarray(path))
