"""Files made to take all memory."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from flat import recording, write_h5
from shell import error

from lfo.datasets import LfoError, load


def test_a_bomb_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_h5(tmp_path / "d.h5", recording())

    def full(*arguments: object, **more: object) -> None:
        raise MemoryError("Unable to allocate 9.3 GiB")

    monkeypatch.setattr("lfo.datasets.columns.np.empty", full)
    with pytest.raises(
        LfoError, match=r"expected data that fits into memory, found Unable to allocate 9\.3 GiB"
    ):
        load(path)
    monkeypatch.undo()
    monkeypatch.setattr("lfo.datasets.columns.usable_memory", lambda: 500)
    with pytest.raises(LfoError, match=r"size: expected at most the 0\.0 GiB of memory here"):
        load(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (18, 3)",  # no end
        b"{'descr': 7, 'fortran_order': False, 'shape': (18, 3)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (18, -3)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (18, 9999999999999999999999)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': 'x'}",
        b"{'descr': [('a', '<f4'), ()], 'fortran_order': False, 'shape': (18,)}",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (18, 3)}",
        b"[" * 200,
        b"\xff\xfe\0",
        b"",
    ],
)
def test_a_broken_header_in_an_npz_is_one_line(header: bytes, tmp_path: Path) -> None:
    """The archive's checksums are right; NumPy reads the header of an array as Python."""
    path = tmp_path / "d.npz"
    columns = recording()
    np.savez(path, **columns)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    whole = contents["observations.npy"]
    values = whole[10 + int.from_bytes(whole[8:10], "little") :]
    contents["observations.npy"] = whole[:8] + len(header).to_bytes(2, "little") + header + values
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    line = error("inspect", path)
    assert f"{path}: observations: expected an array of numbers, found " in line
    assert "unexpected" not in line
