"""NumPy's ``.npz`` with the keys of the HDF5 layout. Pickled objects are never opened."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from lfo.datasets.columns import COLUMNS, Columns, read_columns, refuse_if_larger_than_memory
from lfo.datasets.transitions import Metadata
from lfo.errors import LfoError, one_line

SIGNATURE = b"PK\x03\x04"


def read(source: str, with_actions: bool = False) -> Columns:
    """The columns of the ``.npz`` file at path ``source``.

    Raises:
        LfoError: the file is damaged or holds pickles, or a column is missing or malformed.
    """
    path = Path(source)
    try:
        with zipfile.ZipFile(path) as archive:
            refuse_if_larger_than_memory(source, sum(entry.file_size for entry in archive.infolist()))
        with warnings.catch_warnings(), np.load(path, allow_pickle=False) as file:
            warnings.simplefilter("ignore")  # of a damaged header, which is read as Python
            wanted = COLUMNS if with_actions else COLUMNS - {"actions"}
            found: dict[str, Any] = {
                name: _array(path, file, name) if name in wanted else None for name in file.files
            }
    except (LfoError, MemoryError, PermissionError):
        raise
    except Exception as error:  # numpy raises anything on a damaged file
        raise LfoError(
            f"{path}: file: expected a complete .npz file, found {one_line(error)}; it was cut short or damaged: "
            "copy or save it again"
        ) from error
    return read_columns(found, Metadata(source=source, path=path), with_actions)


def _array(path: Path, file: Any, name: str) -> Any:
    try:
        array = file[name]
        if not isinstance(array, np.ndarray):
            raise ValueError("not an array")
        return array
    except Exception as error:  # numpy raises anything on a damaged header
        pickled = "allow_pickle" in str(error)
        found, remedy = one_line(error), "the file is damaged: copy or save it again"
        if pickled:
            found, remedy = "pickled objects, which could run code", "save it as a float32 array"
        raise LfoError(f"{path}: {name}: expected an array of numbers, found {found}; {remedy}") from error
