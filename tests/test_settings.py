"""Settings are checked against their annotations, and a wrong one gets an error that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from lfo.errors import LfoError
from lfo.settings import (
    Count,
    Discount,
    Fraction,
    NonNegative,
    Positive,
    Precision,
    Whole,
    configure,
    parse_setting,
    read_settings,
)


@dataclass(frozen=True)
class Config:
    """One field of each kind."""

    hidden: Count = 256
    delay: Whole = 0
    noise: NonNegative = 0.1
    temperature: Positive = 1.0
    share: Fraction = 0.5
    discount: Discount = 0.99
    precision: Precision = "fp32"
    loss: Literal["huber"] = "huber"
    standardise: bool = True
    name: str = "toy"
    plain_count: int = 1
    plain_number: float = 0.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden", 1),
        ("delay", 0),
        ("noise", 0.0),
        ("temperature", 1e-9),
        ("share", 1.0),
        ("discount", 0.0),
        ("precision", "bf16"),
        ("standardise", False),
        ("name", ""),
        ("plain_count", 3),
        ("plain_number", 1e9),
    ],
)
def test_what_fits_is_taken(key: str, value: Any) -> None:
    found = getattr(configure(Config(), {key: value}, where="--set"), key)
    assert (found, type(found)) == (value, type(value))


def test_a_whole_number_is_a_number() -> None:
    found = configure(Config(), {"noise": 2, "plain_number": 3}, where="--set")
    assert (repr(found.noise), repr(found.plain_number)) == ("2.0", "3.0")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("hidden", 0, "a whole number from 1 up"),
        ("hidden", True, "a whole number from 1 up"),
        ("hidden", 8.0, "a whole number from 1 up"),
        ("hidden", "8", "a whole number from 1 up"),
        ("delay", -1, "a whole number from 0 up"),
        ("noise", -0.1, "a number from 0 up"),
        ("noise", float("nan"), "a number from 0 up"),
        ("noise", float("inf"), "a number from 0 up"),
        ("noise", True, "a number from 0 up"),
        ("temperature", 0, "a number above 0"),
        ("share", 1.1, "a number from 0 to 1"),
        ("discount", 1, "a number from 0 up and below 1"),
        ("precision", "fp8", "fp32, tf32 or bf16"),
        ("loss", "l1", "huber"),
        ("standardise", 1, "true or false"),
        ("name", 3, "a valid string"),
        ("plain_count", 0, "a whole number from 1 up"),
        ("plain_number", [1], "a number from 0 up"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(key: str, value: Any, expected: str) -> None:
    with pytest.raises(LfoError) as caught:
        configure(Config(), {key: value}, where="--set")
    told = f"--set: {key}: expected {expected}, found {value!r}; correct or remove it"
    assert str(caught.value) == told


def test_a_misspelt_setting_gets_the_closest_and_all_names() -> None:
    with pytest.raises(LfoError) as caught:
        configure(Config(), {"hiden": 8}, where="my.toml")
    told = str(caught.value)
    assert told.startswith("my.toml: hiden: expected a setting of Config, one of hidden, delay, noise, ")
    assert told.endswith(", plain_number, found another name; did you mean hidden?")
    with pytest.raises(LfoError, match="found another name; correct or remove it"):
        configure(Config(), {"xyz": 8}, where="my.toml")


def test_key_and_value() -> None:
    assert parse_setting("gamma = 0.9") == ("gamma", 0.9)
    assert parse_setting("name=toy") == ("name", "toy")
    for text in ("gamma", "=3"):
        with pytest.raises(ValueError, match="expected KEY=VALUE"):
            parse_setting(text)


def test_a_file_that_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("hidden = = 3\n")
    with pytest.raises(LfoError, match=r"my\.toml: --config: expected TOML.*at line 1.*; correct that line"):
        read_settings(path)
    with pytest.raises(LfoError, match=r"nowhere\.toml: --config: expected a TOML file, found No such file"):
        read_settings(tmp_path / "nowhere.toml")
