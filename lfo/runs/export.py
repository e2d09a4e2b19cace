"""Exporting a policy to a file that runs elsewhere: ONNX, torch's ``.pt2``, or this project's ``.safetensors``."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from lfo.atomic import check_output, utf8
from lfo.errors import LfoError, data_error
from lfo.nn.networks import MLP

if TYPE_CHECKING:
    from lfo.runs.policy import Policy

__all__ = ["FORMATS", "OBSERVATIONS", "TOLERANCE", "check_export", "export"]

OBSERVATIONS = 1_000
"""Observations on which an exported policy is compared with the original."""
TOLERANCE = 1e-5
"""The largest difference of an action that is accepted, as a share of half the width of the action space."""

Acts = Callable[[np.ndarray], np.ndarray]
"""Observations [B, S] float32 → actions [B, A]."""


def check_export(path: str | Path, *, overwrite: bool) -> None:
    """Check that a policy can be exported to ``path``. Call it before long work.

    Raises:
        LfoError: the name has another ending, the file exists or cannot be written, or a package is missing.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        expected = f"a name ending in {', '.join(FORMATS)}"
        raise data_error(path, "output", expected=expected, found=path.name, remedy="choose one of these")
    check_output(path, overwrite=overwrite)
    if path.suffix != ".safetensors" and utf8(str(path)) != str(path):
        raise data_error(
            path, "output", expected="a name in UTF-8", found="other bytes", remedy="choose another name"
        )
    if path.suffix == ".onnx":
        _require_onnx()


def export(policy: Policy, path: str | Path, *, overwrite: bool = False) -> float:
    """Write a policy to a file whose ending says the format, and check the file against the policy.

    ``.onnx`` and ``.pt2`` map ``observation`` [B, S] to ``action`` [B, A], both float32, in the environment's units; the
    policy's record is in their metadata under ``policy``, as JSON.

    Args:
        policy: one that can act.
        path: ending in ``.onnx`` (needs onnx, onnxscript and onnxruntime), ``.pt2`` or ``.safetensors``.
        overwrite: replace an existing file.

    Returns:
        The largest difference of an action from the policy's on 1,000 observations, drawn around those of the training
        data; as a share of half the width of the action space.

    Raises:
        LfoError: see :func:`check_export`; the policy has not learned to act yet; or the difference is above 1e-5, and
            nothing is written.
    """
    path, space = Path(path), policy.space
    check_export(path, overwrite=overwrite)
    observations = _observations(policy)
    with tempfile.TemporaryDirectory(".tmp", f".{path.name}.", path.parent) as folder:
        written = Path(folder) / path.name
        found = FORMATS[path.suffix](policy, written)(observations)
        half = (space.high - space.low) / 2
        difference = float(np.max(np.abs(found - policy.predict(observations)) / half))
        if not difference <= TOLERANCE:
            raise LfoError(
                f"{path}: expected the actions of the policy up to {TOLERANCE:g} of half their range, found a "
                f"difference of {difference:.2g}; export to .safetensors, or train with precision fp32"
            )
        os.replace(written, path)
    return difference


def _observations(policy: Policy) -> np.ndarray:
    """Observations [1000, S] with the mean and the spread of the training data, as far as they are known."""
    units = policy.agent.units
    mean, std = (part[0].cpu().numpy() for part in (units.mean, units.std))
    drawn = np.random.default_rng(0).normal(size=(OBSERVATIONS, policy.state_dim))
    return np.asarray(mean + std * drawn, np.float32)


class _Plain(MLP):
    """The same network in operations that other runtimes have, instead of one node of autograd."""

    def __call__(self, inputs: Tensor) -> Tensor:
        first = torch.relu(inputs @ self.weight0 + self.bias0)
        second = torch.relu(first @ self.weight1 + self.bias1)
        return second @ self.weight2 + self.bias2


class _Acting(nn.Module):
    """observation [B, S] → action [B, A].

    Args:
        policy: copied to the CPU.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.agent: Any = policy.agent.member(0).cpu()
        for module in self.agent.modules():
            if isinstance(module, MLP):
                module.__class__ = _Plain

    def forward(self, observation: Tensor) -> Tensor:
        """One call for the whole batch."""
        actions: Tensor = self.agent.act(observation[None])[0]
        return actions


@torch.no_grad()
def _traced(policy: Policy) -> torch.export.ExportedProgram:
    example = (torch.zeros(2, policy.state_dim),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        return torch.export.export(
            _Acting(policy), example, dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
        )


def _pt2(policy: Policy, path: Path) -> Acts:
    record = {"policy": json.dumps(policy.record)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(_traced(policy), path, extra_files=record)
        module = torch.export.load(path).module()
    return lambda observations: np.asarray(module(torch.from_numpy(observations)).detach())


def _onnx(policy: Policy, path: Path) -> Acts:
    onnx, onnxruntime = _require_onnx()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            _traced(policy), input_names=["observation"], output_names=["action"], dynamo=True, verbose=False
        )
    model = program.model_proto
    onnx.helper.set_model_props(model, {"policy": json.dumps(policy.record)})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda observations: np.asarray(session.run(["action"], {"observation": observations})[0])


def _safetensors(policy: Policy, path: Path) -> Acts:
    policy.save(path)
    again: Acts = type(policy).load(path).predict
    return again


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


FORMATS: dict[str, Callable[[Policy, Path], Acts]] = {
    ".onnx": _onnx,
    ".pt2": _pt2,
    ".safetensors": _safetensors,
}
"""Endings, and what writes each and reads it back."""
