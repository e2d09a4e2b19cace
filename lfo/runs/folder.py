"""The run folder: what ``train``, ``interact``, ``eval`` and ``compare`` share.

Every file is written whole to a temporary name and renamed, so that a reader, or a run that is resumed after
``kill -9`` or on a full disk, finds either the old one or the new one. ``checkpoint.pt`` is written last: a
resumed run drops whatever else is on disk beyond the point that it marks.
"""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from lfo.algorithms.protocol import Agent
from lfo.atomic import atomic_file, check_folder, make_folder, read_csv, write_csv, write_whole
from lfo.datasets import LfoError
from lfo.runs.upgrade import upgrade_checkpoint

__all__ = ["CHECKPOINT_FORMAT", "RunFolder"]

CHECKPOINT_FORMAT = 2


class RunFolder:
    """One run on disk; see the module's docstring for its promises.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def checkpoint_path(self) -> Path:
        """Weights and everything an exact resume needs."""
        return self.path / "checkpoint.pt"

    def check_free(self, *, overwrite: bool) -> None:
        """Check that a new run may go here. Call it before long work.

        Raises:
            LfoError: it exists and ``overwrite`` is off, or holds something that is not a run.
        """
        check_folder(self.path, owner="run.json", overwrite=overwrite, resume=False)

    def create(self, *, overwrite: bool) -> None:
        """Make the folder; with ``overwrite``, an old run there is removed.

        Raises:
            LfoError: see :meth:`check_free`; or the folder cannot be made.
        """
        self.check_free(overwrite=overwrite)
        if self.path.is_dir():
            shutil.rmtree(self.path)
        make_folder(self.path)

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Write ``run.json``."""
        write_whole(self.path / "run.json", json.dumps(info, indent=2) + "\n")

    def info(self) -> dict[str, Any]:
        """Read ``run.json``.

        Raises:
            LfoError: there is no run here, or the file is damaged.
        """
        path = self.path / "run.json"
        if not path.is_file():
            what = "no run.json in it" if self.path.is_dir() else "nothing there"
            raise LfoError(f"{self.path}: expected a run folder, found {what}; make one with `d3g-lfo train`")
        try:
            info = json.loads(path.read_text())
        except (ValueError, UnicodeDecodeError) as error:
            raise LfoError(
                f"{path}: expected JSON, found something else ({error}); train the run again"
            ) from error
        if not isinstance(info, dict) or "members" not in info or "algo" not in info:
            raise LfoError(f"{path}: expected the record of a run, found other JSON; train the run again")
        return info

    def save_agent(self, agent: Agent, **more: Any) -> None:
        """Write the checkpoint of an agent, with ``more`` entries. Record stopped members in ``run.json``.

        Raises:
            LfoError: see :meth:`save_checkpoint`.
        """
        info, stopped = self.info(), {str(m): reason for m, reason in sorted(agent.stopped.items())}
        if info.get("stopped", {}) != stopped:
            self.write_info({**info, "stopped": stopped})
        self.save_checkpoint({"agent": agent.state_dict(), "stopped": dict(agent.stopped), **more})

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write ``checkpoint.pt``.

        Raises:
            LfoError: it cannot be written (a full disk, say); the one before it is kept.
        """
        try:
            with atomic_file(self.checkpoint_path) as file:
                torch.save({"format": CHECKPOINT_FORMAT, **state}, file)
        except (OSError, RuntimeError) as error:
            kept = "the checkpoint before it is kept" if self.checkpoint_path.exists() else "nothing is kept"
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
            raise LfoError(
                f"{self.checkpoint_path}: cannot be written ({reason}); {kept}, make room and pass --resume"
            ) from error

    def load_checkpoint(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """Read ``checkpoint.pt``; only tensors and plain values are accepted, nothing is unpickled.

        Raises:
            LfoError: there is none, it is truncated, or another version wrote it.
        """
        path = self.checkpoint_path
        if not path.is_file():
            raise LfoError(f"{path}: no checkpoint yet; run `d3g-lfo train` to its end or pass it --resume")
        try:
            state = torch.load(path, map_location=device, weights_only=True)
        except (
            pickle.UnpicklingError,
            RuntimeError,
            EOFError,
            OSError,
            zipfile.BadZipFile,
            KeyError,
        ) as error:
            raise LfoError(
                f"{path}: expected a checkpoint of this project, found a damaged or foreign file; train the run again"
            ) from error
        if isinstance(state, dict) and state.get("format") == 1:
            state = upgrade_checkpoint(state)
        found = state.get("format") if isinstance(state, dict) else None
        if found != CHECKPOINT_FORMAT:
            raise LfoError(
                f"{path}: expected checkpoint format {CHECKPOINT_FORMAT}, found {found}; "
                "use the version of d3g-lfo named in run.json, or train the run again"
            )
        return dict(state)

    def write_rows(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a CSV file of ``rows``, which share their keys."""
        write_csv(self.path / name, rows)

    def rows(self, name: str) -> list[dict[str, str]]:
        """Read a CSV file of this folder; a missing one has no rows."""
        return read_csv(self.path / name)

    def interactions_spent(self) -> int:
        """Environment steps of each member in the rounds finished so far."""
        return max((int(row["interactions"]) for row in self.rows("evaluations.csv")), default=0)

    # --- interactions: a file for each round, written once

    def write_interactions(
        self, number: int, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
    ) -> None:
        """Write ``interactions/round-NNNN.h5``: the arrays [M, n, ·] of one round."""
        folder = self.path / "interactions"
        folder.mkdir(exist_ok=True)
        with atomic_file(_round_path(folder, number)) as raw, h5py.File(raw, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array)
            file.attrs.update({**attributes, "round": number})

    def interactions(self, rounds: int | None = None) -> dict[str, np.ndarray]:
        """Read the interactions of the first ``rounds`` rounds (all, if None): arrays [M, n, ·].

        Without interactions, nothing. Earlier versions kept all rounds in one ``interactions.h5``, which is read too.

        Raises:
            LfoError: a file is damaged, or a round's is missing.
        """
        folder, old = self.path / "interactions", self.path / "interactions.h5"
        paths = sorted(folder.glob("round-*.h5"))
        if rounds is not None and not old.is_file():
            paths = [_round_path(folder, number) for number in range(1, rounds + 1)]
        parts = [_read_arrays(path) for path in ([old] if old.is_file() else []) + paths]
        names = set.intersection(*(set(part) for part in parts)) if parts else set()
        return {name: np.concatenate([part[name] for part in parts], axis=1) for name in sorted(names)}

    def forget_interactions(self) -> None:
        """Remove them all."""
        shutil.rmtree(self.path / "interactions", ignore_errors=True)
        (self.path / "interactions.h5").unlink(missing_ok=True)


def _round_path(folder: Path, number: int) -> Path:
    return folder / f"round-{number:04}.h5"


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with h5py.File(path, "r") as file:
            return {name: file[name][()] for name in file}
    except (OSError, KeyError, RuntimeError) as error:
        found = "nothing there" if not path.is_file() else "a damaged file"
        raise LfoError(
            f"{path}: expected a round's interactions in HDF5, found {found}; run interact with --overwrite"
        ) from error
