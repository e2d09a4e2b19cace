"""Random draws as functions of a member's seed and of what they are for, so that a resume needs no state."""

from __future__ import annotations

import numpy as np
import torch


def seeded(seed: int, *stream: int) -> torch.Generator:
    """A CPU generator that is a function of a member's seed and of what it is for."""
    state = np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
