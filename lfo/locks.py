"""Locks between processes. The system frees a lock when its holder ends, however that happens."""

from __future__ import annotations

import getpass
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from lfo.atomic import make_folder, write_whole
from lfo.errors import LfoError

__all__ = ["claimed", "locked", "output_lock"]


@contextmanager
def locked(path: Path, *, timeout: float = 0.0) -> Iterator[bool]:
    """Hold a lock for the block, and yield whether it is held.

    The file alone means nothing: it stays when its holder ends.

    Args:
        path: of the lock's file.
        timeout: seconds to wait for a lock that someone else holds; -1 waits until it is free.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def claimed(path: Path, work: str, *, of: Path) -> Iterator[None]:
    """Hold a lock for the block. A file beside it, named ``.by``, says what is running.

    Args:
        path: of the lock's file.
        work: what is being done, such as ``interact``.
        of: the folder or file that is written to.

    Raises:
        LfoError: another process holds the lock, or the lock's file cannot be written.
    """
    holder = path.with_name(path.name + ".by")
    try:
        with locked(path) as mine:
            if not mine:
                raise LfoError(f"{of}: {_told(holder)} is writing to it; wait until that ends, or stop it")
            write_whole(holder, f"{work} (process {os.getpid()})\n", durable=False)
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
    except PermissionError as error:
        if error.filename not in (str(path), path):
            raise
        raise LfoError(f"{of}: cannot be written to ({error.strerror}); check its permissions") from error


@contextmanager
def output_lock(path: Path, work: str) -> Iterator[None]:
    """Be the only one who makes the file ``path`` for the block; what killed processes left of it is removed.

    The lock lies in the system's folder for temporary files, so that it is seen on this machine only and a killed
    process leaves nothing beside the file.

    Raises:
        LfoError: another process of this machine is making it.
    """
    folder = Path(tempfile.gettempdir(), f"d3g-lfo-{getpass.getuser()}")
    make_folder(folder)
    name = sha256(os.fsencode(path.resolve())).hexdigest()
    with claimed(folder / f"{name}.lock", work, of=path):
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        yield


def _told(holder: Path) -> str:
    try:
        return "d3g-lfo " + " ".join(holder.read_text(encoding="utf-8").split())[:200]
    except (OSError, ValueError):
        return "another process"
