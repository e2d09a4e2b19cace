"""Settings from outside: a TOML file or KEY=VALUE, checked against the fields of a config dataclass."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from lfo.errors import LfoError, data_error

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["configure", "parse_setting", "read_settings"]

ConfigT = TypeVar("ConfigT")

_BELOW = {"gamma": 1.0}
"""Fields that have to stay below a number: returns are bounded by r / (1 − γ)."""
_AT_MOST = {"polyak": 1.0}
"""Fields that may not exceed a number: a share of the weights."""
_KINDS = {int: "a whole number from 1 up", float: "a number from 0 up", bool: "true or false"}


def read_settings(path: str | Path, field: str = "--config") -> dict[str, Any]:
    """The keys and values of a TOML file; ``field`` is what an error calls it.

    Raises:
        LfoError: it cannot be read or is not TOML.
    """
    try:
        values: dict[str, Any] = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise data_error(
            path,
            field,
            expected="a TOML file",
            found=error.strerror or "an error",
            remedy="check the path",
        ) from error
    except ValueError as error:
        raise data_error(
            path,
            field,
            expected="TOML, such as `hidden = 128`",
            found=" ".join(str(error).split()),
            remedy="mend that line",
        ) from error
    return values


def parse_setting(text: str) -> tuple[str, Any]:
    """``KEY=VALUE`` as a key and a TOML value; what is no TOML value stays text.

    Raises:
        ValueError: there is no ``=`` or no key.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals):
        raise ValueError(f"expected KEY=VALUE, found {text!r}")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except ValueError:
        return key, value


def configure(base: ConfigT, values: Mapping[str, Any], *, where: str) -> ConfigT:
    """``base`` with some fields changed, each checked.

    Args:
        base: a config dataclass such as :class:`~lfo.algorithms.d3g.D3GConfig`.
        values: field name to new value; whole numbers are taken where numbers are expected.
        where: what the values come from, for the error.

    Raises:
        LfoError: an unknown field, a value of the wrong type or out of range.
    """
    types = get_type_hints(type(base))
    known = [field.name for field in fields(base)]  # type: ignore[arg-type]
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise LfoError(
                f"{where}: {key}: expected a setting of {type(base).__name__}, one of {', '.join(known)}; "
                "found another name; mend or remove it"
            )
        checked[key] = _checked(key, value, types[key], where)
    return replace(base, **checked)  # type: ignore[type-var]


def _checked(key: str, value: Any, kind: type, where: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or not _in_range(key, value):
        expected = _KINDS[kind]
        if key in _BELOW:
            expected += f" and below {_BELOW[key]:g}"
        if key in _AT_MOST:
            expected += f" to {_AT_MOST[key]:g}"
        raise LfoError(f"{where}: {key}: expected {expected}, found {value!r}; mend or remove it")
    return value


def _in_range(key: str, value: Any) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return value >= 1
    return (
        math.isfinite(value)
        and value >= 0
        and value < _BELOW.get(key, math.inf)
        and value <= _AT_MOST.get(key, math.inf)
    )
