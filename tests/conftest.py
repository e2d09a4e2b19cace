"""Tiny runs, made once; the helpers beside the tests and the benchmarks importable, which --import-mode=importlib does
not do; and one thread for torch, here and in the processes that tests start: networks this small only wait for a
second one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parent))

from shell import TINY, TINY_ROUNDS, copy, must


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 random steps in InvertedPendulum, in a file."""
    path = tmp_path_factory.mktemp("data") / "d.h5"
    must("collect", "InvertedPendulum-v5", "--random-frac", "1", "--steps", "600", "-o", path)
    return path


@pytest.fixture(scope="session")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run of D3G, two seeds, no interactions: not to be changed, see :func:`shell.copy`."""
    out = tmp_path_factory.mktemp("trained") / "run"
    must("train", dataset, "-o", out, "--seeds", "0-1", *TINY)
    return out


@pytest.fixture(scope="session")
def interacted(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after two tiny rounds."""
    out = copy(trained, tmp_path_factory.mktemp("interacted"))
    must("interact", out, *TINY_ROUNDS)
    return out


@pytest.fixture(scope="session")
def bco(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BCO on the same data, after two tiny rounds."""
    out = tmp_path_factory.mktemp("bco") / "bco"
    must("train", dataset, "-o", out, "--seeds", "0-1", "--algo", "bco", *TINY)
    must("interact", out, *TINY_ROUNDS)
    return out
