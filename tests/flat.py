"""Helpers of the reader tests: recordings in the flat layout, and files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np


def recording(
    lengths: tuple[int, ...] = (5, 7, 6), dim: int = 3, seed: int = 0
) -> dict[str, np.ndarray[Any, Any]]:
    """Random walks of the given lengths; odd episodes terminate, even ones time out."""
    rng = np.random.default_rng(seed)
    walks = [rng.standard_normal((n + 1, dim)).astype(np.float32) for n in lengths]
    ends = np.cumsum(lengths) - 1
    terminals, timeouts = np.zeros((2, sum(lengths)), dtype=bool)
    terminals[ends[1::2]] = True
    timeouts[ends[::2]] = True
    return {
        "observations": np.concatenate([walk[:-1] for walk in walks]),
        "next_observations": np.concatenate([walk[1:] for walk in walks]),
        "rewards": rng.standard_normal(sum(lengths)).astype(np.float32),
        "terminals": terminals,
        "timeouts": timeouts,
    }


def write_h5(path: Path, columns: dict[str, Any], **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for name, values in columns.items():
            file[name] = values
    return path
