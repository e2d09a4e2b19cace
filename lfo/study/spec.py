"""A study: a table of runs, defined by a few fields, and the folder that it lives in.

A *cell* of the table is an environment, a fraction of random actions and an algorithm; its members are the seeds,
and it is one run folder. This module says what a study is and where it stands; :mod:`lfo.study.scheduler` runs it,
:mod:`lfo.study.worker` is what one cell does.

    DIR/study.toml                    the fields, all of them
    DIR/data/ENV-PCT-K.h5             data set K of an environment at PCT % random actions
    DIR/cells/ENV-PCT-ALGO/           a run folder; besides: status.json, scores.csv, portrait.npz, portrait.png
    DIR/logs/                         what the processes said, if they said anything
    DIR/experts.csv, DIR/results.csv  the experts' returns; a row a member, see :mod:`lfo.study.scheduler`
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lfo.atomic import write_whole
from lfo.datasets.policies import expert_envs
from lfo.errors import data_error
from lfo.settings import configure, read_settings

if TYPE_CHECKING:
    from lfo.algorithms.inverse import InverseConfig
    from lfo.algorithms.protocol import Config

__all__ = [
    "PROTOCOLS",
    "Cell",
    "Overview",
    "Row",
    "Status",
    "Study",
    "algorithm_config",
    "cells",
    "data_names",
    "inverse_config",
    "load_study",
    "locked",
    "make_study",
    "overview",
    "read_status",
    "same_study",
    "shipped",
    "study_fields",
    "to_toml",
    "write_status",
]

PROTOCOLS: dict[str, dict[str, int]] = {
    "final": {},
    "paper": {
        "transitions": 1_000_000,
        "datasets": 1,
        "steps": 1_000_000,
        "rounds": 100,
        "grad_steps": 10_000,
    },
}
"""What a protocol changes of the defaults of :class:`Study`. Which score counts is the protocol's, too."""

ACTIVE = ("collecting", "training", "interacting", "evaluating")
"""States of a cell that is being worked on."""
GROWING = ("envs", "random_frac", "algos")
"""Fields that a later start may add to: the cells that are there stay what they are."""


@dataclass(frozen=True)
class Study:
    """The fields of a study. The defaults are those of protocol ``final``."""

    envs: tuple[str, ...]
    """Gymnasium ids of environments with a built-in expert."""
    random_frac: tuple[float, ...]
    """Fractions of uniform random actions in the data's policy π_o, in [0, 1]."""
    algos: tuple[str, ...] = ("bco", "d3g")
    """Registered names, see :mod:`lfo.algorithms.registry`."""
    seeds: tuple[int, ...] = tuple(range(10))
    """One member of each cell for each."""
    protocol: str = "final"
    """``final``: the last score counts; ``paper``: the best of all rounds does, and sizes are the published."""
    transitions: int = 200_000
    """Rows of each data set."""
    datasets: int = 3
    """Independently collected data sets of each environment and fraction; member m learns from m mod this."""
    steps: int = 50_000
    """Offline gradient steps."""
    rounds: int = 10
    """Rounds of the inverse stage."""
    interactions: int = 1_000
    """Environment steps a round and member."""
    grad_steps: int = 2_000
    """Gradient steps a round."""
    episodes_per_round: int = 10
    """Episodes of each member's evaluation after a round."""
    final_episodes: int = 100
    """Episodes of each member's final evaluation, from starts that no round was evaluated on."""
    hidden: int = 256
    """Units in each hidden layer of every network."""
    precision: str = "fp32"
    """``bf16``: hidden layers multiply in bfloat16 where the algorithm can."""
    paper: bool = False
    """The published algorithms, without this project's changes."""
    d3g: Mapping[str, Any] = field(default_factory=dict)
    """Settings of D3G to change, see :class:`~lfo.algorithms.d3g.D3GConfig`."""
    bco: Mapping[str, Any] = field(default_factory=dict)
    """Settings of BCO to change, see :class:`~lfo.algorithms.bco.BCOConfig`."""
    inverse: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the inverse stage to change, see :class:`~lfo.algorithms.inverse.InverseConfig`."""


@dataclass(frozen=True)
class Cell:
    """One cell of the table: one stack of members, one run folder, one process."""

    env: str
    random_frac: float
    algo: str

    @property
    def name(self) -> str:
        """``InvertedPendulum-v5-25-d3g``, the name of its folder."""
        return f"{_data_stem(self.env, self.random_frac)}-{self.algo}"

    @property
    def path(self) -> str:
        """Its folder, relative to the study's."""
        return f"cells/{self.name}"

    def data_names(self, study: Study) -> tuple[str, ...]:
        """The files it learns from, relative to the study's folder; no more of them than members."""
        return data_names(self.env, self.random_frac, study)


def data_names(env: str, random_frac: float, study: Study) -> tuple[str, ...]:
    """The data sets of an environment and fraction, relative to the study's folder."""
    count = min(study.datasets, len(study.seeds))
    return tuple(f"data/{_data_stem(env, random_frac)}-{k}.h5" for k in range(count))


def _data_stem(env: str, random_frac: float) -> str:
    return f"{env.replace('/', '_')}-{100 * random_frac:.10g}"


def cells(study: Study) -> list[Cell]:
    """All cells, in the order of the fields."""
    return [Cell(env, f, algo) for env in study.envs for f in study.random_frac for algo in study.algos]


# Fields from outside -------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _one_of(*names: str) -> Callable[[Any], str]:
    def one(value: Any) -> str:
        if value not in names:
            raise ValueError
        return _text(value)

    return one


def _whole(least: int) -> Callable[[Any], int]:
    def whole(value: Any) -> int:
        if type(value) is not int or value < least:
            raise ValueError
        return value

    return whole


def _fraction(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(
        isinstance(v, bool | int | float | str) for v in value.values()
    ):
        raise ValueError
    return dict(value)


T = TypeVar("T")


def _list_of(one: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    def many(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError
        items = tuple(map(one, value))
        if len(set(items)) < len(items):
            raise ValueError
        return items

    return many


@cache
def _known_fields() -> dict[str, tuple[Callable[[Any], Any], str]]:
    """Each field's check, and what it expects in words."""
    envs, algos = expert_envs(), ("bco", "d3g")
    counts = (
        *("transitions", "datasets", "steps", "rounds", "interactions", "grad_steps"),
        *("episodes_per_round", "final_episodes", "hidden"),
    )
    settings = (_table, "a table of settings, such as { hidden = 128 }")
    return {
        "envs": (
            _list_of(_one_of(*envs)),
            f"a list of environments that have an expert ({', '.join(envs)}), each once",
        ),
        "random_frac": (
            _list_of(_fraction),
            "a list of fractions from 0 to 1, such as [0, 0.5, 1], each once",
        ),
        "algos": (_list_of(_one_of(*algos)), f"a list of algorithms ({', '.join(algos)}), each once"),
        "seeds": (_list_of(_whole(0)), "a list of whole numbers from 0 up, such as [0, 1, 2], each once"),
        "protocol": (_one_of(*PROTOCOLS), " or ".join(PROTOCOLS)),
        **{name: (_whole(1), "a whole number from 1 up") for name in counts},
        "precision": (_one_of("fp32", "bf16"), "fp32 or bf16"),
        "paper": (_flag, "true or false"),
        **{name: settings for name in (*algos, "inverse")},
    }


def study_fields(values: Mapping[str, Any], where: str | Path) -> dict[str, Any]:
    """Check fields that were given.

    Args:
        values: field name to value, as TOML has it.
        where: what they come from, for the error.

    Raises:
        LfoError: an unknown field, or a value of the wrong type or out of range.
    """
    known, checked = _known_fields(), dict[str, Any]()
    for name, value in values.items():
        if name not in known:
            raise data_error(
                where,
                name,
                expected=f"a field of a study, one of {', '.join(known)}",
                found="another name",
                remedy="mend or remove it",
            )
        convert, expected = known[name]
        try:
            checked[name] = convert(value)
        except ValueError as error:
            raise data_error(
                where, name, expected=expected, found=repr(value), remedy="mend or remove it"
            ) from error
    _check_inverse(checked.get("inverse", {}), where)
    return checked


_OWN = {
    "rounds": "rounds",
    "interactions": "interactions",
    "grad_steps": "grad_steps",
    "episodes": "episodes_per_round",
}
"""Settings of the inverse stage that are fields of the study itself."""


def _check_inverse(values: Mapping[str, Any], where: str | Path) -> None:
    for name in values:
        if name in _OWN:
            raise data_error(
                where,
                f"inverse.{name}",
                expected=f"the study's own field {_OWN[name]}",
                found="it here",
                remedy="move it up",
            )


def make_study(checked: Mapping[str, Any], where: str | Path) -> Study:
    """A study of checked fields: what is not given is the protocol's.

    Raises:
        LfoError: ``envs`` or ``random_frac`` is missing.
    """
    for name in ("envs", "random_frac"):
        if name not in checked:
            raise data_error(
                where, name, expected=_known_fields()[name][1], found="nothing", remedy="add a line for it"
            )
    values: dict[str, Any] = {**PROTOCOLS[checked.get("protocol", "final")], **checked}
    return Study(**values)


def load_study(path: str | Path, options: Mapping[str, Any] | None = None) -> Study:
    """Read a study.

    Args:
        path: a TOML file, or the name of a study that ships.
        options: fields that override the file's.

    Raises:
        LfoError: the file cannot be read or is not TOML, or a field is wrong.
    """
    if str(path) in shipped():
        with resources.as_file(resources.files("lfo.study.shipped") / f"{path}.toml") as file:
            given = study_fields(read_settings(file, "study"), path)
    else:
        given = study_fields(read_settings(path, "study"), path)
    return make_study({**given, **study_fields(options or {}, "options")}, path)


def shipped() -> list[str]:
    """The names of the studies that ship."""
    files = (Path(entry.name) for entry in resources.files("lfo.study.shipped").iterdir())
    return sorted(file.stem for file in files if file.suffix == ".toml")


def to_toml(study: Study) -> str:
    """All fields, to be read again by :func:`load_study`."""
    values = asdict(study)
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    lines = [f"{name} = {_toml(value)}" for name, value in values.items() if name not in tables]
    for name, table in tables.items():
        if table:
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # Of a text, a number or a flag JSON is TOML too, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def algorithm_config(study: Study, algo: str) -> Config:
    """The settings that an algorithm has in a study.

    Raises:
        LfoError: an unknown setting, or one of the wrong type or out of range.
    """
    from lfo.algorithms import registry

    kind = registry.spec(algo).config
    base: Config = kind.paper() if study.paper else kind()
    values: dict[str, Any] = {"hidden": study.hidden}
    if study.precision in registry.spec(algo).precisions and study.precision != "fp32":
        values["precision"] = study.precision
    return configure(base, values | dict(getattr(study, algo)), where=f"study: {algo}")


def inverse_config(study: Study) -> InverseConfig:
    """The settings that the inverse stage has in a study.

    Raises:
        LfoError: an unknown setting, or one of the wrong type or out of range.
    """
    from lfo.algorithms.inverse import InverseConfig

    own = {name: getattr(study, field) for name, field in _OWN.items()}
    values = {"hidden": study.hidden, **study.inverse, **own}
    return configure(InverseConfig(), values, where="study: inverse")


# Where a study stands ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Status:
    """Where a cell stands: ``status.json``."""

    state: str = "waiting"
    """``waiting``, ``collecting``, ``training``, ``interacting``, ``evaluating``, ``done`` or ``failed``; in an
    :func:`overview` also ``stopped``: at work when the study was interrupted."""
    done: int = 0
    """Units of work done, about a hundredth of a second each on one core."""
    total: int = 0
    """Units of work in all."""
    seconds: float = 0.0
    """Time spent, in earlier starts too."""
    updated: str = ""
    """When this was written, ISO 8601."""
    error: str | None = None
    """Why it failed, in one line."""
    pid: int | None = None
    """The process that wrote this."""


def read_status(folder: str | Path, cell: Cell) -> Status:
    """The status of a cell of the study in ``folder``; waiting, where there is none or it cannot be read."""
    try:
        found = json.loads((Path(folder) / cell.path / "status.json").read_text(encoding="utf-8"))
        return Status(**{known.name: found[known.name] for known in fields(Status)})
    except (OSError, ValueError, TypeError, KeyError):
        return Status()


def write_status(folder: str | Path, cell: Cell, status: Status) -> None:
    """Keep the status of a cell, with the time and this process."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    path = Path(folder) / cell.path / "status.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(replace(status, updated=now, pid=os.getpid())))
    write_whole(path, text + "\n", durable=False)  # written every second, and no loss


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a file for the block; yields whether it is held. It is free when its holder has ended."""
    try:
        import fcntl
    except ImportError:  # not on this system: nothing keeps two starts of one study apart
        yield True
        return
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


@dataclass(frozen=True)
class Row:
    """One cell in an :class:`Overview`."""

    cell: Cell
    status: Status
    seconds_left: float | None
    """Estimated from the speed so far; None where nothing is known yet."""
    data: tuple[int, int] = (0, 0)
    """Its data sets that are there, and how many it needs."""


@dataclass(frozen=True)
class Overview:
    """Where a study stands."""

    rows: tuple[Row, ...]
    running: bool
    """Whether a process is at work on it."""
    seconds_left: float | None
    """Estimated for as many processes as are at work."""

    def count(self, *states: str) -> int:
        """Cells in these states."""
        return sum(row.status.state in states for row in self.rows)


def overview(folder: str | Path, *, running: bool | None = None) -> Overview:
    """Where the study in ``folder`` stands, from its files alone.

    Args:
        folder: of a study.
        running: whether a process is at work on it; None looks.

    Raises:
        LfoError: there is no study.
    """
    folder = Path(folder)
    study = load_study(folder / "study.toml")
    if running is None:
        with locked(folder / ".lock", wait=False) as free:
            running = not free
    found = {cell: read_status(folder, cell) for cell in cells(study)}
    if not running:
        found = {
            cell: replace(status, state="stopped") if status.state in ACTIVE else status
            for cell, status in found.items()
        }
    rows = tuple(
        Row(cell, status, _seconds_left(cell, found), _data(folder, cell.data_names(study)))
        for cell, status in found.items()
    )
    return Overview(rows, running, _all_left(rows))


def _data(folder: Path, names: tuple[str, ...]) -> tuple[int, int]:
    return sum((folder / name).is_file() for name in names), len(names)


def _seconds_left(cell: Cell, found: Mapping[Cell, Status]) -> float | None:
    """The rest of a cell at its own speed, or else at that of its like."""
    mine = found[cell]
    if mine.state == "done":
        return 0.0
    # A speed is known from a hundredth of a cell on: before that a process mostly starts.
    begun = {other: status for other, status in found.items() if status.done >= 0.01 * status.total > 0}
    like_it = [status for other, status in begun.items() if other.algo == cell.algo]
    measured = [mine] if mine.done >= 0.05 * mine.total > 0 else like_it or list(begun.values())
    if not measured or mine.total == 0:
        return None
    speed = sum(status.done for status in measured) / max(sum(status.seconds for status in measured), 1e-3)
    return (mine.total - mine.done) / speed


def _all_left(rows: tuple[Row, ...]) -> float | None:
    """When the last of as many workers as are active is done, each taking the longest that waits."""
    left = {row.cell: row.seconds_left for row in rows if row.status.state != "done"}
    known = [seconds for seconds in left.values() if seconds is not None]
    if len(known) < len(left):
        return None
    active = [row.seconds_left or 0.0 for row in rows if row.status.state in ACTIVE]
    waiting = sorted(
        (row.seconds_left or 0.0 for row in rows if row.status.state not in (*ACTIVE, "done")), reverse=True
    )
    free = active or [0.0]
    heapq.heapify(free)
    for seconds in waiting:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def same_study(old: Study, new: Study, where: Path) -> Study:
    """``old`` with the environments, fractions and algorithms that ``new`` adds.

    Raises:
        LfoError: another field differs.
    """
    for known in fields(Study):
        before, now = getattr(old, known.name), getattr(new, known.name)
        if known.name not in GROWING and before != now:
            raise data_error(
                where,
                known.name,
                expected=f"{_toml_or_table(before)}, as the study was started",
                found=_toml_or_table(now),
                remedy="start it with the same, or choose another -o",
            )
    envs, fractions, algos = (
        tuple(dict.fromkeys((*getattr(old, name), *getattr(new, name)))) for name in GROWING
    )
    return replace(old, envs=envs, random_frac=tuple(sorted(fractions)), algos=algos)


def _toml_or_table(value: Any) -> str:
    return str(dict(value)) if isinstance(value, Mapping) else _toml(value)
