"""Columns that are one piece of the file are read without the HDF5 library; the others by it, with the same result."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from flat import recording, write_h5

from lfo.datasets import LfoError, hdf5, load

NAMES = ("states", "next_states", "rewards", "terminated", "truncated")


def one_piece(path: Path) -> bool:
    """Whether all columns are."""
    return isinstance(hdf5._read(path, str(path), False), tuple)


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({}, True),
        ({"dtype": ">f8"}, True),
        ({"chunks": True, "compression": "gzip"}, False),
    ],
)
def test_every_storage_gives_the_same(options: dict[str, Any], plain: bool, tmp_path: Path) -> None:
    columns, path = recording(), tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            more = {"dtype": values.dtype} if values.dtype == bool else {}
            file.create_dataset(name, data=values, **{**options, **more})
    assert one_piece(path) == plain
    found, expected = load(path), load(write_h5(tmp_path / "usual.h5", columns))
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_types_that_numpy_has_not_are_left_to_the_library(tmp_path: Path) -> None:
    columns, path = recording(), tmp_path / "d.h5"
    rewards = np.arange(len(columns["rewards"]), dtype=np.int32)
    write_h5(path, {name: values for name, values in columns.items() if name != "rewards"})
    with h5py.File(path, "a") as file:
        file.create_dataset("rewards", data=rewards, dtype=h5py.enum_dtype({"none": 0, "one": 1}, "i4"))
    assert not one_piece(path)
    np.testing.assert_array_equal(load(path).rewards, rewards)


@pytest.mark.parametrize("chunks", [None, True])
def test_a_flag_that_is_neither_true_nor_false_is_told(chunks: Any, tmp_path: Path) -> None:
    columns, path = recording(), tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values, chunks=chunks)
    at = path.read_bytes().find(columns["terminals"].tobytes())
    with path.open("r+b") as changed:
        changed.seek(at + 3)
        changed.write(b"\x07")
    with pytest.raises(LfoError, match="terminals: expected only 0 and 1, found 7 in row 3"):
        load(path)


def test_a_file_that_is_cut_while_it_is_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_h5(tmp_path / "d.h5", recording())

    def looked_at(look: Callable[..., Any], *arguments: Any) -> Any:
        found = look(*arguments)
        os.truncate(path, path.stat().st_size // 2)
        return found

    monkeypatch.setattr(hdf5, "isolated", looked_at)
    with pytest.raises(
        LfoError, match=r"contents: expected readable HDF5 data, found the file ends .* too early"
    ):
        load(path)
