"""Loggers: the losses and returns of a run in TensorBoard, Weights & Biases, MLflow or trackio.

``metrics.csv`` and ``evaluations.csv`` are always written; a logger is used only if it is asked for.
"""

from __future__ import annotations

import importlib
import json
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, Protocol

from lfo.atomic import write_whole
from lfo.errors import LfoError
from lfo.runs.folder import RunFolder
from lfo.training.progress import Progress

PROJECT = "d3g-lfo"
"""The project (MLflow: experiment) that runs are listed in."""
_STAGES = ("train", "rounds")
_IDS = "loggers.json"


class Tracker(Protocol):
    """A logger of a run folder; see :class:`lfo.training.progress.Logger`."""

    id: str
    """What its package calls the run, to continue it; empty if the folder is enough."""

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Take figures."""

    def close(self) -> None:
        """Nothing more will come."""


def require_loggers(names: Sequence[str]) -> None:
    """Check that loggers can be used. Call it before long work.

    Raises:
        LfoError: no logger has that name, or its package is missing.
    """
    for name in names:
        _package(name)


def _package(name: str) -> Any:
    if name not in LOGGERS:
        raise LfoError(f"log: expected one of {', '.join(LOGGERS)}, found {name!r}; pass one of these")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from its dependencies; a user cannot fix them
            return importlib.import_module(LOGGERS[name][0])
    except ImportError as error:
        raise LfoError(
            f"log: {name} needs a package that is missing ({error}); install the extra with "
            f"`pip install '.[{name}]'` in the clone, or run `pip install {name}`"
        ) from error


@contextmanager
def logged(progress: Progress, names: Sequence[str], out: RunFolder | None) -> Iterator[None]:
    """Send what ``progress`` is told to the loggers of these names, for the block.

    Args:
        progress: where to add them.
        names: some of :data:`LOGGERS`.
        out: the run folder, with its ``run.json``. Its name is the run's; a later block continues the same run.

    Raises:
        LfoError: see :func:`require_loggers`; there is no run folder, or a logger cannot be started.
    """
    if names and out is None:
        raise LfoError(f"log: {names[0]} needs a run folder, found none; pass out")
    before, opened = progress.loggers, list[Tracker]()
    try:
        for name in names:
            assert out is not None
            opened.append(_open(name, out))
        progress.loggers = (*before, *opened)
        yield
    finally:
        progress.loggers = before
        for logger in opened:
            with redirect_stdout(sys.stderr):
                logger.close()


def _open(name: str, out: RunFolder) -> Tracker:
    package, path = _package(name), out.path / _IDS
    try:
        ids = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tracker = LOGGERS[name][1](package, out, ids.get(name))
    except Exception as error:  # each package has errors of its own: no account, no connection, …
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise LfoError(f"log: {name} cannot be started ({reason}); set it up, or leave --log out") from error
    if tracker.id and ids.get(name) != tracker.id:
        write_whole(path, json.dumps({**ids, name: tracker.id}, indent=2) + "\n")
    return tracker


class _TensorBoard:
    """Event files in ``RUN/tensorboard``."""

    id = ""

    def __init__(self, tensorboard: Any, out: RunFolder, known: str | None) -> None:
        self.writer = tensorboard.SummaryWriter(out.path / "tensorboard")

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"{stage}/{name}", value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class _Wandb:
    """A run of Weights & Biases, its files in ``RUN/wandb``. Each stage has an axis of its own."""

    def __init__(self, wandb: Any, out: RunFolder, known: str | None) -> None:
        name = out.path.resolve().name
        self.run = wandb.init(
            project=PROJECT, name=name, dir=out.path, config=out.info(), id=known, resume="allow"
        )
        self.id = str(self.run.id)
        for stage in _STAGES:
            self.run.define_metric(f"{stage}/step")
            self.run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        self.run.log({f"{stage}/step": step, **_named(stage, values)})

    def close(self) -> None:
        self.run.finish()


class _Mlflow:
    """A run of MLflow, where ``MLFLOW_TRACKING_URI`` says."""

    def __init__(self, mlflow: Any, out: RunFolder, known: str | None) -> None:
        self.mlflow, info = mlflow, out.info()
        mlflow.set_experiment(PROJECT)
        run = mlflow.start_run(run_id=known, run_name=None if known else out.path.resolve().name)
        self.id = str(run.info.run_id)
        if known is None:
            mlflow.log_params({"algo": info["algo"], "env": info["env"], **info["config"]})

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        self.mlflow.log_metrics(_named(stage, values), step=step)

    def close(self) -> None:
        self.mlflow.end_run()


class _Trackio:
    """A run of trackio, which goes by its name, in its own local store."""

    def __init__(self, trackio: Any, out: RunFolder, known: str | None) -> None:
        self.id = known or f"{out.path.resolve().name}-{uuid.uuid4().hex[:6]}"
        self.run = trackio.init(project=PROJECT, name=self.id, config=out.info(), resume="allow")

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        self.run.log({f"{stage}/step": step, **_named(stage, values)})

    def close(self) -> None:
        self.run.finish()


def _named(stage: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{stage}/{name}": float(value) for name, value in values.items()}


LOGGERS: dict[str, tuple[str, Callable[[Any, RunFolder, str | None], Tracker]]] = {
    "tensorboard": ("torch.utils.tensorboard", _TensorBoard),
    "wandb": ("wandb", _Wandb),
    "mlflow": ("mlflow", _Mlflow),
    "trackio": ("trackio", _Trackio),
}
"""What ``--log`` takes: the module to import, and what makes a tracker of it."""
