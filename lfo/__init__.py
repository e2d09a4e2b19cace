"""Offline learning from observation: from trajectories without actions to a policy that acts.

    from lfo import D3G, evaluate, learn_inverse, load_policy
    from lfo.datasets import load

    agent = D3G.fit(load("dataset.h5"), seeds=range(10), steps=50_000)
    learn_inverse(agent, "InvertedPendulum-v5", rounds=5, interactions=1000)
    print(evaluate(agent, "InvertedPendulum-v5", episodes=10))
    agent.save("run")

    policy = load_policy("run", member=0)
    action = policy.predict(observation)

Importing this package imports no torch: names are looked up when they are first used.
"""

from __future__ import annotations

import importlib
import os

TYPE_CHECKING = False  # as in typing, which takes longer to import than the rest of this file
_HERE = os.path.dirname(__file__)  # pathlib would double the time that the import takes
if not os.path.isdir(os.path.join(_HERE, "datasets")):
    # In a clone `lfo.datasets` and `lfo.cli` lie beside this folder; an installed package has them inside.
    __path__.append(os.path.dirname(_HERE))

if TYPE_CHECKING:
    from lfo.acting.evaluation import Evaluation as Evaluation
    from lfo.acting.online import OnlineConfig as OnlineConfig
    from lfo.acting.online import learn_online as learn_online
    from lfo.acting.rounds import evaluate as evaluate
    from lfo.acting.rounds import learn_inverse as learn_inverse
    from lfo.algorithms.bco import BCO as BCO
    from lfo.algorithms.bco import BCOConfig as BCOConfig
    from lfo.algorithms.d3g import D3G as D3G
    from lfo.algorithms.d3g import D3GConfig as D3GConfig
    from lfo.algorithms.d3g_online import D3GOnline as D3GOnline
    from lfo.algorithms.d3g_online import D3GOnlineConfig as D3GOnlineConfig
    from lfo.algorithms.inverse import InverseConfig as InverseConfig
    from lfo.algorithms.qsi import QSI as QSI
    from lfo.algorithms.qsi import QSIConfig as QSIConfig
    from lfo.runs.folder import RunFolder as RunFolder
    from lfo.runs.loading import load_agent as load_agent
    from lfo.runs.policy import Policy as Policy
    from lfo.runs.policy import load_policy as load_policy
    from lfo.training.loop import train as train

_WHERE = {
    "BCO": "lfo.algorithms.bco",
    "BCOConfig": "lfo.algorithms.bco",
    "D3G": "lfo.algorithms.d3g",
    "D3GConfig": "lfo.algorithms.d3g",
    "D3GOnline": "lfo.algorithms.d3g_online",
    "D3GOnlineConfig": "lfo.algorithms.d3g_online",
    "Evaluation": "lfo.acting.evaluation",
    "InverseConfig": "lfo.algorithms.inverse",
    "OnlineConfig": "lfo.acting.online",
    "Policy": "lfo.runs.policy",
    "QSI": "lfo.algorithms.qsi",
    "QSIConfig": "lfo.algorithms.qsi",
    "RunFolder": "lfo.runs.folder",
    "evaluate": "lfo.acting.rounds",
    "learn_inverse": "lfo.acting.rounds",
    "learn_online": "lfo.acting.online",
    "load_agent": "lfo.runs.loading",
    "load_policy": "lfo.runs.policy",
    "train": "lfo.training.loop",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'lfo' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
