"""Worker processes, the order of tasks, and what is said of Ray before anything starts."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from shell import d3g, error

from lfo.datasets import LfoError
from lfo.study import scheduler, worker
from lfo.study.executors import executor_class
from lfo.study.executors.process import WorkerProcess
from lfo.study.scheduler import Task, _Paced, _Work
from lfo.study.spec import Cell, Study, to_toml
from lfo.study.status import Status, overview, read_status, write_status

STUDY = Study(
    envs=("Reacher-v5",), random_frac=(0.0, 0.5, 1.0), algos=("bco",), seeds=(0,), transitions=60, datasets=1
)
FIRST, SECOND, THIRD = (f"Reacher-v5-{percent}" for percent in (0, 50, 100))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "study.toml").write_text(to_toml(STUDY, tmp_path))
    for name in ("data", "logs"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def process(folder: Path) -> Iterator[WorkerProcess]:
    found = WorkerProcess(folder, "cpu", 1)
    yield found
    found.kill()
    found.close()
    found.wait()


def end_of(process: WorkerProcess) -> str | None:
    while (code := process.poll(1.0)) is None:
        pass
    return process.finish(code)


def pid_of(process: WorkerProcess) -> int:
    assert process._process is not None
    return process._process.pid


def test_one_process_does_task_after_task(process: WorkerProcess, folder: Path) -> None:
    process.start(f"data/{FIRST}-0.h5")
    assert end_of(process) is None
    first = pid_of(process)
    process.start("cells/unknown")
    assert "StopIteration" in str(end_of(process))
    assert "Traceback" in (folder / "logs" / "unknown.log").read_text()
    process.start(f"data/{SECOND}-0.h5")
    assert end_of(process) is None
    assert pid_of(process) == first
    assert sorted(path.name for path in (folder / "logs").iterdir()) == ["unknown.log"]
    assert {path.name for path in folder.glob("data/*.h5")} == {f"{FIRST}-0.h5", f"{SECOND}-0.h5"}


def test_a_killed_process_is_told_and_replaced(process: WorkerProcess) -> None:
    process.start(f"data/{FIRST}-0.h5")
    first = pid_of(process)
    os.kill(first, signal.SIGKILL)
    assert end_of(process) == "its process was killed by SIGKILL, perhaps because memory ran out"
    process.start(f"data/{FIRST}-0.h5")
    assert end_of(process) is None
    assert pid_of(process) != first


def test_a_task_that_another_process_has_done_is_not_done_again(folder: Path) -> None:
    done = folder / "data" / f"{FIRST}-0.h5"
    done.write_bytes(b"done")
    worker._do(STUDY, folder, "cpu", f"data/{FIRST}-0.h5")
    assert done.read_bytes() == b"done"
    cell = Cell(FIRST, "bco")
    write_status(folder, cell, Status("done"))
    (folder / cell.path / "scores.csv").touch()
    worker._do(STUDY, folder, "cpu", cell.path)
    assert {path.name for path in (folder / cell.path).iterdir()} == {"status.json", "scores.csv", ".lock"}


def test_what_is_the_machines_fault_is_known() -> None:
    full = LfoError("the disk is full")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert worker._is_machine_fault(full)
    assert not worker._is_machine_fault(LfoError("a wrong setting"))
    assert not worker._is_machine_fault(FileNotFoundError(errno.ENOENT, "missing"))


class Instant:
    """An executor whose tasks end at once; some of them fail."""

    def __init__(self, room: int = 2, *failing: str) -> None:
        self.places, self.failing = room, failing
        self.started: list[str] = []
        self.at_work: list[str] = []

    def room(self) -> int:
        return self.places - len(self.at_work)

    def start(self, task: str) -> None:
        assert self.room() > 0
        self.started.append(task)
        self.at_work.append(task)

    def ended(self, seconds: float) -> list[tuple[str, str | None]]:
        found, self.at_work = self.at_work, []
        return [(task, "broken" if task in self.failing else None) for task in found]

    def stop(self) -> None: ...


def tasks() -> list[Task]:
    data = [Task(f"data/{name}-0.h5", (), (Cell(name, "bco"),)) for name in (FIRST, SECOND)]
    cells = [(THIRD, ()), (SECOND, (data[1].name,)), (FIRST, (data[0].name,))]
    return [*data, *(Task(Cell(n, "bco").path, needs, (Cell(n, "bco"),)) for n, needs in cells)]


def test_tasks_start_in_order_as_soon_as_what_they_need_is_there(folder: Path) -> None:
    workers = Instant(1)
    assert _Work(folder, STUDY, workers, lambda found: None).do(tasks()) == {}
    assert workers.started == [task.name for task in tasks()]
    workers = Instant(2)
    _Work(folder, STUDY, workers, lambda found: None).do(tasks())
    assert [name.split("/")[0] for name in workers.started] == ["data"] * 2 + ["cells"] * 3


def test_a_failed_task_takes_along_only_those_that_need_it(folder: Path) -> None:
    workers, seen = Instant(1, f"data/{FIRST}-0.h5"), []
    failed = _Work(folder, STUDY, workers, lambda found: seen.append(found.running)).do(tasks())
    lost = Cell(FIRST, "bco")
    assert failed == {f"data/{FIRST}-0.h5": "broken", lost.path: f"no data/{FIRST}-0.h5: broken"}
    assert lost.path not in workers.started
    assert len(workers.started) == 4
    assert read_status(folder, lost).state == "failed"
    assert seen[-1] is False


def test_telling_takes_little_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, called = [0.0], []

    def slow() -> None:
        called.append(now[0])
        now[0] += 1.0

    monkeypatch.setattr(scheduler.time, "monotonic", lambda: now[0])
    paced = _Paced(slow, 0.0)
    while now[0] < 100:
        paced(changed=True)
        now[0] += 0.5
    assert len(called) in (5, 6)  # a second of every twenty
    paced = _Paced(slow, 0.0)
    paced(changed=False)
    assert len(called) in (5, 6)


def test_a_cell_that_no_process_has_touched_for_long_is_stopped(folder: Path) -> None:
    silent, busy = Cell(FIRST, "bco"), Cell(SECOND, "bco")
    for cell in (silent, busy):
        write_status(folder, cell, Status("training", 1, 9))
    assert overview(folder, running=True).count("training") == 2
    long_ago = datetime.now(timezone.utc) - timedelta(minutes=5)
    old = replace(read_status(folder, silent), updated=long_ago.isoformat())
    known = {silent: old, busy: read_status(folder, busy), Cell(THIRD, "bco"): Status()}
    found = overview(folder, running=True, study=STUDY, known=known)
    assert [row.status.state for row in found.rows] == [
        "stopped",
        "training",
        "collecting",
    ]  # the last has no data yet
    assert known[busy].host


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "lfo.study.executors.ray", raising=False)
    told = error("study", "table1", "-o", tmp_path / "out", "--executor", "ray")
    assert told.startswith("Error: --executor ray: expected Ray, found none")
    assert told.endswith("install it with `pip install 'd3g-lfo[ray]'`")
    assert not (tmp_path / "out").exists()


def test_ray_is_imported_only_when_asked_for() -> None:
    with pytest.raises(LfoError, match="executor: expected local or ray, found 'slurm'"):
        executor_class("slurm")
    assert executor_class("local").__name__ == "Local"


@pytest.mark.parametrize("words", [("--address", "auto"), ("--cores", "2"), ("--gpus", "0.5")])
def test_options_of_ray_need_ray(words: tuple[str, ...]) -> None:
    done = d3g("study", "table1", "-o", "nowhere", *words)
    assert done.code == 2
    assert "--address, --cores and --gpus need --executor ray" in done.err


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:port", "127.0.0.1:99999"])
def test_an_address_where_no_cluster_answers_is_one_line(address: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    told = error("study", "table1", "-o", tmp_path / "s", "--executor", "ray", "--address", address)
    assert f"found {address}, where none answers" in told
    assert not (tmp_path / "s").exists()
