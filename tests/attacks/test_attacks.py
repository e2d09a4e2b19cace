"""A small number of every attack; ``make soak`` makes the large one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from attacks import ATTACKS, Try, run

SMALL = {name: range(small) for name, (_, small, _) in ATTACKS.items() if small}


@pytest.fixture(scope="module")
def found() -> dict[Try, str]:
    """What came of every try, all of them made in one process."""
    return dict(run([(name, seed) for name, seeds in SMALL.items() for seed in seeds]))


@pytest.mark.parametrize("name", SMALL)
def test_every_try_is_fine_or_one_clear_line(name: str, found: dict[Try, str]) -> None:
    mine = {seed: found[name, seed] for seed in SMALL[name]}
    assert {seed: verdict for seed, verdict in mine.items() if verdict not in ("fine", "line")} == {}
    assert "line" in mine.values()
