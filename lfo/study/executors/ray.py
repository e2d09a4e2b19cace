"""A Ray cluster. Ray and this package must be installed on every node, and all nodes must share the study's folder."""

from __future__ import annotations

import logging
import os
import platform
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault(
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0"
)  # it would copy the working directory to every node
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

from lfo.errors import LfoError
from lfo.locks import locked
from lfo.processes import available_cores
from lfo.study.executors.process import WorkerProcess, another_machine_may_do
from lfo.study.executors.protocol import Note, Resources

try:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise LfoError(
        f"--executor ray: expected Ray, found none ({error}); install it with `pip install 'd3g-lfo[ray]'`"
    ) from error

TRIES = 4
"""How often a task is begun, at most, if its process is killed or its machine fails."""
PROBE_SECONDS = 60.0
"""How long a node may take to answer at the start."""
ANSWER_SECONDS = 10.0
"""How long the cluster's address may take to answer."""
LOOK_SECONDS = 2.0
"""Between two looks at which nodes there are."""


@dataclass(frozen=True)
class _Result:
    """How a remote call ended, unless its process was killed."""

    reason: str | None
    elsewhere: bool
    """Whether another machine may do it."""
    host: str
    node: str


@dataclass
class _Try:
    """A task under way."""

    task: str
    number: int = 1


class Ray:
    """Does each task as one remote call, with its cores and its share of a GPU.

    A task whose process is killed, or whose machine fails, is begun again and goes on from its checkpoint. At other
    errors a second try would fail too.

    Args:
        folder: of the study, which all nodes share.
        resources: what each task has, and where the cluster is.
        note: told of every task that is begun again.

    Raises:
        LfoError: there is no such cluster, no node has the resources, or a node does not share the folder.
    """

    def __init__(self, folder: Path, resources: Resources, note: Note) -> None:
        self._folder, self._resources, self._note = folder, resources, note
        self._gpus = (resources.device == "cuda") * 1.0 if resources.gpus is None else resources.gpus
        self._device = "cuda" if self._gpus else "cpu"
        if resources.device == "cpu" and self._gpus:
            raise LfoError("--gpus: expected no share of a GPU with --device cpu; leave out one of them")
        self._under_way: dict[Any, _Try] = {}
        self._avoided: set[str] = set()
        """Nodes whose fault it was that a task failed."""
        self._looked, self._places = -LOOK_SECONDS, 0
        with _one_line(f"--address {resources.address or 'of this machine'}"):
            _connect(resources)
        try:
            self._check_room()
            with _one_line("Ray"):
                check_nodes(folder)
        except BaseException:
            ray.shutdown()
            raise
        options = {"num_cpus": resources.cores, "num_gpus": self._gpus, "max_retries": 0}
        self._remote = ray.remote(**options)(_work)

    def room(self) -> int:
        """How many more tasks can start now."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            with _one_line("Ray"):
                self._looked, self._places = time.monotonic(), self._count_places()
        return min(self._resources.jobs or self._places, self._places) - len(self._under_way)

    def start(self, task: str) -> None:
        """Begin a task."""
        self._begin(_Try(task))

    def ended(self, seconds: float) -> list[tuple[str, str | None]]:
        """Wait for a task to end, and give those that did, each with the reason if it failed.

        Raises:
            LfoError: the cluster does not answer.
        """
        if not self._under_way:
            time.sleep(seconds)
            return []
        with _one_line("Ray"):
            some, rest = ray.wait(list(self._under_way), num_returns=1, timeout=seconds)
            more = ray.wait(rest, num_returns=len(rest), timeout=0)[0] if some and rest else []
            found = []
            for reference in (*some, *more):
                attempt = self._under_way.pop(reference)
                result = _outcome(reference)
                if result.reason and result.elsewhere and attempt.number < TRIES:
                    self._again(attempt, result)
                else:
                    found.append((attempt.task, result.reason))
        return found

    def stop(self) -> None:
        """Tell all tasks to write their checkpoints and end, and wait. A second Ctrl-C kills them."""
        try:
            if self._under_way and ray.is_initialized():
                for reference in self._under_way:
                    ray.cancel(reference)
                ray.wait(list(self._under_way), num_returns=len(self._under_way), timeout=None)
        except KeyboardInterrupt:
            for reference in self._under_way:
                ray.cancel(reference, force=True)
            raise
        finally:
            self._under_way.clear()
            ray.shutdown()

    def _begin(self, attempt: _Try) -> None:
        elsewhere = {"ray.io/node-id": f"!in({','.join(self._avoided)})"}
        where = {"label_selector": elsewhere} if self._avoided else {}
        words = (str(self._folder), self._device, attempt.task, self._resources.cores, sys.path)
        with _one_line("Ray"):
            self._under_way[self._remote.options(name=attempt.task, **where).remote(*words)] = attempt

    def _again(self, attempt: _Try, result: _Result) -> None:
        if result.node:
            self._avoided.add(result.node)
        if {node["NodeID"] for node in _nodes()} <= self._avoided:
            self._avoided.clear()
        self._note(f"{attempt.task}: {result.reason}{result.host}; trying again")
        self._begin(_Try(attempt.task, attempt.number + 1))

    def _count_places(self) -> int:
        nodes = [node for node in _nodes() if node["NodeID"] not in self._avoided]
        return sum(_places(node, self._resources.cores, self._gpus) for node in nodes)

    def _check_room(self) -> None:
        if not self._count_places():
            nodes = [{k: v for k, v in node["Resources"].items() if k in ("CPU", "GPU")} for node in _nodes()]
            raise LfoError(
                f"Ray: expected a node with {self._resources.cores} CPU cores and {self._gpus:g} of a GPU, found "
                f"{nodes}; ask for less with --cores or --gpus"
            )


def _places(node: dict[str, Any], cores: int, gpus: float) -> int:
    """How many tasks a node has room for."""
    has = node["Resources"]
    places = int(has.get("CPU", 0) // cores)
    if not gpus:
        return places
    on_gpus = int(1 / gpus + 1e-9) * int(has.get("GPU", 0)) if gpus <= 1 else int(has.get("GPU", 0) // gpus)
    return min(places, on_gpus)


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _connect(resources: Resources) -> None:
    if (resources.address or "").startswith("ray://"):
        raise LfoError(
            f"--address: expected auto or HOST:PORT, found {resources.address}; run this command on a machine of the "
            "cluster"
        )
    if resources.address not in (None, "auto"):
        _require_answer(resources.address)
    logging.getLogger("ray").setLevel(logging.ERROR)  # its advice on authentication is in docs/cluster.md
    ray._private.worker._worker_logs_enabled = False  # raylets would write to standard output
    own = {"num_cpus": (resources.jobs or available_cores()) * resources.cores, "include_dashboard": False}
    ray.init(
        address=resources.address or "local",
        log_to_driver=False,
        logging_level=logging.ERROR,
        **({} if resources.address else own),
    )


def _require_answer(address: str) -> None:
    """Check that something listens there; Ray would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise LfoError(
            f"--address: expected auto or the HOST:PORT of a Ray cluster, found {address}, where none answers ({error}); "
            "look at `ray status` on a machine of the cluster"
        ) from error


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Tell Ray's errors in a line."""
    try:
        yield
    except LfoError:
        raise
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        told = " ".join(str(error).split())[:300]
        raise LfoError(
            f"{what}: expected a Ray cluster that this machine is part of, found {type(error).__name__}: {told}; look "
            "at `ray status`"
        ) from error


# What all nodes must have in common ----------------------------------------------------------------------------


def check_nodes(folder: Path) -> None:
    """Check that every node shares a folder, sees its locks, and has this version of the package.

    Raises:
        LfoError: one does not.
    """
    token = uuid.uuid4().hex
    mine = folder / f".probe-{token}"
    written = {node["NodeID"]: folder / f".probe-{token}-{node['NodeID']}" for node in _nodes()}
    names = {node["NodeID"]: node["NodeName"] for node in _nodes()}
    try:
        with locked(mine) as held:
            assert held
            probe = ray.remote(num_cpus=0, max_retries=2)(_probe)
            asked = {
                probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                    str(mine), str(path)
                ): node
                for node, path in written.items()
            }
            late = ray.wait(list(asked), num_returns=len(asked), timeout=PROBE_SECONDS)[1]
            for reference, node in asked.items():
                where = f"node {names[node]}"
                if reference in late:
                    raise LfoError(
                        f"{where}: expected an answer within {PROBE_SECONDS:.0f} s, found none; look at `ray status`"
                    )
                _judge(where, folder, _answer(where, reference), written[node])
    finally:
        for path in (mine, *written.values()):
            path.unlink(missing_ok=True)


def _answer(where: str, reference: Any) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        told = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())[:200]
        raise LfoError(
            f"{where}: expected d3g-lfo {_versions()[0]} and what it needs, found {told}; install it there"
        ) from error
    return answer


def _judge(where: str, folder: Path, answer: dict[str, Any], written: Path) -> None:
    if not answer["sees"] or not _appears(written):
        raise LfoError(
            f"{folder}: expected a folder that all nodes share, found that {where} has another; choose an -o on a "
            "shared file system"
        )
    if not answer["refused"]:
        raise LfoError(
            f"{folder}: expected a file system whose locks hold on every node, found that {where} got a lock that is "
            "held here; mount it with locks, or choose another -o"
        )
    for what, ours, theirs in zip(
        ("d3g-lfo", "Python", "torch"), _versions(), answer["versions"], strict=True
    ):
        if ours != theirs:
            raise LfoError(
                f"{where}: expected {what} {ours}, as here, found {theirs}; install the same everywhere"
            )


def _versions() -> tuple[str, str, str]:
    return metadata.version("d3g-lfo"), platform.python_version(), metadata.version("torch")


def _appears(path: Path, seconds: float = 10.0) -> bool:
    """Whether a file can be seen, at once or when caches of a network file system have expired."""
    until = time.monotonic() + seconds
    while not path.is_file():
        if time.monotonic() > until:
            return False
        os.scandir(path.parent).close()
        time.sleep(0.05)
    return True


# On the nodes --------------------------------------------------------------------------------------------------


def _probe(mine: str, written: str) -> dict[str, Any]:
    """Look for the driver's file, try its lock, and write a file of its own."""
    sees = _appears(Path(mine))
    refused = False
    if sees:
        with locked(Path(mine)) as got:
            refused = not got
        Path(written).touch()
    return {"sees": sees, "refused": refused, "versions": _versions()}


class _Here:
    """The worker process of this Ray worker, kept from call to call."""

    process: ClassVar[WorkerProcess | None] = None


def _work(folder: str, device: str, task: str, cores: int, path: Sequence[str]) -> _Result:
    """Do a task, in a process of its own. If this call is cancelled, the process ends at its next checkpoint."""
    context = ray.get_runtime_context()
    host, node = socket.gethostname(), context.get_node_id()
    if not (Path(folder) / "study.toml").is_file():
        return _Result(f"{folder}: expected the study's folder, found none", True, f" on {host}", node)
    if _Here.process is None or _Here.process.threads != cores:
        also = [entry for entry in path if entry not in sys.path]
        _Here.process = WorkerProcess(Path(folder), device, cores, [*sys.path, *also])
    worker = _Here.process
    gpus = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "")} if device == "cuda" else {}
    try:
        worker.start(task, gpus)
        while (code := worker.poll(0.2)) is None:
            pass
        reason = worker.finish(code)
    except KeyboardInterrupt:
        worker.close()
        worker.wait()
        raise
    except OSError as error:
        return _Result(f"{task}: {error.strerror}", True, f" on {host}", node)
    elsewhere = another_machine_may_do(code)
    return _Result(reason, elsewhere, f" on {host}", node if elsewhere and code > 0 else "")


def _outcome(reference: Any) -> _Result:
    """How a remote call ended, whatever became of its process."""
    try:
        result: _Result = ray.get(reference)
        return result
    except ray.exceptions.TaskCancelledError:
        return _Result("it was cancelled", False, "", "")
    except ray.exceptions.OutOfMemoryError:
        return _Result("its node ran out of memory", True, "", "")
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.RaySystemError):
        return _Result("its worker or its node was lost", True, "", "")
    except ray.exceptions.RayTaskError as error:
        return _Result(" ".join(f"{type(error.cause).__name__}: {error.cause}".split()), False, "", "")
