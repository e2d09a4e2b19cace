"""A small number of every attack; ``make soak`` makes the large one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from attacks import ATTACKS, run


@pytest.mark.parametrize("name", [name for name, (_, small, _) in ATTACKS.items() if small])
def test_every_try_is_fine_or_one_clear_line(name: str) -> None:
    found = run(name, ATTACKS[name][1])
    assert set(found) <= {"fine", "line"}, found
    assert found["line"] > 0
