"""From the columns of a flat file to :class:`Transitions`: the rules that all readers share.

A reader finds the columns, :func:`read_columns` checks and converts them, and :func:`to_transitions` works
out the episodes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfo.datasets import suspicions
from lfo.datasets.transitions import Metadata, Transitions, first_non_finite
from lfo.errors import LfoError
from lfo.processes import usable_memory

Float32 = NDArray[np.float32]
Bools = NDArray[np.bool_]

_BLOCK = 1 << 20  # values read at a time; between two blocks, Ctrl-C works
_PAIRS = 1 << 14  # rows given their next state at a time


@dataclass
class Columns:
    """N rows in the flat layout."""

    observations: Float32
    """[N, S] state before the step."""
    next_observations: Float32 | None
    """[N, S] state after the step. None: inside an episode it is the next row's state."""
    rewards: Float32
    """[N]"""
    terminals: Bools | None
    """[N] the episode ended; None if the source does not say."""
    timeouts: Bools | None
    """[N] only the record ended, as at a time limit; None if the source does not say."""
    metadata: Metadata
    """Source, environment."""
    actions: Float32 | None = None
    """[N, A], if the caller asked for them."""
    action_bounds: tuple[NDArray[Any], NDArray[Any]] | None = None
    """Lowest and highest action, [A] each, if the source says."""


def read_columns(found: Mapping[str, Any], metadata: Metadata, with_actions: bool = False) -> Columns:
    """Check the columns of one source and convert them to float32 and bool.

    Args:
        found: columns by name: arrays or h5py data sets.
        metadata: goes into the result; errors begin with its ``source``.
        with_actions: read ``actions`` too; they must be there.

    Raises:
        LfoError: a column is missing, or has a wrong type, shape, length or value.
    """
    where = metadata.source
    needed = ["observations", "rewards", "actions"] if with_actions else ["observations", "rewards"]
    for name in needed:
        if name not in found:
            raise LfoError(
                f"{where}: {name}: expected a column of that name, found {_names(found)}; {_MISSING[name]}"
            )
    if "terminals" not in found and "timeouts" not in found:
        raise LfoError(
            f"{where}: terminals, timeouts: expected at least one of the two, found {_names(found)}; add `terminals` "
            "(true where the task ended) and `timeouts` (true where only the record did)"
        )
    used = {
        name: column
        for name, column in found.items()
        if name in _RANKS and (with_actions or name != "actions")
    }
    _check_declarations(where, used)
    values = {name: _converted(where, name, column) for name, column in used.items()}
    return Columns(
        observations=values["observations"],
        next_observations=values.get("next_observations"),
        rewards=values["rewards"],
        terminals=values.get("terminals"),
        timeouts=values.get("timeouts"),
        actions=values.get("actions"),
        metadata=replace(metadata, has_actions="actions" in found),
    )


def to_transitions(columns: Columns) -> tuple[Transitions, Float32 | None]:
    """Work out the episodes. Return the transitions and, if they were read, the actions.

    An episode ends where a flag is set and at the last row. Where both flags are set, the terminal wins.
    Without ``next_observations``, the last row of an episode has no s'. A terminal one keeps its reward and that nothing
    follows, which is what it teaches; its s' is extrapolated, s + (s − the state before). Others are dropped, and the row
    before is marked truncated. The columns' arrays are changed in place: do not use them afterwards.

    Raises:
        LfoError: no transition is left.
    """
    notes = suspicions.in_flags(columns.terminals, columns.timeouts)
    unset = np.zeros(len(columns.observations), dtype=bool)
    terminals = unset if columns.terminals is None else columns.terminals
    truncated = unset if columns.timeouts is None else columns.timeouts
    if columns.next_observations is None:
        notes += suspicions.in_extrapolated_rows(terminals)
        columns, terminals, truncated = _next_rows_as_successors(columns, terminals, truncated)
        assert columns.next_observations is not None
    else:
        notes += suspicions.in_chain(columns.observations, columns.next_observations, terminals | truncated)
        notes += suspicions.in_resets(columns.observations, columns.next_observations, terminals)
    data = Transitions(
        columns.observations,
        columns.next_observations,
        columns.rewards,
        terminals,
        truncated,
        columns.metadata,
        known_finite=True,
    )
    notes += suspicions.in_transitions(data)
    if columns.actions is not None and columns.action_bounds is not None:
        notes += suspicions.in_actions(columns.actions, *columns.action_bounds)
    metadata = replace(columns.metadata, warnings=columns.metadata.warnings + tuple(notes))
    return replace(data, metadata=metadata, known_finite=True), columns.actions


def _next_rows_as_successors(
    columns: Columns, terminals: Bools, truncated: Bools
) -> tuple[Columns, Bools, Bools]:
    """Take s' from the next row, extrapolate it for terminal rows, drop other rows that have none.

    Rows move in place, in blocks, to save an array of the data's size: a row's new place is never after its
    old one.

    Returns:
        The columns, and which of their rows are terminal and truncated: the rows before those dropped.
    """
    ended = terminals | truncated
    has_next = ~ended
    has_next[-1] = False
    kept = has_next | terminals
    n, count, source = len(kept), int(np.count_nonzero(kept)), columns.metadata.source
    if not has_next.any():
        raise LfoError(
            f"{source}: observations: expected at least 1 row followed by one of the same episode, found {n} rows, "
            f"{int(ended.sum())} of them flagged as an episode's end; add `next_observations`, or check that the "
            "flags are not inverted"
        )
    states = columns.observations
    next_states = np.empty((count, states.shape[1]), np.float32)
    arrays = [array for array in (states, columns.rewards, columns.actions) if array is not None]
    done = 0
    for start in range(0, n, _PAIRS):
        rows = np.flatnonzero(kept[start : start + _PAIRS]) + start
        place = np.s_[done : (done := done + len(rows))]
        # mode="clip" lets numpy write to `out` without a buffer; it clips one index at most, of a terminal row
        states.take(rows + 1, axis=0, out=next_states[place], mode="clip")
        last = np.flatnonzero(terminals[rows])
        at = rows[last]
        before = np.where((at > 0) & has_next[at - 1], at - 1, at)
        next_states[place][last] = 2 * states[at] - states[before]
        for array in arrays:
            array[place] = array.take(rows, axis=0)
    dropped = replace(
        columns.metadata,
        dropped=n - count,
        dropped_reason="the last row of an episode has no next state, as there is no `next_observations`",
    )
    shorter = replace(
        columns,
        observations=states[:count],
        next_observations=next_states,
        rewards=columns.rewards[:count],
        actions=None if columns.actions is None else columns.actions[:count],
        metadata=dropped,
    )
    cut = np.zeros(n, dtype=bool)
    ends = np.flatnonzero(ended & ~terminals)
    cut[ends[has_next[ends - 1]] - 1] = True
    return shorter, terminals[kept], cut[kept]


def refuse_if_larger_than_memory(where: str, size: int) -> None:
    """Raise LfoError if ``size`` bytes do not fit into memory, as a damaged or hostile header may claim."""
    memory = usable_memory()
    if size > memory:
        raise LfoError(
            f"{where}: size: expected at most the {memory / 2**30:.1f} GiB of memory here, "
            f"found {size / 2**30:.1f} GiB declared; check that the file is not damaged, or split it"
        )


_RANKS = {
    "observations": 2,
    "next_observations": 2,
    "rewards": 1,
    "terminals": 1,
    "timeouts": 1,
    "actions": 2,
}
COLUMNS = frozenset(_RANKS)
"""The columns that are read; others are ignored."""
_FLAGS = ("terminals", "timeouts")
_MISSING = {
    "observations": "store the states under that name, with shape [N, dimensions]",
    "rewards": "store each step's reward under that name (zeros, if there are none)",
    "actions": "this data set is action-free: use `load` instead of `load_with_actions`",
}


def _names(found: Mapping[str, Any]) -> str:
    names = ["".join(c if c.isprintable() else "?" for c in name) for name in sorted(found)]
    return "no columns" if not names else ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def _check_declarations(where: str, columns: Mapping[str, Any]) -> None:
    """Check types, ranks and lengths before anything is read."""
    for name, column in columns.items():
        _check_type(where, name, column)
        _check_rank(where, name, column)
    n, dim = columns["observations"].shape
    if n == 0 or dim == 0:
        raise LfoError(
            f"{where}: observations: expected at least 1 row of at least 1 number, found shape [{n}, {dim}]; record "
            "it again"
        )
    for name, column in columns.items():
        if column.shape[0] != n:
            raise LfoError(
                f"{where}: {name}: expected {n} rows, as observations has, found {column.shape[0]}; store one row per "
                "step in every column"
            )
    if "next_observations" in columns and columns["next_observations"].shape[1] != dim:
        raise LfoError(
            f"{where}: next_observations: expected shape [{n}, {dim}], as observations has, found "
            f"{list(columns['next_observations'].shape)}; store both with the same dimensions"
        )
    refuse_if_larger_than_memory(where, sum(4 * math.prod(column.shape) for column in columns.values()))


def _check_type(where: str, name: str, column: Any) -> None:
    if column.dtype.kind in ("b?iuf" if name in _FLAGS else "iuf"):
        return
    kinds = {
        "O": "strings or objects",
        "S": "strings",
        "U": "strings",
        "c": "complex numbers",
        "V": "records",
    }
    kind = kinds.get(column.dtype.kind, "type")
    wanted, store = ("booleans or 0 and 1", "bool") if name in _FLAGS else ("real numbers", "float32")
    raise LfoError(f"{where}: {name}: expected {wanted}, found {kind} ({column.dtype}); store it as {store}")


def _check_rank(where: str, name: str, column: Any) -> None:
    shape, rank = column.shape, _RANKS[name]
    if len(shape) == rank or (rank == 1 and len(shape) == 2 and shape[1] == 1):
        return
    remedy = {1: "store one number per row"}.get(rank, "flatten each row to a vector")
    if len(shape) > 2 and "observations" in name:
        remedy = (
            "images and stacked frames cannot be learned from yet; flatten each row if it is a state vector"
        )
    elif len(shape) == 1 and name == "actions":
        remedy = "reshape it to [N, 1] if an action is a single number"
    elif len(shape) == 1:
        remedy = "reshape it to [N, 1] if a state is a single number"
    expected = {1: "[N] or [N, 1]", 2: "[N, dimensions]"}[rank]
    raise LfoError(f"{where}: {name}: expected shape {expected}, found {list(shape)}; {remedy}")


def _converted(where: str, name: str, column: Any) -> Any:
    """The column as a float32 or bool array, with every value checked."""
    out = np.empty(column.shape, dtype=bool if name in _FLAGS else np.float32)
    direct = column.dtype == np.float32 and hasattr(column, "read_direct")
    for start in range(0, len(out), step := _rows_per_block(column)):
        rows = np.s_[start : start + step]
        if name in _FLAGS:
            out[rows] = _as_bool(where, name, column[rows], start)
            continue
        if direct:
            column.read_direct(out, rows, rows)  # without a copy
        else:
            with np.errstate(over="ignore"):
                out[rows] = column[rows]
        _check_finite(where, name, column, out[rows], start)
    return out.reshape(-1) if _RANKS[name] == 1 else out


def _rows_per_block(column: Any) -> int:
    """Rows to read at a time: about a block, in whole chunks, so that none is decompressed twice."""
    rows = max(1, _BLOCK // max(1, math.prod(column.shape[1:])))
    chunk = (getattr(column, "chunks", None) or (1,))[0]
    return int(-(-rows // chunk) * chunk)


def _as_bool(where: str, name: str, values: NDArray[Any], start: int) -> Bools:
    if values.dtype == bool:
        values = values.view(np.uint8)  # in a damaged file, any byte
    flags: Bools = values != 0
    wrong = np.flatnonzero(flags & (values != 1))
    if len(wrong):
        raise LfoError(
            f"{where}: {name}: expected only 0 and 1, found {values.flat[wrong[0]]} in row {start + wrong[0]}; store "
            "it as bool, true where an episode ends"
        )
    return flags


def _check_finite(where: str, name: str, column: Any, read: Float32, start: int) -> None:
    """Check what was read of a column, from row ``start`` on."""
    bad = first_non_finite(read)
    if bad is None:
        return
    row, dim = divmod(bad, max(1, read.size // len(read)))
    row += start
    value = np.asarray(column[row : row + 1]).reshape(-1)[dim]
    place = f"in row {row}" + (f", dimension {dim}" if _RANKS[name] == 2 else "")
    expected, remedy = "finite numbers", "remove the episodes that hold such rows"
    if np.isfinite(value):
        expected, remedy = "numbers within float32's range", "rescale the column"
    raise LfoError(f"{where}: {name}: expected {expected}, found {value} {place}; {remedy}")
