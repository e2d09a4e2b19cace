"""What a run was run on, for its record."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from lfo.datasets import LfoError
from lfo.processes import available_cores, usable_memory


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is a usable GPU, else the CPU.

    Raises:
        LfoError: ``cuda`` is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise LfoError(f"--device {name}: expected a CUDA GPU, found none; use --device cpu")
    return torch.device(name)


def machine(device: torch.device) -> dict[str, str | int]:
    """``processor``, ``cores`` (that this process may use), ``device`` (a GPU's name, or cpu) and ``system``."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    """The model, where the system tells; else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def require_memory(config: Any, members: int, state_dim: int, *, where: str) -> None:
    """Check, before anything is allocated, that networks and batches of this size can fit.

    The need is a lower bound: a hidden layer with Adam's two moments, its activations, and a batch, for each member.

    Args:
        config: settings with ``hidden`` and ``batch_size``.
        members: M.
        state_dim: S.
        where: what the settings come from, for the error.

    Raises:
        LfoError: the memory here is less than the need.
    """
    hidden, batch = int(config.hidden), int(config.batch_size)
    need = 4 * members * (3 * hidden * (hidden + state_dim) + batch * (2 * state_dim + hidden))
    memory = usable_memory()
    if need > memory:
        raise LfoError(
            f"{where}: hidden, batch_size: expected sizes for the {memory / 2**30:.1f} GiB of memory here, found that "
            f"{hidden:,} units and {batch:,} rows for {members} members need {need / 2**30:,.0f} GiB; make them "
            "smaller, or use fewer seeds"
        )
