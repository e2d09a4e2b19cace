"""A study of 24 cells on a Ray cluster of three nodes to which everything happens: a process of a cell is killed, a node
is lost, the disk of another is full, the driver is killed and started again. Every cell must end with the weights of an
undisturbed local run, none may run to its end twice, and nothing may lie about. Part of ``make soak``.

The full disk needs Linux and root, as a file system is mounted where only one node sees it; it is left out elsewhere.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from ray import cluster_utils
from shell import ancestors, tensors

from lfo.study.spec import Cell, cells, load_study
from lfo.study.status import read_status

TINY = """
envs = ["Reacher-v5", "InvertedPendulum-v5"]
random_frac = [0, 0.2, 0.4, 0.6, 0.8, 1.0]
seeds = [3, 4]
transitions = 300
datasets = 2
steps = 200
rounds = 2
interactions = 30
grad_steps = 20
episodes_per_round = 2
final_episodes = 5
hidden = 8
d3g = { batch_size = 16 }
bco = { batch_size = 16 }
"""
SMALL = {"object_store_memory": 80 << 20}
PATIENCE = 900
D3G_LFO = [sys.executable, "-m", "lfo", "study"]


class Watch:
    """What becomes of the cells of a study."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cells = folder, cells(load_study(folder.parent / "tiny.toml"))
        self.ends: dict[Cell, set[int | None]] = {cell: set() for cell in self.cells}
        """The processes that did a cell to its end."""

    def look(self) -> int:
        """Note what there is, and count the cells that are done."""
        for cell in self.cells:
            status = read_status(self.folder, cell)
            if status.state == "done":
                self.ends[cell].add(status.pid)
        return sum(map(bool, self.ends.values()))

    def until(self, what: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
        """Look until something holds."""
        late = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < late, "it does not come to that"
            assert process is None or process.poll() is None, process.communicate()[1]
            self.look()
            time.sleep(0.02)

    def at_work(self) -> list[int]:
        """The processes of cells in training."""
        found = [read_status(self.folder, cell) for cell in self.cells]
        return [status.pid for status in found if status.state == "training" and status.pid]


def main() -> None:
    """Do it all, and say so."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiny.toml").write_text(TINY)
        whole = subprocess.run(
            [*D3G_LFO, folder / "tiny.toml", "-o", folder / "local"], cwd=folder, check=False
        )
        assert whole.returncode == 0
        told = attack(folder)
        compare(folder)
        left = subprocess.run(
            ["pgrep", "-f", name], capture_output=True, text=True, check=False
        ).stdout.split()
        assert not left, f"processes left: {left}"
    print(f"| a cluster of three nodes, {len(told)} attacks | 24 | 24 | | 0 |")
    print("\n".join(told), file=sys.stderr)


def attack(folder: Path) -> list[str]:
    """Run the study on a cluster, and disturb it. Gives what was done."""
    soon = {"health_check_period_ms": 500, "health_check_initial_delay_ms": 0}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon, **SMALL}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    lost = cluster.add_node(num_cpus=1, **SMALL)
    cluster.add_node(num_cpus=1, **SMALL)
    own = _own_node(cluster.address)
    watch, told = Watch(folder / "ray"), []
    words = [
        *D3G_LFO,
        folder / "tiny.toml",
        "-o",
        folder / "ray",
        "--executor",
        "ray",
        "--address",
        cluster.address,
    ]
    driver = _start(words, folder)
    try:
        watch.until(lambda: watch.look() >= 2 and bool(watch.at_work()), driver)
        os.kill(watch.at_work()[0], signal.SIGKILL)
        told.append("a process killed")
        raylet = lost.all_processes["raylet"][0].process.pid
        watch.until(lambda: any(raylet in ancestors(pid) for pid in watch.at_work()), driver)
        cluster.remove_node(lost, allow_graceful=False)
        cluster.add_node(num_cpus=1, **SMALL)
        told.append("a node removed, and one added")
        watch.until(lambda: watch.look() >= 8, driver)
        if own is not None:
            full = [
                "mount",
                "-t",
                "tmpfs",
                "-o",
                "size=4k,nr_inodes=1",
                "full",
                str(folder / "ray" / "cells"),
            ]
            subprocess.run(["nsenter", "-t", str(own.pid), "-m", *full], check=True)
            told.append("the disk of a node full")
        watch.until(lambda: watch.look() >= 14 and bool(watch.at_work()), driver)
        driver.kill()
        text = driver.communicate()[1]
        again = _start(words, folder)
        told.append("the driver killed and started again")
        watch.until(lambda: again.poll() is not None)
        text += again.communicate()[1]
    finally:
        driver.kill()
        if own is not None:
            own.terminate()
            own.wait()
        cluster.shutdown()
    assert again.returncode == 0, text
    assert "killed by SIGKILL" in text, text
    assert "its worker or its node was lost" in text, text
    assert own is None or "No space left on device" in text, text
    watch.look()
    twice = [cell.name for cell, ends in watch.ends.items() if len(ends) != 1]
    assert not twice, f"not once to the end: {twice}"
    return told


def compare(folder: Path) -> None:
    """Every cell's weights and all results are those of the local run, and nothing lies about."""
    for cell in Watch(folder / "ray").cells:
        one, other = (tensors(folder / name / cell.path) for name in ("local", "ray"))
        assert one.keys() == other.keys()
        assert all((one[key] == other[key]).all() for key in one), cell.name
    assert (folder / "local" / "results.csv").read_bytes() == (folder / "ray" / "results.csv").read_bytes()
    left = [path for path in (folder / "ray").rglob(".*") if not path.name.endswith(".lock")]
    assert not left, left
    assert not list((folder / "ray" / "logs").iterdir())


def _start(words: list[Any], folder: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=folder, stdout=pipe, stderr=pipe, text=True)


def _own_node(address: str) -> subprocess.Popen[bytes] | None:
    """A node that can have a file system of its own; None where that is impossible: an ordinary node then."""
    words = [
        "ray",
        "start",
        "--address",
        address,
        "--num-cpus",
        "1",
        "--block",
        "--object-store-memory",
        str(80 << 20),
    ]
    start = [str(Path(sys.executable).with_name("ray")), *words[1:]]
    alone = ["unshare", "-m"] if shutil.which("unshare") and os.geteuid() == 0 else []
    process = subprocess.Popen([*alone, *start], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return process if alone else None


if __name__ == "__main__":
    main()
