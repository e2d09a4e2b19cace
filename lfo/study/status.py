"""Where a study stands: each cell's ``status.json``, the lock of the process that works on it, and the time left."""

from __future__ import annotations

import heapq
import json
import os
import socket
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path

from lfo.atomic import write_whole
from lfo.locks import locked
from lfo.study.spec import Cell, Study, cells, load_study

AT_WORK = ("training", "interacting", "evaluating")
"""States of a cell that a process is at work on."""
ACTIVE = ("collecting", *AT_WORK)
"""The same, and a cell whose data are being made."""
TOTALS = "totals.json"
"""Units of work in every cell, by name."""
BEAT_SECONDS = 10.0
"""A process at work writes its status at least so often."""
SILENT_SECONDS = 90.0
"""Of a process that has written nothing for so long is assumed that it ended; clocks of machines may differ a little."""


@dataclass(frozen=True)
class Status:
    """Where a cell stands: ``status.json``."""

    state: str = "waiting"
    """``waiting``, ``collecting``, ``training``, ``interacting``, ``evaluating``, ``done`` or ``failed``; in an
    :func:`overview` also ``stopped``: it was at work when the study was interrupted."""
    done: int = 0
    """Units of work done, about a hundredth of a second each on one core."""
    total: int = 0
    """Units of work in all."""
    seconds: float = 0.0
    """Time spent, in earlier starts too."""
    updated: str = ""
    """When this was written, ISO 8601. A process at work writes it every ten seconds at least."""
    error: str | None = None
    """Why it failed, in one line."""
    pid: int | None = None
    """The process that wrote this."""
    host: str = ""
    """The machine that wrote this."""


def read_status(folder: str | Path, cell: Cell) -> Status:
    """Read the status of a cell of the study in ``folder``. One that is missing or damaged is ``waiting``."""
    try:
        found = json.loads((Path(folder) / cell.path / "status.json").read_text(encoding="utf-8"))
        return Status(**{known.name: found[known.name] for known in fields(Status) if known.name in found})
    except (OSError, ValueError, TypeError, KeyError):
        return Status()


def write_status(folder: str | Path, cell: Cell, status: Status) -> None:
    """Write the status of a cell, with the time and this process."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    path = Path(folder) / cell.path / "status.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(replace(status, updated=now, pid=os.getpid(), host=socket.gethostname())))
    write_whole(path, text + "\n", durable=False)  # written every second, and easily replaced


def write_totals(folder: Path, totals: Mapping[Cell, int]) -> None:
    """Write the work in each cell, in place of a status for each cell that waits; earlier cells are kept."""
    whole = _totals(folder) | {cell.name: total for cell, total in totals.items()}
    write_whole(folder / TOTALS, json.dumps(whole) + "\n", durable=False)


def _totals(folder: Path) -> dict[str, int]:
    try:
        found = json.loads((folder / TOTALS).read_text(encoding="utf-8"))
        return {name: int(total) for name, total in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def read_all(folder: Path, study: Study) -> dict[Cell, Status]:
    """The status of every cell. One that has not begun is ``waiting``, with the work that it will be."""
    totals = _totals(folder)
    found = {cell: read_status(folder, cell) for cell in cells(study)}
    return {
        cell: status if status.total else replace(status, total=totals.get(cell.name, 0))
        for cell, status in found.items()
    }


def is_done(folder: Path, cell: Cell) -> bool:
    """Whether a cell has been done to the end."""
    return read_status(folder, cell).state == "done" and (folder / cell.path / "scores.csv").is_file()


@dataclass(frozen=True)
class Row:
    """One cell in an :class:`Overview`."""

    cell: Cell
    status: Status
    seconds_left: float | None
    """Estimated from the speed so far; None where nothing is known yet."""
    data: tuple[int, int] = (0, 0)
    """How many of its data sets exist, and how many it needs."""


@dataclass(frozen=True)
class Overview:
    """Where a study stands."""

    rows: tuple[Row, ...]
    running: bool
    """Whether a process is at work on it."""
    seconds_left: float | None
    """Estimated for as many processes as are at work; None where nothing is known yet."""

    def count(self, *states: str) -> int:
        """Cells in these states."""
        return sum(row.status.state in states for row in self.rows)


def overview(
    folder: str | Path,
    *,
    running: bool | None = None,
    study: Study | None = None,
    known: Mapping[Cell, Status] | None = None,
) -> Overview:
    """Say where the study in ``folder`` stands, from its files alone.

    Args:
        folder: of a study.
        running: whether a process is at work on it; if None, its lock tells.
        study: its fields; None reads them.
        known: the status of every cell; None reads them.

    Raises:
        LfoError: there is no study.
    """
    folder = Path(folder)
    study = study or load_study(folder / "study.toml")
    if running is None:
        with locked(folder / ".lock") as free:
            running = not free
    found = known or read_all(folder, study)
    speeds = _Speeds(found)
    data = {row: _data(folder, study.files(row)) for row in study.rows}
    found = {cell: _seen(status, running, data[cell.data]) for cell, status in found.items()}
    rows = tuple(
        Row(cell, status, speeds.seconds_left(cell, status), data[cell.data])
        for cell, status in found.items()
    )
    return Overview(rows, running, _all_left(rows))


def _is_alive(status: Status) -> bool:
    """Whether the process that wrote a status is at work, as far as its heartbeat tells."""
    try:
        since = datetime.now(timezone.utc) - datetime.fromisoformat(status.updated)
    except (TypeError, ValueError):
        return True
    return since.total_seconds() < SILENT_SECONDS


def _seen(status: Status, running: bool, data: tuple[int, int]) -> Status:
    """A status as it is to be understood."""
    if running and status.state == "waiting" and data[0] < data[1]:
        return replace(status, state="collecting")
    if status.state in ACTIVE and not (running and _is_alive(status)):
        return replace(status, state="stopped")
    return status


def _data(folder: Path, names: tuple[str, ...]) -> tuple[int, int]:
    return sum((folder / name).is_file() for name in names), len(names)


class _Speeds:
    """Units of work a second, of each algorithm and of all cells that have begun."""

    def __init__(self, found: Mapping[Cell, Status]) -> None:
        self.done, self.seconds = defaultdict[str | None, float](float), defaultdict[str | None, float](float)
        for cell, status in found.items():
            # Below a hundredth of a cell, the time went into starting the process.
            if status.done >= 0.01 * status.total > 0:
                for key in (cell.algo, None):
                    self.done[key] += status.done
                    self.seconds[key] += status.seconds

    def seconds_left(self, cell: Cell, status: Status) -> float | None:
        """The rest of a cell at its own speed, or else at that of its column's other cells, or else of all."""
        if status.state == "done":
            return 0.0
        if status.total == 0 or not self.done:
            return None
        key = cell.algo if cell.algo in self.done else None
        done, seconds = self.done[key], self.seconds[key]
        if status.done >= 0.05 * status.total:
            done, seconds = status.done, status.seconds
        return (status.total - status.done) / (done / max(seconds, 1e-3))


def _all_left(rows: tuple[Row, ...]) -> float | None:
    """When the last worker ends, if there are as many as now and each takes the longest cell that waits."""
    left = {row.cell: row.seconds_left for row in rows if row.status.state != "done"}
    known = [seconds for seconds in left.values() if seconds is not None]
    if len(known) < len(left):
        return None
    active = [row.seconds_left or 0.0 for row in rows if row.status.state in AT_WORK]
    waiting = sorted(
        (row.seconds_left or 0.0 for row in rows if row.status.state not in (*AT_WORK, "done")), reverse=True
    )
    free = active or [0.0]
    heapq.heapify(free)
    for seconds in waiting:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)
