"""What a study is: a table of runs, defined by a few fields.

The rows of the table are data sets, and its columns are algorithms or *variants* of them, which are settings under a
name. A *cell* is a row and a column. Its members are the seeds, and it is one run folder. A study lives in a folder:

    DIR/study.toml                    the fields, all of them
    DIR/data/ROW-K.h5                 data set K of a row
    DIR/cells/ROW-COLUMN/             a run folder, with status.json, scores.csv, portrait.npz and portrait.png
    DIR/logs/                         what the processes printed, if anything
    DIR/experts.csv, DIR/results.csv  the experts' returns; one row per member

:mod:`lfo.study.status` says where a study stands, :mod:`lfo.study.scheduler` runs it, :mod:`lfo.study.cell` is the
work of one cell, and :mod:`lfo.study.results` writes ``results.csv``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from glob import glob
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import tomli_w
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from lfo.algorithms import registry
from lfo.datasets.policies import expert_envs
from lfo.errors import LfoError
from lfo.settings import (
    Count,
    Fraction,
    Precision,
    Whole,
    check_all,
    configure,
    read_settings,
    suggest,
    upgrade_config,
)

if TYPE_CHECKING:
    from lfo.algorithms.inverse import InverseConfig
    from lfo.algorithms.protocol import Config

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
"""The defaults of :class:`Study` that a protocol changes. It also decides which score counts."""
INVERSE = "inverse"
"""The table of the inverse stage's settings."""
GROWING = ("envs", "random_frac", "data", "algos", "variants")
"""Fields that a later start may add to. Cells that exist stay as they are."""
SHOWN = ("references",)
"""Fields that only the report reads, and that every start may change."""
SIZES = ("steps", "rounds", "interactions", "grad_steps", "paper")
"""Fields of the study that a variant may have a value of its own for."""


def _each_once(what: str, known: Callable[[], Iterable[Any]] | None = None) -> WrapValidator:
    """Check a list that is not empty and repeats nothing, and whose items are all known."""

    def each_once(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        names = None if known is None else list(known())
        told = f"a list of {what}" + ("" if names is None else f" ({', '.join(names)})") + ", each once"
        try:
            found = handler(value)
        except ValidationError as error:
            raise ValueError(told) from error
        if not found or len(set(found)) < len(found) or not (names is None or set(found) <= set(names)):
            raise ValueError(told)
        return found

    return WrapValidator(each_once)


_LIST = Field(strict=False)  # TOML has lists, a study tuples
_TABLE = Annotated[
    dict[str, bool | int | float | str],
    Field(description="a table of settings, such as { hidden = 128 }"),
]
_TABLES = Annotated[dict[str, dict[str, Any]], Field(description="tables, each with a name of its own")]


@dataclass(frozen=True)
class DataSet:
    """A row of the table: where its data come from, and where policies act. In TOML, a table ``[data.NAME]``."""

    env: str
    """Environment that policies act in: a Gymnasium id, or ``module:Id``."""
    env_kwargs: Annotated[dict[str, Any], Field(description="a table such as { gravity = 5.0 }")] = field(
        default_factory=dict
    )
    """Arguments that it is made with."""
    source: str = ""
    """What :func:`lfo.datasets.load` reads, or, with ``recipe``, logs; empty to collect the data."""
    recipe: str = ""
    """A recipe's file, if ``source`` is logs."""
    policy: str = "expert"
    """Who collects: ``expert``, ``random``, a run's folder, or a policy's file."""
    member: Whole = 0
    """The member that collects, if ``policy`` is a run."""
    trust_pickle: bool = False
    """Whether to load ``policy`` from a Stable-Baselines3 zip, which can run any code."""
    random_frac: Fraction = 0.0
    """Fraction of uniform random actions, in [0, 1]; policy ``random`` takes no others."""
    transitions: Annotated[int | None, Field(ge=1, description="a whole number from 1 up")] = None
    """Rows to collect; None means as many as the study's other data sets."""
    seeds: Annotated[tuple[Whole, ...], _LIST, Field(description="a list of whole numbers from 0 up")] = ()
    """One data set is collected for each; empty means the study's ``datasets`` of them."""


@dataclass(frozen=True)
class Study:
    """The fields of a study. The defaults are those of protocol ``final``."""

    envs: Annotated[tuple[str, ...], _LIST, _each_once("environments that have an expert", expert_envs)] = ()
    """Gymnasium ids of environments with a built-in expert; with ``random_frac``, the short form of ``data``."""
    random_frac: Annotated[
        tuple[Fraction, ...], _LIST, _each_once("fractions from 0 to 1, such as [0, 0.5, 1]")
    ] = ()
    """Fractions of uniform random actions in the experts' data, in [0, 1]."""
    algos: Annotated[tuple[str, ...], _LIST, _each_once("algorithms and variants")] = ("bco", "d3g")
    """The columns: registered names, see :mod:`lfo.algorithms.registry`, and names of ``variants``."""
    seeds: Annotated[tuple[Whole, ...], _LIST, _each_once("whole numbers from 0 up, such as [0, 1, 2]")] = (
        tuple(range(10))
    )
    """One member of each cell for each."""
    protocol: Literal["final", "paper"] = "final"
    """``final``: the last score counts. ``paper``: the best of all rounds counts, at the published sizes."""
    transitions: Count = 200_000
    """Rows of each data set."""
    datasets: Count = 3
    """Independent data sets of each row. Member m learns from number m mod this."""
    steps: Count = 50_000
    """Offline gradient steps."""
    rounds: Count = 10
    """Rounds of the inverse stage."""
    interactions: Count = 1_000
    """Environment steps per round and member."""
    grad_steps: Count = 2_000
    """Gradient steps per round."""
    episodes_per_round: Count = 10
    """Evaluation episodes per member and round."""
    final_episodes: Count = 100
    """Episodes of each member's final evaluation, from starts that no round was evaluated on."""
    hidden: Count = 256
    """Units in each hidden layer of every network."""
    precision: Precision = "fp32"
    """Number format of matrix products; an algorithm that does not offer it uses fp32."""
    paper: bool = False
    """Whether to use the published algorithms, without this project's changes."""
    references: str = "table1"
    """A CSV of numbers to show beside the study's, or the name of one that ships; empty for none."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further settings, by the name of an algorithm or ``inverse``. In TOML each is a table, such as ``[d3g]``."""
    data: Mapping[str, DataSet] = field(default_factory=dict)
    """Further rows by name."""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By name: ``algo``, any of :data:`SIZES`, a table ``inverse``, and settings of the algorithm."""

    @cached_property
    def rows(self) -> Mapping[str, DataSet]:
        """All data sets by name: those of the short form, then ``data``."""
        short = {
            stem(env, fraction): DataSet(env, random_frac=fraction)
            for env in self.envs
            for fraction in self.random_frac
        }
        return {**short, **self.data}

    @property
    def experts(self) -> tuple[str, ...]:
        """Environments whose expert collects data."""
        collected = (row for row in self.data.values() if not row.source and row.policy == "expert")
        return tuple(
            dict.fromkeys([*(self.envs if self.random_frac else ()), *(row.env for row in collected)])
        )

    def algorithm(self, column: str) -> str:
        """The registered name of a column's algorithm."""
        return str(self.variants.get(column, {}).get("algo", column))

    def sized(self, column: str) -> Study:
        """The study with the sizes of a column."""
        own = {name: value for name, value in self.variants.get(column, {}).items() if name in SIZES}
        return replace(self, **own) if own else self

    def files(self, row: str) -> tuple[str, ...]:
        """A row's data sets, relative to the study's folder; no more of them than members."""
        found = self.rows[row]
        count = 1 if found.source else min(len(found.seeds) or self.datasets, len(self.seeds))
        return tuple(f"data/{row}-{k}.h5" for k in range(count))


@dataclass(frozen=True)
class Cell:
    """One cell of the table: one stack of members, one run folder, one process."""

    data: str
    """The row: a name in :attr:`Study.rows`."""
    algo: str
    """The column: an algorithm or a variant."""

    @property
    def name(self) -> str:
        """``InvertedPendulum-v5-25-d3g``, the name of its folder."""
        return f"{self.data}-{self.algo}"

    @property
    def path(self) -> str:
        """Its folder, relative to the study's."""
        return f"cells/{self.name}"


def stem(env: str, random_frac: float) -> str:
    """The name of a row of the short form."""
    return f"{env.replace('/', '_')}-{100 * random_frac:.10g}"


def cells(study: Study) -> list[Cell]:
    """All cells, row by row."""
    return [Cell(row, algo) for row in study.rows for algo in study.algos]


# Fields from outside -------------------------------------------------------------------------------------------

_OWN = {
    "rounds": "rounds",
    "interactions": "interactions",
    "grad_steps": "grad_steps",
    "episodes": "episodes_per_round",
}
"""Settings of the inverse stage that are fields of the study itself."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._+-]{0,62}[A-Za-z0-9+])?")
"""What rows and columns may be called: they become names of folders."""
_PATHS = ("source", "recipe", "policy")
"""Fields of a data set that may be paths, which are relative to the study's file."""
_COLLECTING = ("policy", "member", "trust_pickle", "random_frac", "transitions", "seeds")
"""Fields of a data set that is collected."""


def parts() -> tuple[str, ...]:
    """The tables of settings that a study may have: one per registered algorithm, and the inverse stage's."""
    return (*registry.names(), INVERSE)


@cache
def _kinds(cls: type[Any]) -> dict[str, Any]:
    """A dataclass's fields, each with its check."""
    return get_type_hints(cls, include_extras=True)


def study_fields(values: Mapping[str, Any], where: str | Path) -> dict[str, Any]:
    """Check fields that were given.

    Args:
        values: field or table name to value, as TOML has it.
        where: what they come from, for the error.

    Raises:
        LfoError: an unknown field, or a value of the wrong type or out of range.
    """
    kinds = _kinds(Study) | dict.fromkeys(parts(), _TABLE)
    kinds |= {"data": _TABLES, "variants": _TABLES}
    del kinds["settings"]
    checked = check_all(values, kinds, where, "a field of a study")
    for name in parts():
        if name in checked:
            checked[name] = upgrade_config(checked[name])
    _refuse_own(checked.get(INVERSE, {}), f"{where}: {INVERSE}")
    if "data" in checked:
        checked["data"] = {name: _data_set(name, table, where) for name, table in checked["data"].items()}
    if "variants" in checked:
        checked["variants"] = {
            name: _variant(name, table, where) for name, table in checked["variants"].items()
        }
    return checked


def _data_set(name: str, table: Mapping[str, Any], where: str | Path) -> DataSet:
    told = f"{where}: data.{name}"
    _require_name(name, told)
    checked = check_all(table, _kinds(DataSet), told, "a field of a data set")
    if "env" not in checked:
        raise LfoError(
            f"{told}: env: expected the environment to act in, found nothing; add env = 'Hopper-v5'"
        )
    given = [field for field in _COLLECTING if field in checked]
    if "source" in checked and given:
        raise LfoError(
            f"{told}: expected either source, to read data, or {given[0]}, to collect them, found both; remove one"
        )
    if "recipe" in checked and "source" not in checked:
        raise LfoError(f"{told}: source: expected the logs that the recipe reads, found nothing; add source")
    if checked.get("policy") == "random":
        checked["random_frac"] = 1.0
    return DataSet(**checked)


def _variant(name: str, table: Mapping[str, Any], where: str | Path) -> dict[str, Any]:
    told = f"{where}: variants.{name}"
    _require_name(name, told)
    if name in (*registry.known(), INVERSE):
        raise LfoError(f"{told}: expected a name that no algorithm has, found {name}; choose another")
    study = _kinds(Study)
    kinds = {size: study[size] for size in SIZES} | {INVERSE: _TABLE}
    checked = check_all({key: table[key] for key in kinds if key in table}, kinds, told, "a size")
    _refuse_own(checked.get(INVERSE, {}), f"{told}: {INVERSE}")
    algo = table.get("algo")
    if algo not in registry.names():
        raise LfoError(
            f"{told}: algo: expected one of {', '.join(registry.names())}, found {algo or 'nothing'}; "
            f"{suggest(str(algo), registry.names()).replace('correct or remove it', 'name one')}"
        )
    return {**upgrade_config(table), **checked}


def _refuse_own(inverse: Mapping[str, Any], told: str) -> None:
    for name in inverse:
        if name in _OWN:
            raise LfoError(
                f"{told}.{name}: expected the study's own field {_OWN[name]}, found a setting of the "
                f"inverse stage; set {_OWN[name]} instead"
            )


def _require_name(name: str, told: str) -> None:
    if not _NAME.fullmatch(name):
        raise LfoError(
            f"{told}: expected a name of at most 64 letters, digits, '.', '_', '+' and '-', as it becomes a folder's, "
            f"found {name!r}; choose another"
        )


def make_study(checked: Mapping[str, Any], where: str | Path) -> Study:
    """Make a study of checked fields, with the protocol's defaults for the others.

    Raises:
        LfoError: there are no rows, a column is unknown, or two cells would have the same folder.
    """
    values: dict[str, Any] = {**PROTOCOLS[checked.get("protocol", "final")], **checked}
    if "algos" not in values and values.get("variants"):
        values["algos"] = tuple(values["variants"])
    settings = {name: table for name in parts() if (table := values.pop(name, None))}
    study = Study(**values, settings=settings)
    known = (*registry.names(), *study.variants)
    if not set(study.algos) <= set(known):
        raise LfoError(
            f"{where}: algos: expected a list of algorithms and variants ({', '.join(known)}), each once, found "
            f"{list(study.algos)}; correct or remove it"
        )
    if bool(study.envs) != bool(study.random_frac) or not study.rows:
        name, what = ("random_frac", "fractions, such as [0, 0.5, 1]") if study.envs else _NO_ENVS
        also = "" if study.envs or study.random_frac else ", or a table [data.NAME]"
        raise LfoError(f"{where}: {name}: expected a list of {what}, found nothing; add a line for it{also}")
    taken: dict[str, Cell] = {}
    for cell in cells(study):
        other = taken.setdefault(cell.name.casefold(), cell)
        if other != cell:
            raise LfoError(
                f"{where}: expected names that tell cells apart, found {cell.name} twice ({other.algo} on "
                f"{other.data}, {cell.algo} on {cell.data}); rename one"
            )
    return study


_NO_ENVS = ("envs", "environments, such as ['Reacher-v5']")


def load_study(path: str | Path, options: Mapping[str, Any] | None = None) -> Study:
    """Read a study.

    Args:
        path: a TOML file, or the name of a study that ships.
        options: fields that override the file's, and settings that override single ones of its tables. ``data`` is a
            list of names in the file's; rows that options do not name are left out as soon as they name some.

    Raises:
        LfoError: the file cannot be read or is not TOML, or a field is wrong.
    """
    options, folder = dict(options or {}), Path(path).parent
    if str(path) in shipped():
        folder = Path()
        with resources.as_file(resources.files("lfo.study.shipped") / f"{path}.toml") as file:
            values = read_settings(file, "study")
    elif not Path(path).suffix and not Path(path).exists():
        remedy = suggest(str(path), shipped()).replace("correct or remove it", "check the name")
        raise LfoError(
            f"{path}: study: expected a TOML file or the name of a study that ships ({', '.join(shipped())}), "
            f"found neither; {remedy}"
        )
    else:
        values = read_settings(path, "study")
    given = _located(study_fields(values, path), folder)
    rows = options.pop("data", None)
    options = _located(study_fields(options, "options"), Path())
    if rows is not None or "envs" in options or "random_frac" in options:
        given["data"] = _named(rows or (), given.get("data", {}), path)
        if not {"envs", "random_frac"} & set(options):
            given["envs"] = given["random_frac"] = ()
    tables = {name: {**given.get(name, {}), **options[name]} for name in parts() if name in options}
    return make_study({**given, **options, **tables}, path)


def _named(names: Iterable[str], data: Mapping[str, DataSet], path: str | Path) -> dict[str, DataSet]:
    for name in names:
        if name not in data:
            raise LfoError(
                f"options: data: expected names of data sets in {path} ({', '.join(data) or 'none'}), found {name!r}; "
                f"{suggest(name, data)}"
            )
    return {name: data[name] for name in names}


def _located(checked: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make paths that are relative to ``folder`` absolute."""
    if "data" in checked:
        checked["data"] = {
            name: replace(row, **{field: _absolute(getattr(row, field), folder) for field in _PATHS})
            for name, row in checked["data"].items()
        }
    if "references" in checked:
        checked["references"] = _absolute(checked["references"], folder)
    return checked


def _absolute(text: str, folder: Path) -> str:
    return _with_path(text, lambda path: os.path.abspath(folder / path))


def _relative(text: str, folder: Path) -> str:
    return _with_path(text, lambda path: os.path.relpath(path, folder))


def _with_path(text: str, change: Callable[[str], str]) -> str:
    """Change the path in a text such as ``file.h5`` or ``lerobot:folder``; a name such as ``expert`` stays."""
    prefix, colon, path = text.rpartition(":")
    if text in ("", "expert", "random", *shipped_references()) or prefix in ("minari", "d4rl"):
        return text
    return prefix + colon + change(path) if prefix in _PREFIXES else change(text)


_PREFIXES = ("hdf5", "npz", "lerobot", "robomimic")
"""What may stand before a path in ``source``, see :data:`lfo.datasets.READERS`."""


def shipped() -> list[str]:
    """The names of the studies that ship."""
    return _shipped(".toml")


def shipped_references() -> list[str]:
    """The names of the tables of references that ship."""
    return _shipped(".csv")


@cache
def _shipped(suffix: str) -> list[str]:
    files = (Path(entry.name) for entry in resources.files("lfo.study.shipped").iterdir())
    return sorted(file.stem for file in files if file.suffix == suffix)


def flat(study: Study) -> dict[str, Any]:
    """Every field that is not empty, and every table, by name; of a data set what is not the default."""
    values = {known.name: getattr(study, known.name) for known in fields(study)}
    tables, data = values.pop("settings"), values.pop("data")
    values |= {name: dict(table) for name, table in tables.items()}
    if data:
        values["data"] = {
            name: {key: value for key, value in vars(row).items() if value != getattr(_EMPTY, key)}
            for name, row in data.items()
        }
    return {name: value for name, value in values.items() if value not in ((), {})}


_EMPTY = DataSet("")


def to_toml(study: Study, folder: str | Path | None = None) -> str:
    """All fields, to be read again by :func:`load_study`.

    Args:
        study: its fields.
        folder: what paths are written relative to; None writes them as they are.
    """
    values = flat(study)
    if folder is not None:
        values["references"] = _relative(study.references, Path(folder))
        for row in values.get("data", {}).values():
            row |= {field: _relative(row[field], Path(folder)) for field in _PATHS if field in row}
    return tomli_w.dumps(values)


def algorithm_config(study: Study, column: str) -> Config:
    """The settings of a column's algorithm: the study's, those of its algorithm's table, and the variant's own.

    Raises:
        LfoError: an unknown setting, or one of the wrong type or out of range.
    """
    study, variant = study.sized(column), study.variants.get(column, {})
    spec = registry.spec(study.algorithm(column))
    base: Config = spec.config.paper() if study.paper else spec.config()
    values: dict[str, Any] = {"hidden": study.hidden}
    if study.precision in spec.precisions and study.precision != "fp32":
        values["precision"] = study.precision
    base = configure(base, values | dict(study.settings.get(spec.name, {})), where=f"study: {spec.name}")
    own = {name: value for name, value in variant.items() if name not in ("algo", INVERSE, *SIZES)}
    return configure(base, own, where=f"study: variants.{column}")


def inverse_config(study: Study, column: str) -> InverseConfig:
    """The settings of the inverse stage of a column.

    Raises:
        LfoError: an unknown setting, or one of the wrong type or out of range.
    """
    from lfo.algorithms.inverse import InverseConfig

    study, own = study.sized(column), study.variants.get(column, {}).get(INVERSE, {})
    sizes = {name: getattr(study, field) for name, field in _OWN.items()}
    values = {"hidden": study.hidden, **study.settings.get(INVERSE, {}), **sizes}
    base = configure(InverseConfig(), values, where=f"study: {INVERSE}")
    return configure(base, own, where=f"study: variants.{column}.{INVERSE}")


def require_ready(study: Study, folder: Path) -> None:
    """Check every setting, and that every file that is needed for the data that ``folder`` lacks is there.

    Raises:
        LfoError: a setting is wrong, or a file is missing.
    """
    for column in study.algos:
        algorithm_config(study, column)
        inverse_config(study, column)
    for name, row in study.data.items():
        if all((folder / file).is_file() for file in study.files(name)):
            continue
        for key in _PATHS:
            text = getattr(row, key)
            prefix, _, path = text.rpartition(":")
            path = path.partition("#")[0] if prefix == "robomimic" else path
            if _absolute(text, Path()) == text == _relative(text, Path()):
                continue  # a name
            if not (os.path.exists(path if prefix in _PREFIXES else text) or glob(text)):
                raise LfoError(
                    f"data.{name}: {key}: expected a file or folder, found nothing at {text}; put it there, correct "
                    "the study's file, or choose other rows with --data"
                )


def same_study(old: Study, new: Study, where: Path) -> Study:
    """``old`` with the rows and columns that ``new`` adds.

    Raises:
        LfoError: another field differs.
    """
    before, now = flat(old), flat(new)
    for name in before | now:
        then, asked = before.get(name, {}), now.get(name, {})
        if name in ("data", "variants"):
            for one in then.keys() & asked.keys():
                _require_same(then[one], asked[one], f"{where}: {name}.{one}")
        elif name not in (*GROWING, *SHOWN):
            _require_same(then, asked, f"{where}: {name}")
    envs, fractions, algos = (
        tuple(dict.fromkeys((*getattr(old, name), *getattr(new, name))))
        for name in ("envs", "random_frac", "algos")
    )
    return replace(
        old,
        envs=envs,
        random_frac=tuple(sorted(fractions)),
        algos=algos,
        data={**old.data, **new.data},
        variants={**old.variants, **new.variants},
        references=new.references,
    )


def _require_same(then: Any, asked: Any, told: str) -> None:
    if then != asked:
        raise LfoError(
            f"{told}: expected {_shown(then)}, as the study was started, found {_shown(asked)}; start it "
            "with the same, or choose another -o"
        )


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)
