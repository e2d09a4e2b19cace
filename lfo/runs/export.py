"""Writing an agent of one member to a file that runs without this package: ONNX, or torch's ``.pt2``."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lfo.algorithms.protocol import Agent
from lfo.atomic import check_output, utf8
from lfo.errors import LfoError, data_error
from lfo.nn.networks import MLP

__all__ = ["FORMATS", "SUFFIXES", "check_export"]

Acts = Callable[[np.ndarray], np.ndarray]
"""Observations [B, S] float32 → actions [B, A]."""


def check_export(path: str | Path, *, overwrite: bool) -> None:
    """Check that a policy can be exported to ``path``. Call it before long work.

    Raises:
        LfoError: the name has another ending, the file exists or cannot be written, or a package is missing.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        expected = f"a name ending in {', '.join(SUFFIXES)}"
        raise data_error(path, "output", expected=expected, found=path.name, remedy="choose one of these")
    check_output(path, overwrite=overwrite)
    if path.suffix != ".safetensors" and utf8(str(path)) != str(path):
        raise data_error(
            path, "output", expected="a name in UTF-8", found="other bytes", remedy="choose another name"
        )
    if path.suffix == ".onnx":
        _require_onnx()


class _Plain(MLP):
    """The same network in operations that other runtimes have, instead of one node of autograd."""

    def __call__(self, inputs: Tensor) -> Tensor:
        first = torch.relu(inputs @ self.weight0 + self.bias0)
        second = torch.relu(first @ self.weight1 + self.bias1)
        return second @ self.weight2 + self.bias2


class _Acting(nn.Module):
    """observation [B, S] → action [B, A], or int64 [B] for one choice.

    Args:
        agent: copied to the CPU.
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent: Any = agent.member(0).cpu()
        for module in self.agent.modules():
            if isinstance(module, MLP):
                module.__class__ = _Plain

    def forward(self, observation: Tensor) -> Tensor:
        """One call for the whole batch."""
        actions: Tensor = self.agent.inverse.head.to_env(self.agent.act(observation[None])[0])
        return actions


@torch.no_grad()
def _traced(agent: Agent) -> torch.export.ExportedProgram:
    example = (torch.zeros(2, agent.units.state_dim),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        return torch.export.export(
            _Acting(agent), example, dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
        )


def _pt2(agent: Agent, record: Mapping[str, Any], path: Path) -> Acts:
    extra = {"policy": json.dumps(record)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(_traced(agent), path, extra_files=extra)
        module = torch.export.load(path).module()
    return lambda observations: np.asarray(module(torch.from_numpy(observations)).detach())


def _onnx(agent: Agent, record: Mapping[str, Any], path: Path) -> Acts:
    onnx, onnxruntime = _require_onnx()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            _traced(agent), input_names=["observation"], output_names=["action"], dynamo=True, verbose=False
        )
    model = program.model_proto
    onnx.helper.set_model_props(model, {"policy": json.dumps(record)})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda observations: np.asarray(session.run(["action"], {"observation": observations})[0])


def _require_onnx() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise LfoError(
            "export: writing ONNX needs three packages; run `pip install onnx onnxscript onnxruntime`"
        ) from error
    return onnx, onnxruntime


FORMATS: dict[str, Callable[[Agent, Mapping[str, Any], Path], Acts]] = {".onnx": _onnx, ".pt2": _pt2}
"""Endings, and what writes an agent with its record and reads it back. Both map ``observation`` [B, S] to ``action``,
as :meth:`lfo.runs.policy.Policy.predict` does; the record is in the metadata under ``policy``, as JSON."""
SUFFIXES = (*FORMATS, ".safetensors")
"""Endings of exported policies; see :meth:`lfo.runs.policy.Policy.export`."""
