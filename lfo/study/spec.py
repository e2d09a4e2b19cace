"""What a study is: a table of runs, defined by a few fields.

A *cell* of the table is an environment, a fraction of random actions and an algorithm. Its members are the seeds, and
it is one run folder. A study lives in a folder:

    DIR/study.toml                    the fields, all of them
    DIR/data/ENV-PCT-K.h5             data set K of an environment at PCT % random actions
    DIR/cells/ENV-PCT-ALGO/           a run folder, with status.json, scores.csv, portrait.npz and portrait.png
    DIR/logs/                         what the processes printed, if anything
    DIR/experts.csv, DIR/results.csv  the experts' returns; one row per member

:mod:`lfo.study.status` says where a study stands, :mod:`lfo.study.scheduler` runs it, :mod:`lfo.study.cell` is the
work of one cell, and :mod:`lfo.study.results` writes ``results.csv``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
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
GROWING = ("envs", "random_frac", "algos")
"""Fields that a later start may add to. Cells that exist stay as they are."""


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


@dataclass(frozen=True)
class Study:
    """The fields of a study. The defaults are those of protocol ``final``."""

    envs: Annotated[tuple[str, ...], _LIST, _each_once("environments that have an expert", expert_envs)]
    """Gymnasium ids of environments with a built-in expert."""
    random_frac: Annotated[
        tuple[Fraction, ...], _LIST, _each_once("fractions from 0 to 1, such as [0, 0.5, 1]")
    ]
    """Fractions of uniform random actions in the data's policy π_o, in [0, 1]."""
    algos: Annotated[tuple[str, ...], _LIST, _each_once("algorithms", registry.names)] = ("bco", "d3g")
    """Registered names, see :mod:`lfo.algorithms.registry`."""
    seeds: Annotated[tuple[Whole, ...], _LIST, _each_once("whole numbers from 0 up, such as [0, 1, 2]")] = (
        tuple(range(10))
    )
    """One member of each cell for each."""
    protocol: Literal["final", "paper"] = "final"
    """``final``: the last score counts. ``paper``: the best of all rounds counts, at the published sizes."""
    transitions: Count = 200_000
    """Rows of each data set."""
    datasets: Count = 3
    """Independent data sets of each environment and fraction. Member m learns from number m mod this."""
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
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further settings, by the name of an algorithm or ``inverse``. In TOML each is a table, such as ``[d3g]``."""


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

_OWN = {
    "rounds": "rounds",
    "interactions": "interactions",
    "grad_steps": "grad_steps",
    "episodes": "episodes_per_round",
}
"""Settings of the inverse stage that are fields of the study itself."""


def parts() -> tuple[str, ...]:
    """The tables of settings that a study may have: one per registered algorithm, and the inverse stage's."""
    return (*registry.names(), INVERSE)


def study_fields(values: Mapping[str, Any], where: str | Path) -> dict[str, Any]:
    """Check fields that were given.

    Args:
        values: field or table name to value, as TOML has it.
        where: what they come from, for the error.

    Raises:
        LfoError: an unknown field, or a value of the wrong type or out of range.
    """
    kinds = get_type_hints(Study, include_extras=True) | dict.fromkeys(parts(), _TABLE)
    del kinds["settings"]
    checked = check_all(values, kinds, where, "a field of a study")
    for name in parts():
        if name in checked:
            checked[name] = upgrade_config(checked[name])
    for name in checked.get(INVERSE, {}):
        if name in _OWN:
            raise LfoError(
                f"{where}: {INVERSE}.{name}: expected the study's own field {_OWN[name]}, found a setting of the "
                f"inverse stage; set {_OWN[name]} instead"
            )
    return checked


def make_study(checked: Mapping[str, Any], where: str | Path) -> Study:
    """Make a study of checked fields, with the protocol's defaults for the others.

    Raises:
        LfoError: ``envs`` or ``random_frac`` is missing.
    """
    needed = {"envs": "environments, such as ['Reacher-v5']", "random_frac": "fractions, such as [0, 0.5, 1]"}
    for name, what in needed.items():
        if name not in checked:
            raise LfoError(f"{where}: {name}: expected a list of {what}, found nothing; add a line for it")
    values: dict[str, Any] = {**PROTOCOLS[checked.get("protocol", "final")], **checked}
    settings = {name: table for name in parts() if (table := values.pop(name, None))}
    return Study(**values, settings=settings)


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
            values = read_settings(file, "study")
    elif not Path(path).suffix and not Path(path).exists():
        remedy = suggest(str(path), shipped()).replace("correct or remove it", "check the name")
        raise LfoError(
            f"{path}: study: expected a TOML file or the name of a study that ships ({', '.join(shipped())}), "
            f"found neither; {remedy}"
        )
    else:
        values = read_settings(path, "study")
    given = study_fields(values, path)
    return make_study({**given, **study_fields(options or {}, "options")}, path)


def shipped() -> list[str]:
    """The names of the studies that ship."""
    files = (Path(entry.name) for entry in resources.files("lfo.study.shipped").iterdir())
    return sorted(file.stem for file in files if file.suffix == ".toml")


def flat(study: Study) -> dict[str, Any]:
    """Every field, and every table of settings that is not empty, by name."""
    values = asdict(study)
    tables = values.pop("settings")
    return {**values, **tables}


def to_toml(study: Study) -> str:
    """All fields, to be read again by :func:`load_study`."""
    return tomli_w.dumps(flat(study))


def algorithm_config(study: Study, algo: str) -> Config:
    """The settings of an algorithm in a study.

    Raises:
        LfoError: an unknown setting, or one of the wrong type or out of range.
    """
    spec = registry.spec(algo)
    base: Config = spec.config.paper() if study.paper else spec.config()
    values: dict[str, Any] = {"hidden": study.hidden}
    if study.precision in spec.precisions and study.precision != "fp32":
        values["precision"] = study.precision
    return configure(base, values | dict(study.settings.get(algo, {})), where=f"study: {algo}")


def inverse_config(study: Study) -> InverseConfig:
    """The settings of the inverse stage in a study.

    Raises:
        LfoError: an unknown setting, or one of the wrong type or out of range.
    """
    from lfo.algorithms.inverse import InverseConfig

    own = {name: getattr(study, field) for name, field in _OWN.items()}
    values = {"hidden": study.hidden, **study.settings.get(INVERSE, {}), **own}
    return configure(InverseConfig(), values, where=f"study: {INVERSE}")


def same_study(old: Study, new: Study, where: Path) -> Study:
    """``old`` with the environments, fractions and algorithms that ``new`` adds.

    Raises:
        LfoError: another field differs.
    """
    before, now = flat(old), flat(new)
    for name in before | now:
        then, asked = before.get(name, {}), now.get(name, {})
        if name not in GROWING and then != asked:
            raise LfoError(
                f"{where}: {name}: expected {_shown(then)}, as the study was started, found {_shown(asked)}; start it "
                "with the same, or choose another -o"
            )
    envs, fractions, algos = (dict.fromkeys((*before[name], *now[name])) for name in GROWING)
    return replace(old, envs=tuple(envs), random_frac=tuple(sorted(fractions)), algos=tuple(algos))


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)
