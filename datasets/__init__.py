"""Reading, writing and collecting trajectories without actions. Never imports torch."""

from lfo.datasets.errors import LfoError

__all__ = ["LfoError"]
