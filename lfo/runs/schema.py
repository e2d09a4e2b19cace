"""What the files of a run folder must look like; what is read is checked against this first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lfo.errors import LfoError, data_error
from lfo.settings import Count, NonNegative, Whole

__all__ = ["check_interactions", "check_record", "check_rows"]

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
_AGAIN = "restore the file from a copy, or train the run again"


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Member(_Part):
    seed: Seed
    dataset: Whole = 0


class _Data(_Part):
    source: str
    path: str | None = None
    sha256: str | None = None
    env: str | None = None
    random_frac: Finite | None = None
    policy: str | None = None
    transitions: Count
    episodes: Count
    return_mean: Finite
    return_std: NonNegative


class _Stage(_Part):
    env: str | None = None
    env_kwargs: dict[str, Any] = {}
    config: dict[str, Any] = {}


class _Run(_Part):
    """``run.json``. Fields that are not named here are kept and not read."""

    algo: str
    env: str | None = None
    env_kwargs: dict[str, Any] = {}
    state_dim: Annotated[int, Field(ge=1, le=1_000_000)]
    steps: Whole
    config: dict[str, Any]
    members: Annotated[list[_Member], Field(min_length=1)]
    datasets: Annotated[list[_Data], Field(min_length=1)]
    command: str | None = None
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}
    interact: _Stage = _Stage()
    stopped: dict[str, str] = {}


def check_record(path: Path, record: Any) -> dict[str, Any]:
    """Check what ``run.json`` holds.

    Raises:
        LfoError: a field is missing, has another type, or is out of range.
    """
    if not isinstance(record, dict) or "members" not in record or "algo" not in record:
        raise LfoError(f"{path}: expected the record of a run, found other JSON; train the run again")
    try:
        run = _Run.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "contents"
        missing = first["type"] == "missing"
        raise data_error(
            path,
            field,
            expected="a value" if missing else first["msg"].removeprefix("Input should be ").lower(),
            found="nothing" if missing else repr(first["input"])[:60],
            remedy=_AGAIN,
        ) from error
    for number, member in enumerate(run.members):
        if member.dataset >= len(run.datasets):
            raise data_error(
                path,
                f"members.{number}.dataset",
                expected=f"a number below {len(run.datasets)}, that of the data sets",
                found=str(member.dataset),
                remedy=_AGAIN,
            )
    completed: dict[str, Any] = {**record, "members": _completed(record["members"], run.members)}
    completed["datasets"] = _completed(record["datasets"], run.datasets)
    known = {str(m) for m in range(len(run.members))}
    if unknown := [member for member in run.stopped if member not in known]:
        raise data_error(
            path,
            "stopped",
            expected=f"indices of the {len(run.members)} members",
            found=repr(unknown[0])[:60],
            remedy=_AGAIN,
        )
    return completed


def _completed(parts: list[dict[str, Any]], models: Sequence[_Part]) -> list[dict[str, Any]]:
    """The parts of a record with the fields that they leave out."""
    return [
        part | {name: value for name, value in model if name not in part}
        for part, model in zip(parts, models, strict=True)
    ]


# The columns that are read again, with their least values.
_EVALUATIONS = {
    "member": 0,
    "seed": 0,
    "dataset": 0,
    "round": 1,
    "interactions": 0,
    "episode": 0,
    "length": 0,
}
_WHOLE: dict[str, dict[str, int]] = {
    "evaluations.csv": _EVALUATIONS,
    "metrics.csv": {"step": 0, "member": 0, "seed": 0},
}
_NUMBERS: dict[str, tuple[str, ...]] = {"evaluations.csv": ("return",)}
_REMEDIES = {
    "evaluations.csv": "restore the file from a copy, or measure again with `d3g-lfo interact {run} --overwrite`",
    "metrics.csv": "restore the file from a copy, or delete it: nothing is computed from it",
}


def check_rows(path: Path, rows: Sequence[Mapping[Any, Any]], members: int) -> None:
    """Check the rows of ``evaluations.csv`` or ``metrics.csv``; other files are not checked.

    Args:
        path: of the file.
        rows: as read.
        members: of the run.

    Raises:
        LfoError: a column is missing, a row has too many fields, or a value is not a number in its range.
    """
    most = {"member": members - 1, "round": len(rows)}  # each round has a row for each member
    for number, row in enumerate(rows, 2):
        wrong = None if None not in row and None not in row.values() else ("line", "a field for each column")
        for name, least in _WHOLE.get(path.name, {}).items():
            value, top = row.get(name) or "", most.get(name, 2**63 - 1)
            if not (value.isascii() and value.isdigit() and len(value) < 20 and least <= int(value) <= top):
                wrong = wrong or (name, f"a whole number from {least} to {top}")
        for name in _NUMBERS.get(path.name, ()):
            if not _is_finite(row.get(name)):
                wrong = wrong or (name, "a finite number")
        if wrong:
            raise data_error(
                path,
                f"line {number}, {wrong[0]}",
                expected=wrong[1],
                found=repr(row.get(wrong[0]))[:60],
                remedy=_REMEDIES[path.name].format(run=path.parent),
            )


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


_TRAILING = {
    "observations": 1,
    "next_observations": 1,
    "actions": 1,
    "rewards": 0,
    "terminals": 0,
    "timeouts": 0,
}


def check_interactions(
    path: Path, arrays: Mapping[str, np.ndarray], members: int, state_dim: int
) -> Mapping[str, np.ndarray]:
    """Check the arrays [M, n, ·] of ``interactions/round-NNNN.h5``.

    Raises:
        LfoError: shapes or values are not those of a run with so many members and so long a state.
    """
    count = next((array.shape[1] for array in arrays.values() if array.ndim > 1), 0)
    for name, array in arrays.items():
        shape: tuple[Any, ...] = (members, count) + ("A",) * _TRAILING[name]
        if "observations" in name:
            shape = (*shape[:2], state_dim)
        alike = array.ndim == len(shape) and all(
            s in ("A", n) for s, n in zip(shape, array.shape, strict=True)
        )
        plain = array.dtype.kind in "fiub" and array.dtype.itemsize <= 8 and array.dtype.isnative
        if not (alike and plain):
            raise _bad_interactions(
                path,
                name,
                f"numbers of shape {list(shape)}".replace("'", ""),
                f"{array.dtype} of shape {list(array.shape)}",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _bad_interactions(path, name, "finite numbers", "NaN or infinity")
    return arrays


def _bad_interactions(path: Path, name: str, expected: str, found: str) -> LfoError:
    run = path.parent.parent if path.parent.name == "interactions" else path.parent
    return data_error(
        path,
        name,
        expected=expected,
        found=found,
        remedy=f"restore the file from a copy, or start again with `d3g-lfo interact {run} --overwrite`",
    )
