"""What a run was run on, for its record."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from lfo.datasets import LfoError
from lfo.processes import available_cores

__all__ = ["machine", "pick_device"]


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
