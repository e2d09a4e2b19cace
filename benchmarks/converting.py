"""Converting logs to a data set: against polars alone, which reads the same Parquet files and writes them again.

python benchmarks/converting.py --rows 10000000            # the size that convert is made for; some minutes
python benchmarks/converting.py --rows 10000000 --files 1  # all of it in one file
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars
from processes import peak
from rows import FULL, Effort, Row, markdown
from timing import interleaved, ratio

from lfo.datasets import from_logs, save

__all__ = ["converting", "measure"]

_COLUMNS = 20  # the time, and 19 that are the state
_FILES = 10
_GB = 10**9
_CONVERT = """
import sys
from pathlib import Path
from converting import convert
convert(Path(sys.argv[1]), "resampled" in sys.argv)
"""


def write_logs(folder: Path, rows: int, files: int) -> None:
    """Recordings of smooth, noisy columns, a row every 8 to 12 ms."""
    rng, count = np.random.default_rng(0), rows // files
    for file in range(files):
        time = np.cumsum(rng.uniform(0.008, 0.012, count))
        columns = {"time": time}
        for k in range(1, _COLUMNS):
            columns[f"x{k}"] = np.sin(0.1 * k * time) + 0.01 * rng.normal(size=count)
        polars.DataFrame(columns).write_parquet(folder / f"{file:03d}.parquet")


def convert(folder: Path, resampled: bool) -> None:
    """What ``d3g-lfo convert`` does: every column but the time is a state."""
    recipe = {
        "state": [f"x{k}" for k in range(1, _COLUMNS)],
        "reward": "-next_x1 ** 2",
        **({"time": "time", "dt": 0.01} if resampled else {}),
    }
    save(from_logs(folder / "*.parquet", recipe), folder / "out.h5", overwrite=True)


def read_and_write(folder: Path) -> None:
    """What polars needs for the same files."""
    for path in sorted(folder.glob("*.parquet")):
        polars.read_parquet(path).write_parquet(path.with_suffix(".again"))


def measure(rows: int, files: int, effort: Effort) -> list[Row]:
    """Time and peak memory, with the rows as they are, and resampled."""
    size = f"{rows:,} × {_COLUMNS} in {files} Parquet file{'s' if files > 1 else ''}"
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_logs(folder, rows, files)
        works = {
            "polars": partial(read_and_write, folder),
            "plain": partial(convert, folder, False),
            "resampled": partial(convert, folder, True),
        }
        seconds = interleaved(works, effort, once=True)
        for what in ("plain", "resampled"):
            words = "" if what == "plain" else ", resampled"
            figures = ratio(seconds, what, "polars")
            found.append(
                Row(f"converting {size}{words}", "polars reading and writing them", **figures, reach=3)
            )
            memory = peak(_CONVERT, str(folder), what) / _GB
            found.append(
                Row(f"peak memory of converting {size}{words}", "memory", *3 * [memory], reach=3, unit="GB")
            )
    return found


def converting(effort: Effort) -> list[Row]:
    """The size of the other benchmarks' data; `python benchmarks/converting.py --rows 10000000` is the full one."""
    return measure(effort.rows, _FILES, replace(effort, rounds=min(effort.rounds, 5)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=FULL.rows)
    parser.add_argument("--files", type=int, default=_FILES)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = measure(options.rows, options.files, replace(FULL, rounds=options.rounds))
    print(markdown(rows), end="")
