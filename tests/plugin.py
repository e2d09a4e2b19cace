"""An algorithm of somebody else's: one file, and the line that names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from lfo.algorithms import registry

FILE = '''"""Aims for the mean of the data's next states: no values, no model."""

from dataclasses import dataclass

import torch

from lfo.algorithms.base import Algorithm
from lfo.algorithms.registry import Spec
from lfo.nn.networks import MLP, adam, descend, member_generators


@dataclass(frozen=True)
class MeanConfig:
    hidden: int = 16
    batch_size: int = 32
    learning_rate: float = 1e-3
    standardise: bool = True

    @classmethod
    def paper(cls):
        return cls()


class Mean(Algorithm):
    name = "mean"

    def __init__(self, config, units, seeds):
        super().__init__(config, units, seeds)
        size = units.state_dim
        self.network = MLP(size, config.hidden, size, member_generators(seeds)).to(units.device)
        self.optimiser = adam(self.network.parameters(), config.learning_rate)

    def update(self, batch):
        losses = (self.network(batch.states) - batch.deltas).square().mean(dim=(1, 2))
        descend(self.optimiser, losses)
        self.updates += 1
        return {"loss": losses.detach()}

    @torch.no_grad()
    def act(self, states):
        scaled = self.units.states(states)
        return self.require_inverse()(scaled, self.network(scaled))


SPEC = Spec(Mean, MeanConfig, label="mean", colours=("#4d7d3a",), marker="^")
'''
LINE = "[d3g_lfo.algorithms]\nmean = mean_algorithm\n"


def install(folder: Path) -> Path:
    """Put the package there as pip would; the folder, to be put on the path."""
    (folder / "mean_algorithm.py").write_text(FILE)
    info = folder / "mean_algorithm-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mean-algorithm\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(LINE)
    return folder


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """For the block, here and in processes that are started."""
    import sys

    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    with (
        mock.patch.object(sys, "path", [str(folder), *sys.path]),
        mock.patch.dict(os.environ, {"PYTHONPATH": path}),
    ):
        registry.forget_plugins()
        try:
            yield
        finally:
            registry.forget_plugins()
