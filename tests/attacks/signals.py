"""Commands in processes of their own, which signals end, or of which two write to the same place.

The processes are forked from one that has imported everything, so that a try takes a second.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

QUIET = ("note: ", "round ", "$ d3g-lfo")
PROGRESS = re.compile(
    r".*: \d+% of |\d+ of \d+ cells|.*: (waiting|collecting|training|interacting|evaluating|done) \("
)

Words = list[object]


@dataclass(frozen=True)
class Work:
    """A command that writes into a folder."""

    words: Callable[[Path], Words]
    result: Callable[[Path], object]
    """What is compared."""
    resumed: Callable[[Path], Words] = lambda folder: []
    """The words that continue it; none, if the same words do."""
    prepared: str = ""
    """What is copied there first: ``trained`` or ``interacted``."""


class Forks:
    """Forked commands.

    Args:
        folder: for what they write.
        must: runs a command in this process.
    """

    def __init__(self, folder: Path, must: Callable[..., str]) -> None:
        self.folder, self.must = folder, must
        self.whole: dict[str, tuple[float, object]] = {}
        _import_everything()

    def start(self, *words: object, told: Path) -> int:
        """Begin a command and give its process; what it prints on stderr goes to a file."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until the command itself has begun
        child = os.fork()
        if child:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            return child
        code: object = 70
        try:
            os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w")) for number in (1, 2))
            sys.argv = ["d3g-lfo", *map(str, words)]
            import lfo.cli
            from lfo.__main__ import main

            run = lfo.cli.main

            def begin() -> None:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
                run()

            lfo.cli.main = begin
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)

    def run(self, *words: object) -> tuple[int, str]:
        """Exit code and stderr of a command."""
        told = self.folder / "told"
        return _wait(self.start(*words, told=told)), told.read_text()

    def prepare(self, name: str) -> Path:
        """A fresh folder for a command."""
        work, folder = WORKS[name], self.folder / "there"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if work.prepared:
            shutil.copytree(self.run_folder(work.prepared), folder / "run")
        return folder

    def run_folder(self, name: str) -> Path:
        """A small run, ``trained`` or ``interacted``."""
        path = self.folder / name
        if not path.exists() and name == "trained":
            self.must("train", self.data(), "-o", path, "--steps", "10", "--seeds", "0-1", *SMALL)
        elif not path.exists():
            shutil.copytree(self.run_folder("trained"), path)
            self.must("interact", path, *ROUNDS)
        return path

    def data(self) -> Path:
        """A small data set."""
        path = self.folder / "data.h5"
        if not path.exists():
            self.must("collect", "Odd-v0", "--random-frac", "1", "--steps", "120", "-o", path)
            (self.folder / "log.csv").write_text(
                "x,v\n" + "".join(f"{n / 7},{n % 5}\n" for n in range(20_000))
            )
        return path

    def undisturbed(self, name: str) -> tuple[float, object]:
        """How long a command takes, and its result."""
        if name not in self.whole:
            self.data()
            folder = self.prepare(name)
            since = time.monotonic()
            code, told = self.run(*WORKS[name].words(folder))
            assert code == 0, told
            self.whole[name] = time.monotonic() - since, WORKS[name].result(folder)
        return self.whole[name]

    def ended(self, name: str, number: signal.Signals, share: float) -> str:
        """End a command by a signal after a share of its time, continue it, and compare."""
        seconds, right = self.undisturbed(name)
        work, folder, told = WORKS[name], self.prepare(name), self.folder / "told"
        child = self.start(*work.words(folder), told=told)
        time.sleep(share * seconds)
        os.kill(child, number)
        code = _wait(child)
        complaint = (
            _complaint(code, told.read_text(), "Error: interrupted") if code != -signal.SIGKILL else ""
        )
        if complaint:
            return f"{name}: {number.name}: {complaint}"
        if code == 0 and number == signal.SIGINT and work.result(folder) != right:
            return f"{name}: exit 0, and another result"
        again = (work.resumed(folder) or work.words(folder)) if code else []
        if any((folder / name).exists() for name in FILES):  # it had come to its end
            again = [*again, "--overwrite"] if again else []
        if again:
            code, text = self.run(*again)
            if code:
                return f"{name}: {number.name}: {' '.join(map(str, again))}: exit {code}: {text[-400:]}"
        left = [str(path.relative_to(folder)) for path in folder.rglob(".*.tmp")] if again else []
        if left:
            return f"{name}: {number.name}: left behind: {left}"
        return "fine" if work.result(folder) == right else f"{name}: {number.name}: another result"

    def both(self, first: str, second: str, pause: float) -> str:
        """Two commands at once: each does its work or says in a line why not, and what is there is whole."""
        rights = [self.undisturbed(name)[1] for name in (first, second)]
        prepared = max((first, second), key=lambda name: len(WORKS[name].prepared))
        folder = self.prepare(prepared)
        told = [self.folder / f"told{n}" for n in (0, 1)]
        children = []
        for name, path in zip((first, second), told, strict=True):
            children.append(self.start(*WORKS[name].words(folder), told=path))
            time.sleep(pause)
        codes = [_wait(child) for child in children]
        for name, code, path in zip((first, second), codes, told, strict=True):
            if complaint := _complaint(code, path.read_text(), "Error: "):
                return f"{first} and {second}: {name}: {complaint}"
        if all("is writing to it" in path.read_text() for path in told):
            return f"{first} and {second}: each waits for the other"
        if list(folder.rglob(".*.tmp")):
            return f"{first} and {second}: left behind {list(folder.rglob('.*.tmp'))}"
        if (folder / "run" / "run.json").exists():
            whole = _whole_run(folder / "run")
        else:
            whole = WORKS[first].result(folder) in rights
        return ("line" if any(codes) else "fine") if whole else f"{first} and {second}: a mixture"


def _import_everything() -> None:
    import matplotlib.pyplot
    import odd  # noqa: F401
    from click.testing import CliRunner

    import lfo.acting.rounds
    import lfo.algorithms.inverse
    import lfo.cli
    import lfo.cli.demo
    import lfo.runs.export
    import lfo.study.report
    import lfo.study.scheduler
    import lfo.tabular.learners
    import lfo.training.loop

    lfo.training.loop.CHECKPOINT_SECONDS = 0.1
    tiny = {"transitions": 300, "seeds": 1, "hidden": 4, "steps": 40, "settings": (), "rounds": 1}
    few = {"interactions": 20, "grad_steps": 5, "episodes": 1, "env": "Odd-v0"}
    lfo.cli.demo.DEMO = replace(lfo.cli.demo.DEMO, **tiny, **few)
    lfo.algorithms.inverse.InverseConfig = partial(  # for eval's first round
        lfo.algorithms.inverse.InverseConfig, interactions=20, grad_steps=5, episodes=1, hidden=4
    )
    for name in lfo.cli.COMMANDS:
        CliRunner().invoke(lfo.cli.cli, [name, "--help"])
    matplotlib.pyplot.figure()
    from lfo.tabular.experiments import Task, run_trial

    for curve in (0, 1):  # compiles it
        run_trial(Task("cliff", curve, 0, 2, 0))


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _complaint(code: int, text: str, begins: str) -> str:
    """What is wrong with how a command ended, if anything is."""
    lines = [
        line for line in text.splitlines() if line and not line.startswith(QUIET) and not PROGRESS.match(line)
    ]
    if code == 0 and not lines:
        return ""
    if code == 1 and len(lines) == 1 and lines[0].startswith(begins) and "unexpected" not in lines[0]:
        return ""
    return f"exit {code}: {text[-400:]}"


def _whole_run(path: Path) -> bool:
    """Whether checkpoint, record, scores and interactions of a run fit each other."""
    from lfo.runs.folder import RunFolder
    from lfo.runs.loading import load_agent

    run = RunFolder(path)
    load_agent(run)
    rounds = int(run.load_checkpoint().get("inverse", {}).get("rounds_done", 0))
    rows = run.rows("evaluations.csv")
    found = run.interactions(rounds)["actions"].shape[1] if rounds else 0
    return sorted({int(row["round"]) for row in rows}) == list(range(1, rounds + 1)) and (
        run.interactions_spent() == found
    )


def _weights(folder: Path) -> object:
    from shell import tensors

    run = folder / "run"
    named = {name: tensor.numpy().tobytes() for name, tensor in tensors(run).items()}
    return named, [
        (run / name).read_bytes() for name in ("metrics.csv", "evaluations.csv") if (run / name).exists()
    ]


def _files(*names: str) -> Callable[[Path], object]:
    return lambda folder: [
        (folder / name).read_bytes() if (folder / name).exists() else None for name in names
    ]


def _begun(name: str) -> Callable[[Path], bool]:
    return lambda folder: (folder / name).is_file()


def _interacting(folder: Path) -> bool:
    return "interact" in json.loads((folder / "run" / "run.json").read_text())


def _continued(begun: Callable[[Path], bool], words: Callable[[Path], Words]) -> Callable[[Path], Words]:
    return lambda folder: words(folder) if begun(folder) else []


FILES = ("d.h5", "p.safetensors")
SMALL = ("--hidden", "4", "--set", "batch_size=8")
ROUNDS = ("--rounds", "4", "--interactions", "30", "--grad-steps", "20", "--episodes", "2", "--hidden", "4")
TRAIN = ("--steps", "200", "--seeds", "0-1", "--device", "cpu", *SMALL)
GRID = ("--trials", "2", "--episodes", "300", "--jobs", "1")
STUDY: dict[str, Any] = {
    "--envs": "InvertedPendulum-v5", "--random-frac": 1, "--algos": "bco", "--seeds": 0, "--transitions": 300,
    "--datasets": 1, "--steps": 10, "--rounds": 2, "--interactions": 20, "--grad-steps": 5, "--final-episodes": 1,
    "--episodes-per-round": 1, "--hidden": 4, "--jobs": 1,
}  # fmt: skip
RECIPE = ("--set", "state=['x', 'v']", "--set", "reward='next_x - x'")

WORKS: dict[str, Work] = {
    "collect": Work(
        lambda f: ["collect", "Odd-v0", "--policy", "random", "--steps", 4000, "-o", f / "d.h5"], _files("d.h5")
    ),
    "convert": Work(lambda f: ["convert", f.parent / "log.csv", *RECIPE, "-o", f / "d.h5"], _files("d.h5")),
    "gridworld dataset": Work(
        lambda f: ["gridworld", "dataset", "--steps", 3000, "-o", f / "d.h5"], _files("d.h5")
    ),
    "train": Work(
        lambda f: ["train", f.parent / "data.h5", "-o", f / "run", *TRAIN],
        _weights,
        _continued(_begun("run/run.json"), lambda f: ["train", "-o", f / "run", "--resume", "--device", "cpu"]),
    ),
    "interact": Work(
        lambda f: ["interact", f / "run", *ROUNDS],
        _weights,
        _continued(_interacting, lambda f: ["interact", f / "run", "--resume"]),
        "trained",
    ),
    "eval": Work(lambda f: ["eval", f / "run", "--episodes", 1], _weights, prepared="trained"),
    "export": Work(
        lambda f: ["export", f / "run", "-o", f / "p.safetensors"], _files("p.safetensors"), prepared="interacted"
    ),
    "compare": Work(
        lambda f: ["compare", f / "run", "-o", f / "report"],
        _files("report/report.md", "report/report.csv"),
        lambda f: ["compare", f / "run", "-o", f / "report", "--overwrite"],
        "interacted",
    ),
    "gridworld": Work(
        lambda f: ["gridworld", "cliff", *GRID, "-o", f / "grid"],
        _files("grid/results.json", "grid/findings.md"),
        _continued(_begun("grid/run.json"), lambda f: ["gridworld", "cliff", *GRID, "-o", f / "grid", "--resume"]),
    ),
    "demo": Work(
        lambda f: ["demo", "-o", f / "demo"],
        _files("demo/report.csv", "demo/data.h5"),
        lambda f: ["demo", "-o", f / "demo", "--overwrite"],
    ),
    "study": Work(
        lambda f: ["study", "table1", "-o", f / "study", *itertools.chain(*STUDY.items())],
        _files("study/results.csv"),
        _continued(_begun("study/study.toml"), lambda f: ["study", f / "study"]),
    ),
    "train --overwrite": Work(
        lambda f: ["train", f.parent / "data.h5", "-o", f / "run", "--overwrite", *TRAIN], _weights, prepared="trained"
    ),
    "train --resume": Work(
        lambda f: ["train", "-o", f / "run", "--resume", "--steps", 200], _weights, prepared="trained"
    ),
    "interact --overwrite": Work(
        lambda f: ["interact", f / "run", "--overwrite", *ROUNDS], _weights, prepared="interacted"
    ),
    "interact --resume": Work(
        lambda f: ["interact", f / "run", "--resume", "--rounds", 6], _weights, prepared="interacted"
    ),
}  # fmt: skip
SIGNALLED = (
    "collect",
    "convert",
    "gridworld dataset",
    "train",
    "interact",
    "eval",
    "export",
    "compare",
    "gridworld",
    "demo",
)
"""Commands that are ended by signals, each as often; ``study``, which starts interpreters, every 20th time."""
RUNS = (
    "train --overwrite",
    "train --resume",
    "interact",
    "interact --overwrite",
    "interact --resume",
    "eval",
)
TOGETHER = [
    *itertools.combinations_with_replacement(RUNS, 2),
    *itertools.combinations_with_replacement(("collect", "convert", "gridworld dataset"), 2),
    *((name, name) for name in ("train", "export", "compare", "gridworld", "demo", "study")),
]
"""Commands that write to the same place."""
