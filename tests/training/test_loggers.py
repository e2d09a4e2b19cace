"""``--log``: off unless asked for; what a logger is told, that it continues a run, and that its failure costs nothing."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from shell import TINY, TINY_ROUNDS, copy, error, must

from lfo import D3G, learn_inverse, load_agent
from lfo.cli._common import _OPTIONS
from lfo.datasets import LfoError, load
from lfo.runs.folder import RunFolder
from lfo.training.loggers import LOGGERS, logged
from lfo.training.progress import Progress


class Fake(types.ModuleType):
    """Stands in for wandb, mlflow and trackio: the calls of their documentation that are used here, written down."""

    id = "run-1"
    info = types.SimpleNamespace(run_id="run-1")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.started: list[str | None] = []
        self.calls: list[tuple[str, Any]] = []

    # wandb; trackio, whose runs go by name
    def init(self, *, project: str, name: str, config: Any, resume: str, **wandb: Any) -> Fake:
        assert resume == "allow"
        assert set(wandb) <= {"dir", "id"}
        self.started.append(wandb["id"] if self.__name__ == "wandb" else name)
        return self

    def define_metric(self, name: str, step_metric: str | None = None) -> None: ...

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.calls.append(("log", dict(metrics)))

    def finish(self) -> None:
        self.calls.append(("end", None))

    # mlflow
    def set_experiment(self, name: str) -> None: ...

    def start_run(self, run_id: str | None = None, *, run_name: str | None = None) -> Fake:
        self.started.append(run_id)
        return self

    def log_params(self, params: Mapping[str, Any]) -> None:
        assert params["algo"] == "d3g"

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        assert step is not None
        self.log({**metrics, f"{next(iter(metrics)).split('/')[0]}/step": step})

    def end_run(self) -> None:
        self.calls.append(("end", None))


def test_tensorboard_has_losses_and_returns(dataset: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    must("train", dataset, "-o", run, "--seeds", "0-1", *TINY, "--log", "tensorboard")
    must("interact", run, *TINY_ROUNDS, "--log", "tensorboard")
    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    out = RunFolder(run)
    losses = [float(row["critic_loss"]) for row in out.rows("metrics.csv") if row["member"] == "1"]
    assert [e.value for e in events.Scalars("train/critic_loss/member1")] == pytest.approx(losses)
    returns = events.Scalars("rounds/return/member0")
    assert [e.step for e in returns] == sorted(
        {int(row["interactions"]) for row in out.rows("evaluations.csv")}
    )


def test_fit_sends_losses_and_returns(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake("mlflow")
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    rounds = {"rounds": 1, "interactions": 20, "grad_steps": 2, "episodes": 1}
    few: dict[str, Any] = {"steps": 4, "hidden": 8, "batch_size": 8, "progress": False}
    D3G.fit(load(dataset), "InvertedPendulum-v5", out=tmp_path / "run", log=["mlflow"], **few, **rounds)
    stages = [name.partition("/")[0] for what, values in fake.calls if what == "log" for name in values]
    assert set(stages) == {"train", "rounds"}
    with pytest.raises(LfoError, match="log: mlflow needs a run folder, found none; pass out"):
        D3G.fit(load(dataset), log=["mlflow"], **few)
    with pytest.raises(LfoError, match=r"log: expected one of tensorboard.* found 'mlfow'"):
        D3G.fit(load(dataset), log=["mlfow"], **few)


def test_without_log_there_is_only_csv(interacted: Path) -> None:
    names = {path.name for path in interacted.iterdir()}
    assert {"metrics.csv", "evaluations.csv"} <= names
    assert not {"tensorboard", "loggers.json"} & names


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_a_tracker_gets_figures_and_continues_its_run(
    name: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = Fake(name)
    monkeypatch.setitem(sys.modules, name, fake)
    out, progress = RunFolder(copy(trained, tmp_path)), Progress()
    with logged(progress, [name], out):
        progress.log("train", 20, {"critic_loss": [0.5, 1.5]})
    figures = {"train/critic_loss/member0": 0.5, "train/critic_loss/member1": 1.5, "train/step": 20}
    assert fake.calls == [("log", figures), ("end", None)]
    assert progress.loggers == ()
    learn_inverse(
        load_agent(out, "cpu"),
        "InvertedPendulum-v5",
        out=out,
        progress=progress,
        log=[name],
        rounds=1,
        interactions=20,
        grad_steps=2,
        episodes=1,
    )
    first, again = fake.started
    assert again == (first if name == "trackio" else "run-1")
    assert name == "trackio" or first is None
    last = next(values for kind, values in reversed(fake.calls) if kind == "log")
    assert last["rounds/step"] == 20
    assert {"rounds/return/member0", "rounds/inverse_loss/member1"} <= set(last)


def test_a_logger_that_fails_costs_a_note(interacted: Path) -> None:
    notes: list[str] = []

    class Broken:
        def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
            raise OSError("no connection")

    class Noted(Progress):
        def note(self, text: str) -> None:
            notes.append(text)

    progress = Noted()
    progress.loggers = [Broken()]
    progress.log("train", 1, {"loss": [1.0]})
    progress.log("train", 2, {"loss": [1.0]})
    assert notes == ["Broken logs no more (no connection); the run continues without it"]


def test_a_missing_package_is_told_before_anything_is_written(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    told = error("train", dataset, "-o", tmp_path / "run", "--log", "wandb")
    assert "pip install '.[wandb]'" in told
    assert not (tmp_path / "run").exists()
    with pytest.raises(LfoError, match="log: wandb needs a run folder"), logged(Progress(), ["wandb"], None):
        pass


def test_one_that_cannot_start_is_an_error_of_one_line(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb"))
    with (
        pytest.raises(LfoError, match=r"log: wandb cannot be started \(.*\); set it up, or leave --log out"),
        logged(Progress(), ["wandb"], RunFolder(trained)),
    ):
        pass


def test_help_lists_every_logger() -> None:
    """The command line names them without importing this module, which needs torch."""
    assert _OPTIONS["log"]["type"].choices == tuple(LOGGERS)
