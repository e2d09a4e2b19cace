"""Settings from outside: a TOML file or KEY=VALUE, checked against the annotated fields of a config dataclass.

A config annotates its fields with the types below (``hidden: Count = 256``); the annotation is the check. Importing
this module imports pydantic, so ``d3g-lfo ... --help`` must not.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from lfo.errors import LfoError, one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ConfigT = TypeVar("ConfigT")

Count = Annotated[int, Field(ge=1, description="a whole number from 1 up")]
Whole = Annotated[int, Field(ge=0, description="a whole number from 0 up")]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number from 0 up")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, description="a number above 0")]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1")]
Discount = Annotated[
    float, Field(ge=0, lt=1, allow_inf_nan=False, description="a number from 0 up and below 1")
]
Share = Discount  # such as that of a minibatch, of which something else is left
Precision = Literal["fp32", "tf32", "bf16"]

_PLAIN: dict[Any, Any] = {int: Count, float: NonNegative}
"""What a field without constraints of its own must hold."""


def read_settings(path: str | Path, field: str = "--config") -> dict[str, Any]:
    """Read the keys and values of a TOML file.

    Args:
        path: of the file.
        field: what an error calls it.

    Raises:
        LfoError: it cannot be read or is not TOML.
    """
    try:
        values: dict[str, Any] = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        found = error.strerror or "an error"
        raise LfoError(f"{path}: {field}: expected a TOML file, found {found}; check the path") from error
    except ValueError as error:
        raise LfoError(
            f"{path}: {field}: expected TOML, such as `hidden = 128`, found {one_line(error)}; correct "
            "that line"
        ) from error
    return values


def parse_setting(text: str) -> tuple[str, Any]:
    """Split ``KEY=VALUE``; the value is read as TOML, or else kept as text.

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
    """Change some fields of a config, after checking each new value.

    Args:
        base: a config dataclass such as :class:`~lfo.algorithms.d3g.D3GConfig`.
        values: field name to new value. Nothing is converted, except a whole number where a number is expected.
        where: what the values come from, for the error.

    Raises:
        LfoError: an unknown field, a value of the wrong type or out of range.
    """
    kinds = get_type_hints(type(base), include_extras=True)
    checked = check_all(values, kinds, where, f"a setting of {type(base).__name__}")
    return replace(base, **checked)  # type: ignore[type-var]


def check_all(
    values: Mapping[str, Any], kinds: Mapping[str, Any], where: str | Path, what: str
) -> dict[str, Any]:
    """:func:`check` each value against the annotation that ``kinds`` has for its name.

    Raises:
        LfoError: a name that ``kinds`` lacks, which should be ``what``; or a value that does not fit.
    """
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in kinds:
            raise LfoError(
                f"{where}: {name}: expected {what}, one of {', '.join(kinds)}, found another name; "
                f"{suggest(name, kinds)}"
            )
        checked[name] = check(value, kinds[name], where, name)
    return checked


def check(value: Any, kind: Any, where: str | Path, key: str) -> Any:
    """Check one value against a type annotation.

    Args:
        value: as TOML has it.
        kind: the annotation, such as :data:`Count`. Its ``Field(description=...)`` is what an error expects.
        where: what the value comes from, for the error.
        key: the setting's name, for the error.

    Returns:
        The value, with whole numbers made floats where the annotation asks for one.

    Raises:
        LfoError: the value does not fit.
    """
    kind = _PLAIN.get(kind, kind)
    adapter: TypeAdapter[Any] = TypeAdapter(kind, config=ConfigDict(strict=True))
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        expected = _expected(kind, error)
    raise LfoError(f"{where}: {key}: expected {expected}, found {value!r}; correct or remove it")


def upgrade_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as earlier versions wrote them: the flags ``bf16`` and ``tf32`` are now one ``precision``."""
    flags = {name: values[name] for name in ("bf16", "tf32") if isinstance(values.get(name), bool)}
    if not flags:
        return dict(values)
    precision = next((name for name, on in flags.items() if on), "fp32")
    return {**{name: value for name, value in values.items() if name not in flags}, "precision": precision}


def suggest(name: str, known: Iterable[str]) -> str:
    """What to do about a misspelt name: the closest valid one, if any is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else "correct or remove it"


def _expected(kind: Any, error: ValidationError) -> str:
    """What an annotation asks for, in words."""
    first = error.errors()[0]
    if first["type"] == "value_error":  # a check of our own, which has its own words
        return str(first["ctx"]["error"])
    if kind is bool:
        return "true or false"
    if get_origin(kind) is Literal:
        *others, last = map(str, get_args(kind))
        return f"{', '.join(others)} or {last}" if others else last
    told = (part.description for part in get_args(kind)[1:] if isinstance(part, FieldInfo))
    return next(filter(None, told), None) or first["msg"].removeprefix("Input should be ")
