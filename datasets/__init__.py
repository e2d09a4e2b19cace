"""Reading, writing and collecting trajectories without actions. Never imports torch."""

from lfo.datasets.d4rl import normalized_return, reference_scores
from lfo.datasets.errors import LfoError
from lfo.datasets.readers import READERS, load, load_with_actions
from lfo.datasets.summary import summarize
from lfo.datasets.transitions import Metadata, Transitions, file_sha256
from lfo.datasets.writer import check_output, export_minari, save

__all__ = [
    "READERS",
    "LfoError",
    "Metadata",
    "Transitions",
    "check_output",
    "export_minari",
    "file_sha256",
    "load",
    "load_with_actions",
    "normalized_return",
    "reference_scores",
    "save",
    "summarize",
]
