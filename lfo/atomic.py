"""Writing files: may I, whole or not at all, and CSV tables. Nothing here imports torch."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from lfo.errors import LfoError


def check_output(path: str | Path, *, overwrite: bool = False) -> None:
    """Check that a file may be written at ``path``. Call it before long work, not only after it.

    Raises:
        LfoError: the path is a directory; it exists and ``overwrite`` is not set; or its folder is missing or
            not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise LfoError(f"{path}: expected a file name, found a directory; add the name of a file in it")
    if path.exists() and not overwrite:
        raise LfoError(f"{path}: already exists; pass --overwrite to replace it")
    if not path.parent.is_dir():
        raise LfoError(f"{path}: no such folder; check that the folder exists, or choose another")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise LfoError(f"{path}: the folder {path.parent} is not writable; choose another")


def check_folder(path: Path, *, owner: str, overwrite: bool, resume: bool | None = None) -> bool:
    """Check that a folder may be a command's output: it is missing, empty, or an earlier output. Changes nothing.

    Hidden files, such as locks and what a killed process leaves behind, do not count.

    Args:
        path: of the folder.
        owner: name of the file that marks a folder as an earlier output, such as ``run.json``.
        overwrite: whether an earlier output is to be replaced; the caller does that.
        resume: whether it is to be continued; None if the command has no ``--resume``.

    Returns:
        Whether there is an earlier output.

    Raises:
        LfoError: it is a file, it holds other files, or it holds an earlier output and neither ``overwrite`` nor
            ``resume`` is set.
    """
    if path.exists() and not path.is_dir():
        raise LfoError(f"{path}: expected a folder, found a file; choose another")
    if not path.is_dir() or all(inside.name.startswith(".") for inside in path.iterdir()):
        return False
    if not (path / owner).is_file():
        raise LfoError(
            f"{path}: expected an empty folder or one with {owner}, found other files; choose another"
        )
    if not overwrite and not resume:
        continued = "" if resume is None else "--resume to continue it or "
        raise LfoError(f"{path}: already exists; pass {continued}--overwrite to replace it")
    return True


def make_folder(path: Path) -> None:
    """Make a folder, with those above it; it may be there already.

    Raises:
        LfoError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise LfoError(f"{path}: cannot write to this folder ({error.strerror}); choose another") from error


def remove_unused(path: Path) -> None:
    """Remove a folder that has only hidden files, such as locks."""
    if all(inside.name.startswith(".") for inside in path.iterdir()):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``. What the block wrote there is renamed when it ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say which file it was
        raise


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A binary file that appears under ``path`` when the block ends without an error.

    Args:
        path: of the file.
        durable: wait until it is on the disk, so that it survives a power cut.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        yield file
        file.flush()
        if durable:
            os.fsync(file.fileno())


def write_whole(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a text file in UTF-8, see :func:`atomic_file`."""
    with atomic_file(path, durable=durable) as file:
        file.write(utf8(text).encode())


def utf8(text: str) -> str:
    """The text with escapes where it is not UTF-8, which names of files need not be."""
    return text.encode(errors="backslashreplace").decode()


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file with a column for each key of the rows; of no rows an empty one."""
    text = io.StringIO(newline="")
    if rows:
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_whole(path, text.getvalue())


def spreadsheet_safe(value: Any) -> Any:
    """A value for a CSV that people open in a spreadsheet: a text that it would run as a formula begins with ``'``."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a CSV file; a missing one has no rows.

    Raises:
        LfoError: it is not CSV in UTF-8, or may not be read.
    """
    if not path.is_file():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise LfoError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except (ValueError, csv.Error) as error:
        raise LfoError(
            f"{path}: expected CSV in UTF-8, found something else ({error}); restore the file from a copy"
        ) from error
