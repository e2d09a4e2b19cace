"""Recipes: how the columns of a log become states, rewards and episodes. A recipe is a small TOML file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lfo.datasets.expressions import Formula
from lfo.errors import data_error
from lfo.settings import configure, read_settings, suggest

__all__ = ["Recipe", "read_recipe"]

Text = Annotated[str | None, Field(min_length=1, description="a text in quotes")]
Seconds = Annotated[float | None, Field(gt=0, allow_inf_nan=False, description="a number above 0")]

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Recipe:
    """What each key of a recipe means; docs/logs.md explains them with an example.

    An expression names columns of the log, see :mod:`lfo.datasets.expressions`. Times are in the unit that ``time``
    has, usually seconds.
    """

    state: Annotated[
        list[str] | dict[str, str],
        Field(min_length=1, description="a list of expressions, or a table of NAME = expression"),
    ]
    """Expressions, one a state dimension; a column of vectors gives all its numbers."""
    reward: Annotated[str, Field(min_length=1, description="a text in quotes")]
    """Expression over this row and the next (``next_x``), or ``module:function``, called with s and s' [N, S]."""
    episode: Text = None
    """The column that tells the episodes of a file apart. None: one file is one episode."""
    time: Text = None
    """Expression that gives a row's time."""
    dt: Seconds = None
    """Step to resample to, by linear interpolation. None: the rows are the steps."""
    gap: Seconds = None
    """A longer time between two rows splits the episode. None: 5 ``dt``, or no limit without ``dt``."""
    end: Text = None
    """Condition: the task ended in this row, and no value follows."""
    cut: Text = None
    """Condition: the episode ends in this row, but only the recording did; value goes on."""
    missing: Annotated[Literal["refuse", "drop"], Field(description='"refuse" or "drop"')] = "refuse"
    """What to do about a row in which a column that is used has no value."""
    nulls: Annotated[list[str], Field(description="a list of texts")] = field(default_factory=list)
    """Texts of a CSV file that stand for a missing value, such as ``NA``."""
    separator: Annotated[str | None, Field(min_length=1, max_length=1, description="one character")] = None
    """What separates the columns of a text file. None: a comma, or a tab in a ``.tsv`` file."""
    units: Annotated[dict[str, str], Field(description="a table of NAME = unit")] = field(
        default_factory=dict
    )
    """Unit of each state dimension, by its name."""
    env: Text = None
    """The environment that has these states: what ``make_env`` takes."""
    env_kwargs: Annotated[dict[str, Any], Field(description="a table of ARGUMENT = value")] = field(
        default_factory=dict
    )
    """Arguments that ``env`` is made with."""
    source: str = "recipe"
    """The file it was read from, for errors."""

    def __post_init__(self) -> None:
        """Check what one key says about another, and every expression."""
        for key in ("dt", "gap"):
            if getattr(self, key) is not None and self.time is None:
                raise self._error("time", f"a column, as {key} needs it", "none", 'add time = "COLUMN"')
        if self.dt is not None and self.gap is not None and self.gap < self.dt:
            remedy = "use a smaller dt, or a longer gap"
            raise self._error("dt", f"at most gap = {self.gap:g}", f"{self.dt:g}", remedy)
        if self.env_kwargs and self.env is None:
            raise self._error("env", "an environment, as env_kwargs needs it", "none", 'add env = "MyEnv-v0"')
        if (why := _not_json(self.env_kwargs)) is not None:
            raise self._error("env_kwargs", "values that JSON has", why, "use numbers, texts or lists")
        twice = sorted(text for text in self.state if list(self.state).count(text) > 1)
        if twice:
            raise self._error("state", "every expression once", f"{twice[0]!r} twice", "remove one of them")
        for name in self.units:
            if not {name, name.partition("[")[0]} & set(self.states):
                raise self._error("units", "names of states", repr(name), suggest(name, self.states))
        _ = self.formulas  # which parses them

    @property
    def longest_gap(self) -> float | None:
        """The longest time between two rows of an episode, None if there is no limit."""
        return self.gap if self.gap is not None or self.dt is None else 5 * self.dt

    @property
    def reward_function(self) -> str | None:
        """The reward if it is a ``module:function``, else None."""
        return self.reward.strip() if _FUNCTION.fullmatch(self.reward.strip()) else None

    @property
    def states(self) -> dict[str, Formula]:
        """The states' formulas by name; without a name of its own, the expression is the name."""
        if isinstance(self.state, dict):
            return {name: Formula(text, self.source, f"state.{name}") for name, text in self.state.items()}
        return {text: Formula(text, self.source, f"state[{i}]") for i, text in enumerate(self.state)}

    @property
    def formulas(self) -> dict[str, Formula]:
        """All formulas by key: those of the states, and ``reward``, ``time``, ``end``, ``cut`` where given."""
        found = {formula.field: formula for formula in self.states.values()}
        for key in ("time", "end", "cut"):
            text = getattr(self, key)
            if text is not None:
                found[key] = Formula(text, self.source, key)
        if self.reward_function is None:
            found["reward"] = Formula(self.reward, self.source, "reward", looks_ahead=True)
        return found

    def _error(self, key: str, expected: str, found: str, remedy: str) -> Exception:
        return data_error(self.source, key, expected=expected, found=found, remedy=remedy)


def _not_json(value: object) -> str | None:
    """Why JSON cannot hold a value, None if it can."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


_NEEDED = {
    "state": 'add a line such as state = ["cos(angle)", "velocity"]',
    "reward": 'add a line such as reward = "-next_angle ** 2", or reward = "0" for an algorithm that needs none',
}


def read_recipe(
    recipe: Recipe | str | Path | Mapping[str, Any], changes: Mapping[str, Any] | None = None
) -> Recipe:
    """A recipe from a TOML file, or from its keys and values.

    Args:
        recipe: the file's path, a mapping, or a recipe.
        changes: keys to replace.

    Raises:
        LfoError: the file cannot be read, a key is unknown or missing, or a value does not fit.
    """
    if isinstance(recipe, Recipe):
        return configure(recipe, changes or {}, where=recipe.source)
    where = "recipe" if isinstance(recipe, Mapping) else str(recipe)
    values = {
        **(recipe if isinstance(recipe, Mapping) else read_settings(recipe, "--recipe")),
        **(changes or {}),
    }
    if "source" in values:
        raise data_error(
            where, "source", expected="a key of a recipe", found="another name", remedy="remove it"
        )
    for key, remedy in _NEEDED.items():
        if key not in values:
            raise data_error(where, key, expected="an entry", found="none", remedy=remedy)
    return configure(Recipe(["0"], "0", source=where), values, where=where)
