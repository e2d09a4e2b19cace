"""Reading, writing and collecting trajectories without actions. Never imports torch.

Names are imported when first used, so that ``--help`` does not wait for numpy and h5py.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lfo.atomic import check_output as check_output
    from lfo.datasets.d4rl import normalized_return as normalized_return
    from lfo.datasets.d4rl import reference_scores as reference_scores
    from lfo.datasets.logs import from_dataframe as from_dataframe
    from lfo.datasets.logs import from_logs as from_logs
    from lfo.datasets.readers import READERS as READERS
    from lfo.datasets.readers import load as load
    from lfo.datasets.readers import load_with_actions as load_with_actions
    from lfo.datasets.recipes import Recipe as Recipe
    from lfo.datasets.recipes import read_recipe as read_recipe
    from lfo.datasets.summary import summarize as summarize
    from lfo.datasets.transitions import Metadata as Metadata
    from lfo.datasets.transitions import Transitions as Transitions
    from lfo.datasets.transitions import behaviour_name as behaviour_name
    from lfo.datasets.transitions import file_sha256 as file_sha256
    from lfo.datasets.transitions import from_arrays as from_arrays
    from lfo.datasets.transitions import from_episodes as from_episodes
    from lfo.datasets.writer import export_minari as export_minari
    from lfo.datasets.writer import save as save
    from lfo.errors import LfoError as LfoError

_WHERE = {
    "READERS": "lfo.datasets.readers",
    "LfoError": "lfo.errors",
    "Metadata": "lfo.datasets.transitions",
    "Recipe": "lfo.datasets.recipes",
    "Transitions": "lfo.datasets.transitions",
    "behaviour_name": "lfo.datasets.transitions",
    "check_output": "lfo.atomic",
    "export_minari": "lfo.datasets.writer",
    "file_sha256": "lfo.datasets.transitions",
    "from_arrays": "lfo.datasets.transitions",
    "from_dataframe": "lfo.datasets.logs",
    "from_episodes": "lfo.datasets.transitions",
    "from_logs": "lfo.datasets.logs",
    "load": "lfo.datasets.readers",
    "load_with_actions": "lfo.datasets.readers",
    "normalized_return": "lfo.datasets.d4rl",
    "read_recipe": "lfo.datasets.recipes",
    "reference_scores": "lfo.datasets.d4rl",
    "save": "lfo.datasets.writer",
    "summarize": "lfo.datasets.summary",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'lfo.datasets' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
