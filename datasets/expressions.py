"""The small language of recipes: ``cos(angle)``, ``diff(x) / dt``, ``next_x > 2 and not done``.

Python's grammar is used to parse it, and nothing is evaluated as Python: an expression becomes one of polars, made
from the node types and functions listed here. See docs/logs.md for the language itself.
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from lfo.errors import data_error

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FUNCTIONS", "Evaluator", "Formula"]

FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "abs": (1, 1, lambda x: x.abs()),
    "acos": (1, 1, lambda x: x.arccos()),
    "asin": (1, 1, lambda x: x.arcsin()),
    "atan": (1, 1, lambda x: x.arctan()),
    "atan2": (2, 2, lambda y, x: _polars().arctan2(y, x)),
    "clip": (3, 3, lambda x, low, high: _polars().min_horizontal(_polars().max_horizontal(x, low), high)),
    "cos": (1, 1, lambda x: x.cos()),
    "degrees": (1, 1, lambda x: x.degrees()),
    "exp": (1, 1, lambda x: x.exp()),
    "floor": (1, 1, lambda x: x.floor()),
    "log": (1, 1, lambda x: x.log()),
    "max": (2, 9, lambda *x: _polars().max_horizontal(*x)),
    "min": (2, 9, lambda *x: _polars().min_horizontal(*x)),
    "radians": (1, 1, lambda x: x.radians()),
    "round": (1, 1, lambda x: x.round(0)),
    "sign": (1, 1, lambda x: x.sign()),
    "sin": (1, 1, lambda x: x.sin()),
    "sqrt": (1, 1, lambda x: x.sqrt()),
    "tan": (1, 1, lambda x: x.tan()),
    "tanh": (1, 1, lambda x: x.tanh()),
    # these look at the rows before or after, inside an episode
    "diff": (1, 1, lambda x: x.diff()),
    "next": (1, 1, lambda x: x.shift(-1)),
    "previous": (1, 1, lambda x: x.shift(1)),
    "unwrap": (1, 2, lambda x, turn=None: _unwrapped(x, turn)),
}
"""Name to the least and greatest number of arguments, and what it is in polars."""

_DEPTH = 100
_WINDOWS = frozenset({"diff", "next", "previous", "unwrap"})
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: lambda a, b: a**b,
}
_UNARY: dict[type, Callable[[Any], Any]] = {
    ast.UAdd: lambda a: a,
    ast.USub: lambda a: -a,
    ast.Not: lambda a: ~_truth(a),
}
_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


@dataclass(frozen=True)
class Formula:
    """One parsed expression of a recipe.

    Raises:
        LfoError: it is not in the language; ``check`` is called when it is made.
    """

    text: str
    """As it was written."""
    where: str
    """The recipe, for errors."""
    field: str
    """The recipe's key, for errors, such as ``state[0]``."""
    looks_ahead: bool = False
    """Whether the next row may be named, as ``next_x`` or ``next(x)``."""

    def __post_init__(self) -> None:
        """Refuse now what no column could make right."""
        level: list[ast.AST] = [self.tree]
        for _ in range(_DEPTH):
            level = [child for node in level for child in ast.iter_child_nodes(node)]
        if level:
            raise data_error(
                self.where,
                self.field,
                expected=f"an expression nested at most {_DEPTH} deep",
                found=f"{len(self.text)} characters that are deeper",
                remedy="split it into several, or add the column to the log",
            )
        for node in self._walk(self.tree):
            if isinstance(node, ast.Call):
                self._check_call(node)
            elif not _known(node):
                self.refuse(
                    node,
                    "columns, numbers, texts, functions, + - * / // % **, comparisons, and, or, not, A if B else C",
                )

    @property
    def tree(self) -> ast.expr:
        """Its syntax."""
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise data_error(
                self.where,
                self.field,
                expected="an expression, such as `cos(angle)`",
                found=repr(self.text),
                remedy=f"correct it: {getattr(error, 'msg', None) or 'it cannot be parsed'}",
            ) from error

    def names(self) -> set[str]:
        """The columns it names, without an index: ``x[2]`` is ``x``."""
        return {name for node in self._walk(self.tree) if (name := _name_of(node)) is not None}

    def unwraps(self) -> list[ast.Call]:
        """The calls of ``unwrap``, which are worked out before resampling."""
        return [
            node for node in self._walk(self.tree) if isinstance(node, ast.Call) and _called(node) == "unwrap"
        ]

    @staticmethod
    def part(node: ast.expr) -> str:
        """The name under which the value of one part is kept."""
        return ast.unparse(node)

    def refuse(self, node: ast.AST, expected: str, remedy: str = "rewrite that part") -> NoReturn:
        """Raise the error about one part."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            remedy = "write a power as x ** 2"
        found = f"{ast.unparse(node)!r}" if isinstance(node, ast.expr) else type(node).__name__
        raise data_error(self.where, self.field, expected=expected, found=found, remedy=remedy)

    def _walk(self, node: ast.expr) -> Iterator[ast.expr]:
        """The node and all below it, but not the parts of a column's name."""
        yield node
        if _name_of(node) is not None:
            return
        if isinstance(node, ast.Subscript):
            if not (isinstance(node.slice, ast.Constant) and type(node.slice.value) is int):
                self.refuse(node, "an index such as x[2]")
            yield from self._walk(node.value)
            return
        children = [*node.args] if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
        for child in children:
            if isinstance(child, ast.expr):
                yield from self._walk(child)

    def _check_call(self, node: ast.Call) -> None:
        name = _called(node)
        if _name_of(node) is not None:
            return
        if name not in FUNCTIONS or node.keywords:
            close = difflib.get_close_matches(str(name), FUNCTIONS, n=1)
            known = ", ".join(sorted(FUNCTIONS))
            self.refuse(
                node,
                f"one of the functions {known}",
                f"did you mean {close[0]}?" if close else "use one of these",
            )
        least, most, _ = FUNCTIONS[name]
        if not least <= len(node.args) <= most:
            number = f"{least}" if least == most else f"{least} to {most}"
            self.refuse(node, f"{number} argument{'s' if most > 1 else ''} of {name}")
        if name == "next" and not self.looks_ahead:
            self.refuse(node, "this row only", "only `reward` can use the next row")
        inside = {_called(part) or _name_of(part) or "" for part in node.args for part in self._walk(part)}
        if name == "unwrap" and any(part == "next" or part.startswith("next_") for part in inside):
            self.refuse(node, "unwrap of this row's columns", "write next(unwrap(x))")


def _known(node: ast.expr) -> bool:
    """Whether the language has that kind of node."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool | int | float | str)
    if isinstance(node, ast.BinOp):
        return type(node.op) in _BINARY
    if isinstance(node, ast.Compare):
        return {type(operator) for operator in node.ops} <= set(_COMPARISONS)
    if isinstance(node, ast.UnaryOp):
        return type(node.op) in _UNARY
    return isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.BoolOp | ast.IfExp)


class Evaluator:
    """Works out formulas on the columns of a table.

    Args:
        frame: the table.
        where: the file it comes from, for errors.
        over: the column that says which rows belong together.
        constants: names that stand for a number unless a column has that name.
    """

    def __init__(self, frame: pl.DataFrame, where: str, over: str, constants: Mapping[str, float]) -> None:
        self.frame = frame
        self.where, self._over = where, over
        self._constants = {"pi": math.pi, **constants}

    def add(self, name: str, formula: Formula, node: ast.expr | None = None) -> None:
        """Put the values of a formula, or of one part of it, into the table under a name."""
        expression = self._of(formula, formula.tree if node is None else node)
        with self._refused(formula):
            self.frame = self.frame.with_columns(expression.alias(name))

    def expression(self, formula: Formula) -> Any:
        """What gives a formula's values, in each row by itself: what looks at other rows is in the table already."""
        with self._refused(formula):
            return self._of(formula, formula.tree)

    def block(
        self, start: int, rows: int, expressions: Sequence[Any], formulas: Sequence[Formula]
    ) -> pl.DataFrame:
        """The values of named expressions in some rows, as numbers; ``formulas`` are what they come from, for errors."""
        polars, block = _polars(), self.frame.slice(start, rows)
        try:
            return block.select(expressions).cast(polars.Float64)
        except (polars.exceptions.PolarsError, OverflowError):
            for formula, expression in zip(formulas, expressions, strict=True):  # which of them is it?
                with self._refused(formula):
                    values = block.select(expression).to_series()
                self.refuse_texts(values, formula)
            raise

    def refuse_texts(self, values: pl.Series, formula: Formula) -> None:
        """Raise LfoError if a formula's values are texts."""
        if values.dtype == _polars().String:
            raise data_error(
                self.where,
                formula.field,
                expected="numbers",
                found=f"the text {values[0]!r} as the value of {formula.text!r}",
                remedy="compare it, such as `mode == 'auto'`, or use another column",
            )

    @contextmanager
    def _refused(self, formula: Formula) -> Iterator[None]:
        """Turn errors of polars into one about the formula."""
        try:
            yield
        except (_polars().exceptions.PolarsError, OverflowError) as error:
            raise data_error(
                self.where,
                formula.field,
                expected=f"columns that {formula.text!r} can be worked out from",
                found=" ".join(str(error).split())[:120],
                remedy="correct the expression, or the types of the columns",
            ) from error

    def wide(self, formula: Formula) -> list[str]:
        """The columns of a formula that names a whole vector, such as ``observation.state``; else none."""
        name = _name_of(formula.tree)
        if name is None or name in self.frame.columns:
            return []
        return [column for column in self.frame.columns if column.startswith(f"{name}[")]

    def _of(self, formula: Formula, node: ast.expr) -> Any:
        """The expression of a node."""
        if isinstance(node, ast.Constant):
            return _polars().lit(node.value if isinstance(node.value, str) else float(node.value))  # type: ignore[arg-type]
        if isinstance(node, ast.Subscript) or _name_of(node) is not None:
            return self._column(formula, node)
        if isinstance(node, ast.Call):
            return self._call(formula, node)
        if isinstance(node, ast.BinOp):
            return _BINARY[type(node.op)](self._of(formula, node.left), self._of(formula, node.right))
        if isinstance(node, ast.UnaryOp):
            return _UNARY[type(node.op)](self._of(formula, node.operand))
        if isinstance(node, ast.Compare):  # a < b <= c is two comparisons
            values = [self._of(formula, part) for part in (node.left, *node.comparators)]
            pairs = zip(node.ops, values, values[1:], strict=False)
            return _polars().all_horizontal(
                [_COMPARISONS[type(operator)](left, right) for operator, left, right in pairs]
            )
        return self._logic(formula, node)

    def _logic(self, formula: Formula, node: ast.expr) -> Any:
        """and, or, if."""
        if isinstance(node, ast.BoolOp):
            parts = [_truth(self._of(formula, part)) for part in node.values]
            together = "all_horizontal" if isinstance(node.op, ast.And) else "any_horizontal"
            return getattr(_polars(), together)(parts)
        assert isinstance(node, ast.IfExp)
        when = _polars().when(_truth(self._of(formula, node.test)))
        return when.then(self._of(formula, node.body)).otherwise(self._of(formula, node.orelse))

    def _call(self, formula: Formula, node: ast.Call) -> Any:
        known = ast.unparse(node)
        name = _called(node) or ""
        if name in _WINDOWS and known in self.frame.columns:  # worked out before
            return _polars().col(known)
        made = FUNCTIONS[name][2](*(self._of(formula, argument) for argument in node.args))
        if name not in _WINDOWS:
            return made
        # Polars does not nest windows: each is a column of its own.
        self.frame = self.frame.with_columns(made.over(self._over).alias(known))
        return _polars().col(known)

    def _column(self, formula: Formula, node: ast.expr) -> Any:
        base = node.value if isinstance(node, ast.Subscript) else node
        name = _name_of(base)
        if name is None:
            formula.refuse(node, "an index of a column, such as x[2]")
        index = ast.unparse(node)[len(ast.unparse(base)) :]
        columns = self.frame.columns
        if name + index in columns:
            return _polars().col(name + index)
        later = name.removeprefix("next_") + index
        if formula.looks_ahead and name.startswith("next_") and later in columns:
            shifted = _polars().col(later).shift(-1).over(self._over)
            self.frame = self.frame.with_columns(shifted.alias(name + index))
            return _polars().col(name + index)
        if name in self._constants and not index:
            return _polars().lit(self._constants[name])
        vector = f"{name}[0]" in columns and not index
        raise data_error(
            self.where,
            name + index,
            expected=f"a number in every row, as `{formula.field}` of the recipe uses it",
            found="a vector" if vector else "no such column",
            remedy=f"write one of its numbers, such as {name}[0]" if vector else "correct the index",
        )


def _name_of(node: ast.AST) -> str | None:
    """The column that a node names: ``x``, ``observation.state`` or ``col("any text")``; else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _name_of(node.value)
        return None if before is None else f"{before}.{node.attr}"
    if isinstance(node, ast.Call) and _called(node) == "col" and len(node.args) == 1:
        argument = node.args[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return argument.value
    return None


def _called(node: ast.AST) -> str | None:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def _truth(value: Any) -> Any:
    return value.cast(_polars().Float64) != 0


def _unwrapped(angle: Any, turn: Any) -> Any:
    """Without the jumps of a whole turn, from row to row."""
    turn = _polars().lit(2 * math.pi) if turn is None else turn
    turns = (angle.diff() / turn).round(0).fill_null(0.0).cum_sum()
    return angle - turns * turn


def _polars() -> Any:
    import polars

    return polars
