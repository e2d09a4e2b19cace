"""A small number of every attack; ``make soak`` makes the large one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from attacks import ATTACKS, run


@pytest.mark.parametrize("name", [name for name, (_, small, _) in ATTACKS.items() if small])
def test_every_try_is_fine_or_one_clear_line(name: str) -> None:
    found = dict(run(name, range(ATTACKS[name][1])))
    assert len(found) == ATTACKS[name][1]
    assert {seed: verdict for seed, verdict in found.items() if verdict not in ("fine", "line")} == {}
    assert "line" in found.values()
