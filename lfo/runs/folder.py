"""The run folder: what ``train``, ``interact``, ``eval`` and ``compare`` share.

Every file is written whole to a temporary name and renamed, so that a reader, or a run that is resumed after
``kill -9`` or on a full disk, finds either the old one or the new one. ``checkpoint.pt`` is written last: a
resumed run drops whatever else is on disk beyond the point that it marks.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from lfo.algorithms.protocol import Agent
from lfo.atomic import atomic_file, check_folder, make_folder, read_csv, remove_unused, write_csv, write_whole
from lfo.datasets.columns import refuse_if_larger_than_memory
from lfo.datasets.hdf5 import plain_dataset
from lfo.errors import LfoError, one_line
from lfo.locks import claimed
from lfo.runs.schema import check_interactions, check_record, check_rows
from lfo.runs.upgrade import upgrade_checkpoint

CHECKPOINT_FORMAT = 2
_LOCK = ".run.lock"
_ARRAYS = ("observations", "next_observations", "rewards", "terminals", "timeouts", "actions")


class RunFolder:
    """One run on disk; see the module's docstring for its promises.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._claimed = False

    @property
    def checkpoint_path(self) -> Path:
        """Weights and everything an exact resume needs."""
        return self.path / "checkpoint.pt"

    @contextmanager
    def claim(self, work: str) -> Iterator[None]:
        """Be the only process that writes here for the block; what killed processes left half written is removed.

        Blocks of one object may be nested. The folder is made if there is none, and removed again if nothing was
        written to it.

        Args:
            work: what is being done, such as ``interact``; another process is told.

        Raises:
            LfoError: another process is writing here, or the folder cannot be written to.
        """
        if self._claimed:
            yield
            return
        new = not self.path.exists()
        make_folder(self.path)
        with claimed(self.path / _LOCK, work, of=self.path):
            for pattern in (".*.tmp", "interactions/.*.tmp"):
                for left in self.path.glob(pattern):
                    left.unlink(missing_ok=True)
            self._claimed = True
            try:
                yield
            finally:
                self._claimed = False
                if new:
                    remove_unused(self.path)

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
        make_folder(self.path)
        # run.json last: killed on the way, this is still a folder that --overwrite replaces.
        for inside in sorted(self.path.iterdir(), key=lambda inside: inside.name == "run.json"):
            if inside.is_dir() and not inside.is_symlink():
                shutil.rmtree(inside)
            elif not inside.name.startswith(_LOCK):
                inside.unlink()

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
            info = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise _unreadable(path, error) from error
        except (ValueError, RecursionError) as error:
            raise LfoError(
                f"{path}: expected JSON, found something else ({one_line(error)}); restore the "
                "file from a copy, or train the run again"
            ) from error
        return check_record(path, info)

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
            with open(path, "rb") as file:
                with zipfile.ZipFile(file) as archive:
                    damaged = archive.testzip()  # torch does not compare checksums
                if damaged is not None:
                    raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
                file.seek(0)
                state = torch.load(file, map_location=device, weights_only=True)
            if isinstance(state, dict) and state.get("format") == 1:
                state = upgrade_checkpoint(state)
        except MemoryError:
            raise
        except PermissionError as error:
            raise _unreadable(path, error) from error
        except Exception as error:  # a damaged archive can raise anything
            raise LfoError(
                f"{path}: expected a checkpoint of this project, found a damaged or foreign file "
                f"({one_line(error, 80)}); restore the file from a copy, or "
                "train the run again"
            ) from error
        found = state.get("format") if isinstance(state, dict) else None
        if found != CHECKPOINT_FORMAT:
            raise LfoError(
                f"{path}: expected checkpoint format {CHECKPOINT_FORMAT}, found {found}; "
                "use the version of d3g-lfo named in run.json, or train the run again"
            )
        if not (isinstance(state.get("agent"), dict) and isinstance(state.get("stopped"), dict)):
            raise LfoError(f"{path}: expected an agent and who stopped, found neither; train the run again")
        return dict(state)

    def write_rows(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a CSV file of ``rows``, which share their keys."""
        write_csv(self.path / name, rows)

    def rows(self, name: str) -> list[dict[str, str]]:
        """Read a CSV file of this folder; a missing one has no rows.

        Raises:
            LfoError: it cannot be read, or a value is not what the column holds.
        """
        path = self.path / name
        rows = read_csv(path)
        if rows:
            check_rows(path, rows, len(self.info()["members"]))
        return rows

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
        info = self.info()
        parts = [
            check_interactions(path, _read_arrays(path), len(info["members"]), int(info["state_dim"]))
            for path in ([old] if old.is_file() else []) + paths
        ]
        names = set.intersection(*(set(part) for part in parts)) if parts else set()
        if len({part["actions"].shape[2] for part in parts if "actions" in part}) > 1:
            raise LfoError(
                f"{folder}: expected actions of one length in all rounds, found several; restore the files from a "
                f"copy, or start again with `d3g-lfo interact {self.path} --overwrite`"
            )
        return {name: np.concatenate([part[name] for part in parts], axis=1) for name in sorted(names)}

    def forget_interactions(self) -> None:
        """Remove them all."""
        shutil.rmtree(self.path / "interactions", ignore_errors=True)
        (self.path / "interactions.h5").unlink(missing_ok=True)


def _round_path(folder: Path, number: int) -> Path:
    return folder / f"round-{number:04}.h5"


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        found = "nothing there"
    else:
        try:
            with h5py.File(path, "r") as file:
                stored = {name: plain_dataset(path, file, name) for name in _ARRAYS if name in file}
                refuse_if_larger_than_memory(str(path), sum(array.size * 4 for array in stored.values()))
                return {name: np.asarray(array[()]) for name, array in stored.items()}
        except PermissionError as error:
            raise _unreadable(path, error) from error
        except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
            found = f"a damaged file ({one_line(error, 80)})"
    raise LfoError(
        f"{path}: expected a round's interactions in HDF5, found {found}; restore the file from a copy, or run "
        "interact with --overwrite"
    )


def _unreadable(path: Path, error: OSError) -> LfoError:
    reason = error.strerror or one_line(error, 80)
    return LfoError(f"{path}: cannot be read ({reason}); check its permissions")
