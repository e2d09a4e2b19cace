"""Offline learning from observation: from trajectories without actions to a policy that acts.

    from lfo import D3G, evaluate, learn_inverse
    from lfo.datasets import load

    agent = D3G.fit(load("dataset.h5"), seeds=range(10), steps=50_000)
    learn_inverse(agent, "InvertedPendulum-v5", rounds=5, interactions=1000)
    print(evaluate(agent, "InvertedPendulum-v5", episodes=10))

Importing this package imports no torch: names are looked up when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lfo.agents import load_agent as load_agent
    from lfo.algorithms import ALGORITHMS as ALGORITHMS
    from lfo.bco import BCO as BCO
    from lfo.bco import BCOConfig as BCOConfig
    from lfo.d3g import D3G as D3G
    from lfo.d3g import D3GConfig as D3GConfig
    from lfo.evaluation import Evaluation as Evaluation
    from lfo.interaction import evaluate as evaluate
    from lfo.interaction import learn_inverse as learn_inverse
    from lfo.inverse import InverseConfig as InverseConfig
    from lfo.run import RunFolder as RunFolder
    from lfo.trainer import train as train

_WHERE = {
    "ALGORITHMS": "lfo.algorithms",
    "BCO": "lfo.bco",
    "BCOConfig": "lfo.bco",
    "D3G": "lfo.d3g",
    "D3GConfig": "lfo.d3g",
    "Evaluation": "lfo.evaluation",
    "InverseConfig": "lfo.inverse",
    "RunFolder": "lfo.run",
    "evaluate": "lfo.interaction",
    "learn_inverse": "lfo.interaction",
    "load_agent": "lfo.agents",
    "train": "lfo.trainer",
}

__all__ = [
    "ALGORITHMS",
    "BCO",
    "D3G",
    "BCOConfig",
    "D3GConfig",
    "Evaluation",
    "InverseConfig",
    "RunFolder",
    "evaluate",
    "learn_inverse",
    "load_agent",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'lfo' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
