"""Tables of logs: CSV, TSV, Parquet and JSON lines, gzip of each, read with polars into plain columns.

A plain column holds float64 or text. Vectors become ``x[0]``, ``x[1]``, …, nested objects ``x.part``, times seconds, and
booleans 0 and 1.
"""

from __future__ import annotations

import csv
import glob
import gzip
import importlib
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lfo.datasets.recipes import Recipe
from lfo.errors import LfoError, data_error
from lfo.processes import usable_memory
from lfo.settings import suggest

if TYPE_CHECKING:
    import polars as pl

__all__ = ["LOG_SUFFIXES", "log_paths", "read_table", "require_polars", "tidied"]

_KINDS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
LOG_SUFFIXES = tuple(_KINDS)
"""How the names of logs end, but for ``.gz``."""
_EXPECTED = {
    "csv": "a header, and as many values in every line",
    "tsv": "a header, and as many values in every line",
    "parquet": "a complete Parquet file",
    "jsonl": "a JSON object in every line",
}


def require_polars(work: str = "reading logs") -> Any:
    """The polars module.

    Args:
        work: what needs it, for the error.

    Raises:
        LfoError: it is not installed.
    """
    try:
        return importlib.import_module("polars")
    except ImportError as error:
        raise LfoError(
            f"{work} needs the package polars (the extra `logs`); run `pip install 'polars>=1'`"
        ) from error


def log_paths(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that paths and patterns name, those of a pattern in alphabetical order, each once.

    Raises:
        LfoError: a path is not a file, or a pattern matches none.
    """
    found: dict[Path, None] = {}
    for path in [paths] if isinstance(paths, str | Path) else paths:
        pattern = glob.has_magic(str(path))
        matches = [path] if Path(path).exists() else sorted(glob.glob(str(path), recursive=True))
        if not matches:
            raise data_error(
                path,
                "path",
                expected="a pattern that matches files" if pattern else "a file",
                found="no match" if pattern else "nothing there",
                remedy="check the spelling",
            )
        for match in map(Path, matches):
            if match.is_dir():
                remedy = f"name the files in it, such as '{match}/*.csv'"
                raise data_error(match, "path", expected="a file", found="a folder", remedy=remedy)
            found[match] = None
    return list(found)


def read_table(path: Path, recipe: Recipe) -> pl.DataFrame:
    """The columns of one file that the recipe names, see :func:`tidied`.

    Raises:
        LfoError: the file is damaged or of another kind, or as for :func:`tidied`.
    """
    return tidied(_raw(path, recipe), str(path), recipe)


def _raw(path: Path, recipe: Recipe) -> pl.DataFrame:
    """The columns as polars reads them."""
    polars, kind = require_polars(), _kind(path)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return _parsed(kind, io.BytesIO(_unpacked(file, path)) if packed else file, recipe)
    except (polars.exceptions.PolarsError, EOFError, zlib.error, OSError) as error:
        raise data_error(
            path,
            "file",
            expected=_EXPECTED[kind],
            found=_fault(kind, path, recipe) or getattr(error, "strerror", None) or _line(error),
            remedy="correct the file, or copy it again",
        ) from error


def _unpacked(file: IO[bytes], path: Path) -> bytes:
    """The content of a gzip file.

    Raises:
        LfoError: it is more than fits into memory, with the table that is made of it.
    """
    most = usable_memory() // 4
    with gzip.GzipFile(fileobj=file) as packed:
        content = packed.read(most + 1)
    if len(content) > most:
        raise data_error(
            path,
            "size",
            expected=f"at most {most / 2**30:.1f} GiB when unpacked, a quarter of the memory here",
            found="more",
            remedy="split it into several files",
        )
    return content


def tidied(frame: pl.DataFrame, where: str, recipe: Recipe) -> pl.DataFrame:
    """The columns that the recipe names, plain, and ``§row``, which counts rows from 1.

    Args:
        frame: as it was read.
        where: its file, for errors.
        recipe: says which columns, and whether a value may be missing.

    Raises:
        LfoError: a column is missing or there twice, mixes numbers and texts, or lacks a value.
    """
    names = [name.strip() for name in frame.columns]
    double = next((name for name in names if name.endswith("_duplicated_0") or names.count(name) > 1), None)
    if double is not None:
        name = double.removesuffix("_duplicated_0")
        remedy = "rename one of them"
        raise data_error(where, name, expected="a column name once", found="it twice", remedy=remedy)
    if len(frame) == 0:
        raise data_error(where, "rows", expected="at least 2", found="none", remedy="leave this file out")
    frame = frame.rename(dict(zip(frame.columns, names, strict=True)))
    polars, rows = require_polars(), len(frame)
    # One column after the other in one piece, and the frame let go: polars would hold all of them twice
    plain = [
        column.rechunk()
        for name in _wanted(names, recipe)
        for column in _plain(frame.drop_in_place(name), where)
    ]
    found: pl.DataFrame = polars.DataFrame([*plain, polars.Series("§row", range(1, rows + 1))])
    _check_names(found.columns, [*found.columns, *names], where, recipe)
    for column in plain:
        if recipe.missing == "refuse" and column.null_count():
            missing = column.is_null().arg_true()
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise data_error(
                where,
                column.name,
                expected="a value in every row",
                found=f"none in row {missing[0] + 1}{more}",
                remedy='correct them, or add missing = "drop" to the recipe, which leaves such rows out',
            )
    return found


def _fault(kind: str, path: Path, recipe: Recipe) -> str | None:
    """What is wrong in which row of a text file, if that can be told."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (EOFError, zlib.error, OSError):
        return None
    lines = content.decode("utf-8", "replace").splitlines()
    if kind == "jsonl":
        for row, line in enumerate(filter(str.strip, lines), 1):
            try:
                if not isinstance(json.loads(line), dict):
                    return f"no object in row {row}"
            except ValueError:
                return f"row {row} that is not JSON"
    elif kind != "parquet" and lines:
        table = list(csv.reader(lines, delimiter=_separator(kind, recipe)))
        for row, values in enumerate(table[1:], 1):
            if len(values) > len(table[0]):
                return f"{len(values)} values in row {row} under a header of {len(table[0])}"
    return None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split("\n")[0].split())[:120] or "an empty file"


def _separator(kind: str, recipe: Recipe) -> str:
    return recipe.separator or ("\t" if kind == "tsv" else ",")


def _kind(path: Path) -> str:
    kind = _KINDS.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if kind is None:
        raise data_error(
            path,
            "name",
            expected=f"one that ends in {', '.join(_KINDS)}, or in one of these and .gz",
            found=repr(path.name),
            remedy="rename the file",
        )
    return kind


def _parsed(kind: str, file: IO[bytes], recipe: Recipe) -> pl.DataFrame:
    polars = require_polars()
    frame: pl.DataFrame
    if kind == "parquet":
        wanted = _wanted(list(polars.read_parquet_schema(file)), recipe)
        file.seek(0)
        frame = polars.read_parquet(file, columns=wanted) if wanted else polars.read_parquet(file)
    elif kind == "jsonl":
        frame = polars.read_ndjson(file, infer_schema_length=None)
    else:
        frame = polars.read_csv(
            file,
            separator=_separator(kind, recipe),
            infer_schema_length=None,
            null_values=recipe.nulls or None,
            try_parse_dates=True,
        )
    return frame


def _wanted(columns: Sequence[str], recipe: Recipe) -> list[str]:
    """The columns that the recipe names: as they are, as ``next_NAME``, or as ``NAME.part``."""
    named = {name for formula in recipe.formulas.values() for name in formula.names()}
    named |= {name.removeprefix("next_") for name in named} | {recipe.episode or ""}
    return [name for name in columns if any(used == name or used.startswith(f"{name}.") for used in named)]


def _check_names(usable: Sequence[str], shown: Iterable[str], where: str, recipe: Recipe) -> None:
    known = {*usable, *(column.partition("[")[0] for column in usable)}
    listed = list(dict.fromkeys(name for name in shown if name != "§row"))
    named = {name: key for key, formula in recipe.formulas.items() for name in sorted(formula.names())}
    if recipe.episode is not None:
        named[recipe.episode] = "episode"
    for name, key in named.items():
        later = name.removeprefix("next_") if key == "reward" else name
        if {name, later} & known or name in ("pi", "dt"):
            continue
        mark = next((mark for mark in ";\t|," if len(listed) == 1 and mark in listed[0]), None)
        remedy = (
            _suggested(name, listed) if mark is None else f"add separator = {json.dumps(mark)} to the recipe"
        )
        if name.startswith("next_") and name.removeprefix("next_") in known:
            remedy = "only `reward` can use the next row"
        raise data_error(
            where,
            name,
            expected=f"a column of that name, as `{key}` of the recipe uses it",
            found=", ".join(listed[:12])[:200] + (", …" if len(listed) > 12 else ""),
            remedy=remedy,
        )


def _suggested(name: str, columns: Sequence[str]) -> str:
    """The closest column, as a recipe has to write it."""
    remedy = suggest(name, columns)
    for column in columns:
        if remedy == f"did you mean {column}?" and not re.fullmatch(r"[^\W\d][\w.]*(\[\d+\])*", column):
            return f"did you mean col({column!r})?"
    return remedy


def _plain(column: pl.Series, where: str) -> Iterator[pl.Series]:
    """The column as float64 or text, or several, where it holds vectors or objects."""
    polars = require_polars()
    kind, name = column.dtype, column.name
    if kind.is_numeric() or kind == polars.Boolean:
        yield _finite(column.cast(polars.Float64), where)
    elif kind in (polars.Datetime, polars.Date):
        yield column.cast(polars.Datetime("ns")).dt.epoch("ns").cast(polars.Float64) / 1e9
    elif kind in (polars.Duration, polars.Time):
        yield (
            column.cast(polars.Duration("ns") if kind == polars.Duration else polars.Int64)
            .cast(polars.Int64)
            .cast(polars.Float64)
            / 1e9
        )
    elif kind in (polars.String, polars.Categorical, polars.Enum, polars.Null):
        yield _numbers_or_text(column.cast(polars.String).str.strip_chars(), where)
    elif isinstance(kind, polars.Struct):
        for field in column.struct.fields:
            yield from _plain(column.struct.field(field).alias(f"{name}.{field}"), where)
    elif isinstance(kind, polars.List | polars.Array):
        for i, part in enumerate(_split(column, where)):
            yield from _plain(part.alias(f"{name}[{i}]"), where)
    else:
        raise data_error(
            where, name, expected="numbers or texts", found=str(kind), remedy="convert the column"
        )


def _finite(column: pl.Series, where: str) -> pl.Series:
    """NaN becomes a missing value; infinity is refused."""
    if column.is_finite().all():
        return column
    infinite = column.is_infinite()
    if infinite.any():
        row = infinite.arg_true()[0]
        raise data_error(
            where,
            column.name,
            expected="finite numbers",
            found=f"{column[row]} in row {row + 1}",
            remedy='correct it, or leave the value out and add missing = "drop" to the recipe',
        )
    return column.fill_nan(None)


def _numbers_or_text(column: pl.Series, where: str) -> pl.Series:
    """Numbers, if all texts are; 0 and 1 of false and true; else the texts. A missing text is an empty one."""
    polars = require_polars()
    column = column.set(column == "", None)
    numbers = column.cast(polars.Float64, strict=False)
    if numbers.null_count() == len(column):
        lower = column.str.to_lowercase()
        if lower.is_in(["true", "false"]).all() and column.null_count() < len(column):
            flags: pl.Series = (lower == "true").cast(polars.Float64)
            return flags
        return column.fill_null("")
    texts = (numbers.is_null() & column.is_not_null()).arg_true()
    if len(texts):
        text, row = column[texts[0]], texts[0] + 1
        raise data_error(
            where,
            column.name,
            expected="numbers only, or texts only",
            found=f"the text {text!r} in row {row} among numbers",
            remedy=f'correct it, or add nulls = ["{text!s}"] to the recipe if it stands for a missing value',
        )
    return _finite(numbers, where)


def _split(column: pl.Series, where: str) -> list[pl.Series]:
    """A column of vectors as a column for each of their numbers."""
    polars = require_polars()
    if isinstance(column.dtype, polars.List):
        lengths: Any = column.list.len().fill_null(0)
        width = int(lengths.max() or 0)
        other = (lengths != width).arg_true()
        if len(other):
            raise data_error(
                where,
                column.name,
                expected=f"vectors of {width} numbers",
                found=f"{lengths[other[0]]} in row {other[0] + 1}",
                remedy="store vectors of one length",
            )
        return [column.list.get(i) for i in range(width)]
    kind: Any = column.dtype
    return [column.arr.get(i) for i in range(kind.shape[0])]
