"""What a study's scheduler and executors cost.

python benchmarks/scheduling.py dry         # 10,000 cells whose tasks end at once: time and memory
python benchmarks/scheduling.py overhead    # 40 cells that sleep a second each, two at a time: wall time
python benchmarks/scheduling.py overhead --executor ray --cells 200 --seconds 5
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from lfo.cli.study import _Live
from lfo.study import scheduler
from lfo.study.spec import Cell, Study, cells, load_study, to_toml
from lfo.study.status import overview, read_status

SLEEPER = """
import time, gymnasium, numpy
class Sleeper(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), numpy.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), numpy.float32)
    def __init__(self, seconds=0.0):
        self.seconds = seconds
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:  # as happens three times in a cell
            time.sleep(self.seconds / 3)
        self.steps = 0
        return self.observation_space.sample(), {}
    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), 0.0, False, self.steps == 5, {}
gymnasium.register("Sleeper-v0", Sleeper)
"""


class Instant:
    """Does nothing, at once."""

    def __init__(self, places: int = 64) -> None:
        self.places, self.at_work = places, list[str]()

    def room(self) -> int:
        return self.places - len(self.at_work)

    def start(self, task: str) -> None:
        self.at_work.append(task)

    def ended(self, seconds: float) -> list[tuple[str, str | None]]:
        found, self.at_work = self.at_work, []
        return [(name, None) for name in found]

    def stop(self) -> None: ...


def dry(folder: Path, count: int) -> None:
    """The scheduler alone: nothing is done."""
    fractions = tuple(k / 10_000 for k in range(count // 4))
    envs = ("Reacher-v5", "InvertedPendulum-v5")
    study = Study(envs, fractions, ("bco", "d3g"), datasets=1)
    for name in ("data", "cells", "logs"):
        (folder / name).mkdir()
    (folder / "study.toml").write_text(to_toml(study, folder))
    since = time.perf_counter()
    tasks = scheduler._missing(folder, study)
    found = time.perf_counter()
    live = _Live()
    work = scheduler._Work(folder, study, Instant(), live.show)
    failed = work.do(tasks)
    done = time.perf_counter()
    overview(folder)
    looked = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(cells(study)):,} cells, {len(tasks):,} tasks, {len(failed)} failed: {found - since:.1f} s to find what is "
        f"missing, {done - found:.1f} s to do it, {done - since:.1f} s in all; overview {looked - done:.2f} s; "
        f"{memory:.0f} MB"
    )


def overhead(folder: Path, count: int, seconds: float, jobs: int, executor: str) -> None:
    """Cells that sleep: whatever is longer than sleep / jobs is overhead."""
    (folder / "sleeper.py").write_text(SLEEPER)
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = str(folder)
    tables = "\n".join(f'[variants.v{k}]\nalgo = "bco"\n' for k in range(count))
    (folder / "sleep.toml").write_text(
        f"""algos = {[f"v{k}" for k in range(count)]}
seeds = [0]
transitions = 50
datasets = 1
rounds = 1
interactions = 20
grad_steps = 2
episodes_per_round = 1
final_episodes = 1
hidden = 4
references = ""
[data.sleeper]
env = "sleeper:Sleeper-v0"
env_kwargs = {{ seconds = {seconds} }}
policy = "random"
{tables}"""
    )
    study = load_study(folder / "sleep.toml")
    since, ended = time.perf_counter(), [0.0]

    def told(found: object) -> None:
        ended[0] = time.perf_counter()

    failed = scheduler.run(study, folder / "out", jobs=jobs, executor=executor, on_change=told)
    wall, least = ended[0] - since, count * seconds / jobs
    slept = sum(read_status(folder / "out", Cell("sleeper", name)).seconds for name in study.algos)
    print(
        f"{executor}: {count} cells that sleep {seconds:g} s, {jobs} at a time, {len(failed)} failed: {wall:.1f} s, "
        f"{wall / least:.2f} x {least:.1f} s; in the cells {slept / count:.2f} s each"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["dry", "overhead"])
    parser.add_argument("--cells", type=int)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--executor", default="local")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.what == "dry":
            dry(Path(name), options.cells or 10_000)
        else:
            overhead(Path(name), options.cells or 40, options.seconds, options.jobs, options.executor)


if __name__ == "__main__":
    main()
