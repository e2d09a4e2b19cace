"""How long a study of many cells takes to read, and to show where it stands.

    python benchmarks/study_status.py            # 10,000 cells: 100 data sets × 100 variants, half of them done

Writes the folder of such a study into a temporary one; nothing is trained.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lfo.study.spec import DataSet, Study, cells, load_study, to_toml
from lfo.study.status import Status, overview, write_status


def make(folder: Path, side: int) -> None:
    """Write ``side`` × ``side`` cells."""
    data = {f"data-{n}": DataSet("Pendulum-v1", policy="random", random_frac=1.0) for n in range(side)}
    variants = {f"variant-{n}": {"algo": "d3g", "cycle_weight": n / side} for n in range(side)}
    study = Study(algos=tuple(variants), data=data, variants=variants)
    (folder / "study.toml").write_text(to_toml(study, folder), encoding="utf-8")
    for n, cell in enumerate(cells(study)):
        write_status(folder, cell, Status("done", 100, 100, 5.0) if n % 2 else Status("waiting", 0, 100))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=100, help="data sets, and variants")
    side = parser.parse_args(arguments).side
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, side)
        for what, do in (
            ("load_study and cells", lambda: cells(load_study(folder / "study.toml"))),
            ("overview", lambda: overview(folder)),
            ("d3g-lfo study DIR --status", lambda: _status(folder)),
        ):
            started = time.perf_counter()
            do()
            print(f"{what}: {time.perf_counter() - started:.2f} s for {side * side:,} cells")


def _status(folder: Path) -> None:
    command = [sys.executable, "-m", "lfo", "study", str(folder), "--status"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
