"""The algorithms, by the name that ``--algo`` takes. A new one is one file and one line here.

An algorithm is a plain ``torch.nn.Module`` of M members with a frozen config dataclass. What the rest of the
toolkit uses of it, checked for each by ``tests/test_algorithms.py``:

- ``__init__(config, units, reward_range, seeds, device)``, ``config``, ``units``, ``seeds``;
- ``learns_offline``: whether ``train`` runs ``update`` (else each round of the inverse stage does);
- ``update(batch) -> {name: [M]}``: one gradient step of all members, ``updates`` counts them;
- ``attach(inverse)``, ``inverse``: the inverse dynamics it acts with;
- ``act(states [M, B, S]) -> [M, B, A]``, in the environment's units;
- ``optimisers()``: every optimiser whose state an exact resume needs.
"""

from __future__ import annotations

from typing import TypeAlias

from lfo.bco import BCO, BCOConfig
from lfo.d3g import D3G, D3GConfig

__all__ = ["ALGORITHMS", "Agent", "Config"]

Agent: TypeAlias = D3G | BCO
Config: TypeAlias = D3GConfig | BCOConfig

ALGORITHMS: dict[str, tuple[type[D3G], type[D3GConfig]] | tuple[type[BCO], type[BCOConfig]]] = {
    "d3g": (D3G, D3GConfig),
    "bco": (BCO, BCOConfig),
}
