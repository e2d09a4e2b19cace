"""Files made to take all memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from flat import recording, write_h5

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
