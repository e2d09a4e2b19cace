"""Logs of any shape to transitions, by a recipe.

Each file goes through the same steps: read the columns that the recipe names; split it into episodes, and at long gaps;
resample; work out states and rewards. No transition crosses a file, an episode or a gap.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lfo.datasets import lerobot
from lfo.datasets.columns import Columns, refuse_if_larger_than_memory, to_transitions
from lfo.datasets.expressions import Evaluator, Formula
from lfo.datasets.recipes import Recipe, read_recipe
from lfo.datasets.tables import log_paths, read_table, require_polars, tidied
from lfo.datasets.transitions import Metadata, Transitions, first_non_finite
from lfo.errors import data_error

if TYPE_CHECKING:
    import polars as pl

__all__ = ["from_dataframe", "from_logs"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]
Segments = NDArray[np.int32]

_BLOCK = 1 << 15  # rows worked out at a time
_ROUNDING = 1e-6  # of a step: by so much a time may miss the grid


def from_logs(
    paths: str | Path | Sequence[str | Path], recipe: Recipe | str | Path | Mapping[str, Any]
) -> Transitions:
    """Read logs as a recipe says. Needs polars.

    Args:
        paths: files, or patterns such as ``logs/*.csv``: CSV, TSV, Parquet, JSON lines, or gzip of one; or
            ``lerobot:FOLDER``, whose episodes are known.
        recipe: a :class:`~lfo.datasets.Recipe`, its keys and values, or the path of its TOML file.

    Returns:
        The transitions of all files, in the order of the paths.

    Raises:
        LfoError: the recipe or a log cannot be read without guessing. Names file, row (from 1) and column.
    """
    read = read_recipe(recipe)
    require_polars()
    given = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    robots = [path.removeprefix("lerobot:") for path in given if path.startswith("lerobot:")]
    files = [file for robot in robots for file in lerobot.logs(robot)]
    files += log_paths([path for path in given if not path.startswith("lerobot:")])
    if not files:
        raise data_error("logs", "paths", expected="at least one file", found="none", remedy="name one")
    if robots and read.episode is None:
        read = read_recipe(read, {"episode": "episode_index"})
    parts = [_part(read_table(path, read), str(path), read) for path in files]
    source = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    return _joined(parts, source, read)


def from_dataframe(frame: Any, recipe: Recipe | str | Path | Mapping[str, Any]) -> Transitions:
    """Read a data frame as a recipe says: one episode, unless the recipe names a column of episodes.

    Args:
        frame: of polars or pandas, or a mapping from column names to arrays.
        recipe: as for :func:`from_logs`.

    Raises:
        LfoError: as for :func:`from_logs`.
    """
    read = read_recipe(recipe)
    polars = require_polars()
    if not isinstance(frame, polars.DataFrame):
        try:
            frame = polars.DataFrame({str(name): _series(frame[name]) for name in frame})
        except (polars.exceptions.PolarsError, TypeError, ValueError) as error:
            raise data_error(
                "data frame",
                "columns",
                expected="columns of one length, of numbers or texts",
                found=" ".join(str(error).split())[:120],
                remedy="correct them",
            ) from error
    where = "data frame"
    return _joined([_part(tidied(frame, where, read), where, read)], where, read)


def _series(values: Any) -> Any:
    """A column as polars takes it: objects, such as texts, as a list."""
    array = np.asarray(values)
    return array.tolist() if array.dtype == object else array


@dataclass
class _Part:
    """What one file gives: N transitions."""

    where: str
    states: NDArray[np.float32]
    """[N, S]"""
    next_states: NDArray[np.float32]
    """[N, S]"""
    rewards: NDArray[np.float32]
    """[N], 0 if a function is to compute them."""
    terminated: Bools
    """[N]"""
    last: Bools
    """[N] the last transition of its episode."""
    names: list[str]
    """[S] of the states."""
    dropped: int
    """Rows that were left out."""
    gaps: int
    """Gaps that split an episode."""
    longest: float
    """The longest time between an episode's first and last row."""


def _part(frame: pl.DataFrame, where: str, recipe: Recipe) -> _Part:
    """The transitions of one file."""
    formulas, rows = recipe.formulas, len(frame)
    frame = _with_episodes(frame, where, recipe)
    if recipe.missing == "drop":
        frame = frame.drop_nulls()
    if len(frame) == 0:
        raise data_error(
            where, "rows", expected="one without a missing value", found="none", remedy="leave this file out"
        )
    kept = len(frame)
    frame = _unwrapped(frame, where, recipe)
    table = Evaluator(frame, where, "§episode", _constants(recipe))
    time = _time(table, formulas.get("time"))
    ended, cut = (_condition(table, formulas.get(key)) for key in ("end", "cut"))
    starts, gaps = _segments(frame, time, ended | cut, recipe)
    ends = np.append(starts[1:], len(frame)) - 1
    longest = 0.0 if time is None else float((time[ends] - time[starts]).max(initial=0))
    del table
    if recipe.dt is None or time is None:
        segment: Segments = np.repeat(np.arange(len(starts), dtype=np.int32), ends - starts + 1)
    else:
        _refuse_texts(frame, where, recipe)
        frame, segment = _resampled(frame, time, starts, ends, recipe.dt, where)
    worked_out = Evaluator(
        frame.with_columns(require_polars().Series("§segment", segment)),
        where,
        "§segment",
        _constants(recipe),
    )
    del frame, time
    names, steps, known = _states(worked_out, recipe)
    rewards, rewarded = _rewards(worked_out, formulas.get("reward"))
    del worked_out  # and with it the rows, before the pairs need memory
    same = np.append(segment[1:] == segment[:-1], False)
    begins = same & known & np.roll(known, -1) & rewarded  # in which steps a transition does
    whole = np.roll(~same, -1)[begins]  # whether it leads to a segment's last row
    segment = segment[begins]
    next_states = _next_rows(steps, begins, [rewards])
    return _Part(
        where=where,
        states=steps[: len(segment)],
        next_states=next_states,
        rewards=rewards[: len(segment)],
        terminated=whole & ended[ends[segment]],
        last=np.append(np.diff(segment) != 0, [True] * (len(segment) > 0)).astype(bool),
        names=names,
        dropped=rows - kept + int(np.count_nonzero(starts == ends)),
        gaps=gaps,
        longest=longest,
    )


def _next_rows(
    states: NDArray[np.float32], has_next: Bools, others: Sequence[NDArray[Any]]
) -> NDArray[np.float32]:
    """The next row [K, S] of each of the K rows that have one; those rows move to the front of all arrays.

    They move in place, in blocks, to save an array of the data's size: a row's new place is never after its old one.

    Args:
        states: [N, S].
        has_next: [N], false in the last.
        others: arrays of N rows to move alike.
    """
    found = np.empty((int(np.count_nonzero(has_next)), states.shape[1]), np.float32)
    done = 0
    for start in range(0, len(states), _BLOCK):
        rows = np.flatnonzero(has_next[start : start + _BLOCK]) + start
        place = np.s_[done : (done := done + len(rows))]
        # mode="clip" lets numpy write to `out` without a buffer; no index is ever clipped
        states.take(rows + 1, axis=0, out=found[place], mode="clip")
        for array in (states, *others):
            array[place] = array.take(rows, axis=0)
    return found


def _unwrapped(frame: pl.DataFrame, where: str, recipe: Recipe) -> pl.DataFrame:
    """The table with a column for each ``unwrap(…)`` of the recipe: between ±π, nothing can be interpolated."""
    table = Evaluator(frame, where, "§episode", _constants(recipe))
    names = set(frame.columns)
    for formula in recipe.formulas.values():
        for call in formula.unwraps():
            names.add(formula.part(call))
            table.add(formula.part(call), formula, call)
    return table.frame.select(name for name in table.frame.columns if name in names)


def _constants(recipe: Recipe) -> dict[str, float]:
    return {} if recipe.dt is None else {"dt": recipe.dt}


# Episodes --------------------------------------------------------------------------------------------------------


def _with_episodes(frame: pl.DataFrame, where: str, recipe: Recipe) -> pl.DataFrame:
    """The table with ``§episode``, the index of each row's episode.

    Raises:
        LfoError: the rows of an episode are not together, or there is but one.
    """
    polars = require_polars()
    if recipe.episode is None:
        found = frame.with_columns(polars.lit(0).alias("§episode"))
        if len(frame) == 1:
            raise data_error(where, "rows", expected="at least 2", found="1", remedy="leave this file out")
        return found
    name = recipe.episode
    found = frame.with_columns(polars.col(name).rle_id().cast(polars.Int64).alias("§episode"))
    runs = found.group_by("§episode", maintain_order=True).agg(
        polars.col(name).first(), polars.col("§row").first(), polars.len().alias("§rows")
    )
    again = runs.filter(~polars.col(name).is_first_distinct())
    if len(again):
        raise data_error(
            where,
            name,
            expected="the rows of an episode one after the other",
            found=f"episode {_shown(again[name][0])} again in row {again['§row'][0]}",
            remedy="sort the log by episode and time, or number its episodes anew",
        )
    single = runs.filter(polars.col("§rows") == 1)
    if len(single):
        raise data_error(
            where,
            name,
            expected="at least 2 rows in every episode",
            found=f"1 in episode {_shown(single[name][0])}, row {single['§row'][0]}",
            remedy="remove that row",
        )
    return found


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _time(table: Evaluator, formula: Formula | None) -> Floats | None:
    """[rows] the time, which must rise inside an episode."""
    if formula is None:
        return None
    table.add("§time", formula)
    time = _numbers(table, "§time", formula)
    if not np.isfinite(time).all():
        row = int(np.argmin(np.isfinite(time)))
        raise _not_finite(time[row], row, table, formula)
    same = np.diff(table.frame["§episode"].to_numpy()) == 0
    wrong = np.flatnonzero(same & (np.diff(time) <= 0))
    if len(wrong):
        row = wrong[0] + 1
        again = time[row] == time[row - 1]
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise data_error(
            table.where,
            formula.text,
            expected="times that rise from row to row",
            found=f"{time[row]:.9g} {'again' if again else f'after {time[row - 1]:.9g}'} in row "
            f"{table.frame['§row'][int(row)]}{more}",
            remedy="remove rows of equal time"
            if again
            else "sort the rows, or name the column of episodes with `episode`",
        )
    return time


def _condition(table: Evaluator, formula: Formula | None) -> Bools:
    """[rows] whether a condition holds; not where a row before it is needed and there is none."""
    if formula is None:
        return np.zeros(len(table.frame), dtype=bool)
    table.add(f"§{formula.field}", formula)
    values = np.nan_to_num(_numbers(table, f"§{formula.field}", formula))
    other = np.flatnonzero((values != 0) & (values != 1))
    if len(other):
        raise data_error(
            table.where,
            formula.field,
            expected="a condition, or 0 and 1",
            found=f"{values[other[0]]:g} in row {table.frame['§row'][int(other[0])]}",
            remedy="write a comparison, such as `x > 0`",
        )
    return np.asarray(values != 0)


def _segments(frame: pl.DataFrame, time: Floats | None, ends: Bools, recipe: Recipe) -> tuple[Indices, int]:
    """The first row of each segment, a piece of an episode without a gap; and the number of gaps."""
    episode = frame["§episode"].to_numpy()
    inside = episode[1:] == episode[:-1]
    gap = np.zeros(len(inside), dtype=bool)
    if time is not None and recipe.longest_gap is not None:
        gap |= np.diff(time) > recipe.longest_gap * (1 + _ROUNDING)
    if recipe.dt is None:
        gap |= np.diff(frame["§row"].to_numpy()) > 1  # rows left out
    first = np.append(True, ~inside | gap | ends[:-1])
    return np.flatnonzero(first), int(np.count_nonzero(inside & gap & ~ends[:-1]))


def _refuse_texts(frame: pl.DataFrame, where: str, recipe: Recipe) -> None:
    texts = {name for name, kind in frame.schema.items() if kind == require_polars().String}
    for key, formula in recipe.formulas.items():
        found = sorted(name for name in formula.names() if {name, name.removeprefix("next_")} & texts)
        if found and key not in ("time", "end", "cut"):
            raise data_error(
                where,
                found[0],
                expected=f"numbers, as `{key}` of the recipe uses it and dt asks for resampling",
                found="texts",
                remedy="remove dt, or use another column",
            )


def _resampled(
    frame: pl.DataFrame, time: Floats, starts: Indices, ends: Indices, dt: float, where: str
) -> tuple[pl.DataFrame, Segments]:
    """Every segment at its first row's time + k ``dt``, as far as it goes; and each new row's segment."""
    polars = require_polars()
    counts = (np.floor((time[ends] - time[starts]) / dt + _ROUNDING) + 1).astype(np.int64)
    numbers = [name for name, kind in frame.schema.items() if kind == polars.Float64]
    refuse_if_larger_than_memory(where, int(counts.sum()) * 8 * (len(numbers) + 4))
    segment = np.repeat(np.arange(len(starts), dtype=np.int32), counts)
    before, share = np.empty(len(segment), np.int64), np.empty(len(segment))
    done = 0
    for start, end, count in zip(starts, ends, counts, strict=True):
        times = time[start : end + 1]
        grid = times[0] + np.arange(count) * dt
        left = np.clip(np.searchsorted(times, grid, side="right") - 1, 0, max(0, end - start - 1))
        width = times[np.minimum(left + 1, end - start)] - times[left]
        place = np.s_[done : (done := done + int(count))]
        before[place] = start + left
        share[place] = np.clip((grid - times[left]) / np.where(width > 0, width, 1), 0, 1)
    after = np.minimum(before + 1, ends[segment])
    columns = {"§row": frame["§row"].to_numpy()[before]}
    for name in numbers:
        values = frame.drop_in_place(name).to_numpy()  # the caller needs the rows no more
        columns[name] = new = np.empty(len(segment))
        for place in (np.s_[start : start + _BLOCK] for start in range(0, len(new), _BLOCK)):
            new[place] = values[before[place]]
            new[place] += share[place] * (values[after[place]] - new[place])
    return polars.DataFrame(columns), segment


# States and rewards ----------------------------------------------------------------------------------------------


def _states(table: Evaluator, recipe: Recipe) -> tuple[list[str], NDArray[np.float32], Bools]:
    """Names [S] and values [rows, S] of the states, and whether a row has them all.

    A row has none where an expression needs the row before and there is none.
    """
    found: dict[str, tuple[Formula, Any]] = {}
    for name, formula in recipe.states.items():
        if wide := table.wide(formula):
            found |= {
                f"{name}{column[column.rindex('[') :]}": (formula, require_polars().col(column))
                for column in wide
            }
        else:
            found[name] = formula, table.expression(formula)
    values, known = _worked_out(table, list(found.values()))
    return list(found), values, known


def _rewards(table: Evaluator, formula: Formula | None) -> tuple[NDArray[np.float32], Bools]:
    """[rows] the reward of the step from each row to the next, 0 without a formula; and where there is one."""
    if formula is None:
        return np.zeros(len(table.frame), np.float32), np.ones(len(table.frame), dtype=bool)
    values, known = _worked_out(table, [(formula, table.expression(formula))])
    return values[:, 0], known


def _worked_out(table: Evaluator, columns: list[tuple[Formula, Any]]) -> tuple[NDArray[np.float32], Bools]:
    """The values [rows, K] of K expressions, and whether a row has them all; 0 where it lacks one.

    A block of rows at a time, so that little memory is needed besides the result.
    """
    polars, rows = require_polars(), len(table.frame)
    values, known = np.empty((rows, len(columns)), np.float32), np.ones(rows, dtype=bool)
    named = [expression.alias(f"§{i}") for i, (_, expression) in enumerate(columns)]
    for start in range(0, rows, _BLOCK):
        place = np.s_[start : start + _BLOCK]
        block = table.block(start, _BLOCK, named, [formula for formula, _ in columns])
        if any(block.null_count().row(0)):
            known[place] = ~block.select(polars.any_horizontal(polars.all().is_null())).to_series().to_numpy()
            block = block.fill_null(0)
        with np.errstate(over="ignore"):
            values[place] = block.to_numpy()
        if first_non_finite(values[place]) is not None:
            row, column = np.argwhere(~np.isfinite(values[place]))[0]
            raise _not_finite(values[place][row, column], start + int(row), table, columns[column][0])
    return values, known


def _numbers(table: Evaluator, column: str, formula: Formula) -> Floats:
    """A column that was worked out, as float64; NaN where it is missing."""
    table.refuse_texts(table.frame[column], formula)
    return np.array(table.frame[column].cast(require_polars().Float64).to_numpy(), dtype=np.float64)


def _not_finite(value: float, row: int, table: Evaluator, formula: Formula) -> Exception:
    """The error about NaN or infinity in a row of the table."""
    return data_error(
        table.where,
        formula.field,
        expected=f"finite numbers from {formula.text!r}",
        found=f"{value:g} at row {table.frame['§row'][row]}",
        remedy="correct the expression, or the values in that row",
    )


# All files -------------------------------------------------------------------------------------------------------


def _joined(parts: list[_Part], source: str, recipe: Recipe) -> Transitions:
    names = parts[0].names
    for part in parts:
        if part.names != names:
            raise data_error(
                part.where,
                "state",
                expected=f"{len(names)} numbers, as in {parts[0].where}",
                found=f"{len(part.names)}",
                remedy="convert files of different states apart",
            )
    empty = [part.where for part in parts if len(part.states) == 0]
    if len(empty) == len(parts):
        raise _no_transition(parts, source, recipe)
    notes = _notes(parts, empty, recipe)
    terminated, last, rewards = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("terminated", "last", "rewards")
    )
    states, next_states = _joined_states(parts)
    if recipe.reward_function is not None:
        rewards = _by_function(recipe, states, next_states)
    metadata = Metadata(
        source=source,
        env_id=recipe.env,
        dropped=sum(part.dropped for part in parts),
        dropped_reason="no value, or no other row of the episode near enough in time",
        warnings=tuple(notes),
        attributes=_attributes(names, recipe),
    )
    columns = Columns(states, next_states, rewards, terminated, last & ~terminated, metadata)
    return to_transitions(columns)[0]


def _joined_states(parts: list[_Part]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """States and next states of all parts, which are let go one by one."""
    if len(parts) == 1:
        return parts[0].states, parts[0].next_states
    count, width = sum(len(part.states) for part in parts), parts[0].states.shape[1]
    states, next_states = np.empty((2, count, width), np.float32)
    done = 0
    for part in parts:
        place = np.s_[done : (done := done + len(part.states))]
        states[place], next_states[place] = part.states, part.next_states
        part.states = part.next_states = part.states[:0].copy()
    return states, next_states


def _notes(parts: list[_Part], empty: list[str], recipe: Recipe) -> list[str]:
    """What the user should know; ``empty`` are the files without a transition."""
    notes = []
    gaps = sum(part.gaps for part in parts)
    if gaps:
        which = f"longer than {recipe.longest_gap:g}" if recipe.longest_gap else "of rows left out"
        notes.append(f"episodes were split at {gaps} gap{'s' if gaps > 1 else ''} {which}")
    if empty:
        notes.append(f"{len(empty)} of {len(parts)} files give no transition, such as {empty[0]}")
    return notes


def _attributes(names: list[str], recipe: Recipe) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {"state_names": json.dumps(names), "reward": recipe.reward}
    units = [recipe.units.get(name, recipe.units.get(name.partition("[")[0], "")) for name in names]
    if any(units):
        found["state_units"] = json.dumps(units)
    if recipe.env_kwargs:
        found["env_kwargs"] = json.dumps(recipe.env_kwargs)
    return found | ({} if recipe.dt is None else {"dt": recipe.dt})


def _no_transition(parts: list[_Part], source: str, recipe: Recipe) -> Exception:
    if recipe.dt is not None:
        longest = max(part.longest for part in parts)
        limit = recipe.longest_gap
        return data_error(
            source,
            recipe.time or "time",
            expected=f"rows at most {limit:g} apart, over at least one step of dt = {recipe.dt:g}",
            found=f"at most {longest:g} without a longer gap",
            remedy="use a smaller dt, or a longer gap",
        )
    return data_error(
        source,
        "rows",
        expected="2 rows of one episode that follow each other",
        found="none",
        remedy="check `episode`, `gap`, `end` and `cut` of the recipe",
    )


def _by_function(
    recipe: Recipe, states: NDArray[np.float32], next_states: NDArray[np.float32]
) -> NDArray[np.float32]:
    """[N] what the recipe's ``module:function`` returns."""
    module, _, name = (recipe.reward_function or "").partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        function = getattr(importlib.import_module(module), name)
        with np.errstate(over="ignore"):
            rewards = np.asarray(function(states, next_states), dtype=np.float64).astype(np.float32)
    except Exception as error:  # anyone's code
        raise data_error(
            recipe.source,
            "reward",
            expected=f"{recipe.reward} to return a reward for each pair of s and s' [N, S]",
            found=f"{type(error).__name__}: {' '.join(str(error).split())}",
            remedy="correct the function, or run from the folder that its module is in",
        ) from error
    if rewards.shape != (len(states),):
        raise data_error(
            recipe.source,
            "reward",
            expected=f"shape [{len(states)}] from {recipe.reward}",
            found=f"{list(rewards.shape)}",
            remedy="return one number for each row",
        )
    if (bad := first_non_finite(rewards)) is not None:
        raise data_error(
            recipe.source,
            "reward",
            expected=f"finite numbers from {recipe.reward}",
            found=f"{rewards[bad]:g} for transition {bad + 1}, from s = {_numbers_of(states[bad])}",
            remedy="correct the function",
        )
    return rewards


def _numbers_of(state: NDArray[np.float32]) -> str:
    """The first numbers of a state, for errors."""
    shown = ", ".join(f"{value:g}" for value in state[:4])
    return f"[{shown}{', …' if len(state) > 4 else ''}]"
