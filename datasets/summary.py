"""What is in a data set, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfo.datasets import d4rl
from lfo.datasets.spread import measure_spread, warn_of_chance
from lfo.datasets.transitions import Transitions

_BLOCK = 1 << 14  # rows converted to float64 at a time


def summarize(data: Transitions) -> dict[str, Any]:
    """Counts, returns, lengths, flags and ranges, as plain numbers and lists that fit into JSON.

    Returns and lengths are over all E episodes, counting only rows that were kept; standard deviations are
    population ones. ``states``, ``steps`` (s' - s) and ``rewards`` hold min, mean, max and std, one value per
    dimension except for rewards. ``normalized_return`` is D4RL's score (0 random, 100 expert), or None
    if D4RL has no reference scores for the data. ``behaviour`` names the recorded policy. ``next_states``
    is ``narrow``, ``between``, ``wide`` or ``unknown``, ``spread`` the number behind it (or None) and
    ``next_states_text`` the same in words; see :func:`~lfo.datasets.spread.measure_spread`.
    """
    metadata = data.metadata
    returns, lengths = data.episode_returns(), data.episode_lengths()
    spread = measure_spread(data)
    name = d4rl.name_of(metadata.source)
    normalized = None
    if name is not None and d4rl.reference_scores(name) is not None:
        normalized = float(d4rl.normalized_return(name, float(returns.mean())))
    return {
        "path": metadata.source,
        "env": metadata.env_id,
        "transitions": len(data),
        "episodes": data.num_episodes,
        "state_dim": data.state_dim,
        "state_names": list(metadata.state_names),
        "state_units": list(metadata.state_units),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_min": float(returns.min()),
        "return_max": float(returns.max()),
        "normalized_return": normalized,
        "length_mean": float(lengths.mean()),
        "length_std": float(lengths.std()),
        "length_min": int(lengths.min()),
        "length_max": int(lengths.max()),
        "terminated": int(data.terminated.sum()),
        "truncated": int(data.truncated.sum()),
        "next_states": spread.kind,
        "spread": spread.share,
        "next_states_text": str(spread),
        "has_actions": metadata.has_actions,
        "random_frac": metadata.random_frac,
        "policy": metadata.policy,
        "behaviour": metadata.behaviour,
        "seed": metadata.seed,
        "dropped": metadata.dropped,
        "dropped_reason": metadata.dropped_reason,
        "attributes": dict(metadata.attributes),
        "rewards": {key: value[0] for key, value in _ranges(data.rewards[:, None]).items()},
        "states": _ranges(data.states),
        "steps": _ranges(data.next_states, data.states),
        "warnings": [*data.warnings, *warn_of_chance(data)],
    }


def _ranges(values: NDArray[np.float32], less: NDArray[np.float32] | None = None) -> dict[str, list[float]]:
    """Per column of ``values - less``: min, mean, max and std, in float64, in two passes."""
    low = np.full(values.shape[1], np.inf)
    high, total, squares = -low, np.zeros_like(low), np.zeros_like(low)

    def blocks() -> Any:
        for start in range(0, len(values), _BLOCK):
            block = values[start : start + _BLOCK].astype(np.float64)
            yield block if less is None else block - less[start : start + _BLOCK]

    for block in blocks():
        np.minimum(low, block.min(axis=0), out=low)
        np.maximum(high, block.max(axis=0), out=high)
        total += block.sum(axis=0)
    mean = total / len(values)
    for block in blocks():
        squares += np.square(block - mean).sum(axis=0)
    std = np.sqrt(squares / len(values))
    return {"min": low.tolist(), "mean": mean.tolist(), "max": high.tolist(), "std": std.tolist()}
