"""Writing files: may I, whole or not at all, and CSV tables. Nothing here imports torch."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from lfo.errors import LfoError

__all__ = ["atomic_file", "atomic_path", "check_output", "read_csv", "write_csv", "write_whole"]


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


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``. What the block wrote there is renamed when it ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
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
        file.write(text.encode())


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file of rows that share their keys; of no rows an empty one."""
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_whole(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a CSV file; a missing one has no rows."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
