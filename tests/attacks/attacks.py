"""Attacks on the command line: damaged files, edited run folders, environments that misbehave, signals.

Each try is a function of (attack, seed) and ends in one of these:

- ``fine``: exit code 0, and where a result can be compared, the right one;
- ``line``: exit code 1, and one line on stderr that says what is wrong;
- anything else is told in full.

Run as a program, ``python attacks.py TRIES FOLDER`` makes tries such as ``[["SIGINT", 3], ["SIGKILL", 4]]`` in one
process and prints a line of JSON each; :func:`run` starts that, and starts it again after a try that hangs or crashes.
"""

from __future__ import annotations

import csv
import io
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from signals import SIGNALLED, TOGETHER, Forks  # noqa: E402

HANGS = 400.0
"""Seconds without a result after which a try counts as hanging; a damaged HDF5 file may take 5 of computing."""
SMALL_ROUNDS = (
    "--rounds",
    "2",
    "--interactions",
    "20",
    "--grad-steps",
    "5",
    "--episodes",
    "2",
    "--hidden",
    "4",
)
ODD_VALUES: list[Any] = [
    None, True, -1, 0, 1, 7, 10**9, 10**23, -0.5, 1e308, float("nan"), float("inf"), "", "x", "4", "a:b", "\0", "é|<b>$",
    [], [None], {}, {"a": 1}, [[1, 2]], "9" * 5000,
]  # fmt: skip


class Place:
    """The files that the attacks start from, made once for a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0
        """Of the try."""
        os.environ["OMP_NUM_THREADS"] = "1"
        os.chdir(folder)

    def command(self, *words: object) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of ``d3g-lfo``, run in this process."""
        import warnings

        from shell import d3g

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("default", message=r"environment .*: close: .*; ignored$")
            done = d3g(*words)
        return done.code, done.out, done.err

    def must(self, *words: object) -> str:
        code, out, err = self.command(*words)
        assert code == 0, err
        return out

    def recording(self) -> Path:
        path = self.folder / "d.h5"
        if not path.exists():
            import odd  # noqa: F401  # registers the environments

            self.must("collect", "Odd-v0", "--random-frac", "1", "--steps", "120", "-o", path)
        return path

    @cached_property
    def forks(self) -> Forks:
        """Commands in processes of their own."""
        return Forks(self.folder, self.must)

    def compressed(self, latest: bool) -> bytes:
        """The same data in compressed chunks, with attributes; in the newest version of the format, if ``latest``."""
        import h5py

        path = self.folder / f"compressed-{latest}.h5"
        if not path.exists():
            with (
                h5py.File(self.recording()) as data,
                h5py.File(path, "w", libver="latest" if latest else None) as file,
            ):
                file.attrs.update({"note": "a text", "more": ["several", "texts"], "numbers": [1.0, 2.0]})
                for name in data:
                    shape = (16, *data[name].shape[1:])
                    file.create_dataset(
                        name,
                        data=data[name][()],
                        chunks=shape,
                        compression="gzip",
                        shuffle=True,
                        fletcher32=True,
                    )
        return path.read_bytes()

    def run(self) -> Path:
        path = self.folder / "run"
        if not path.exists():
            data = self.recording()
            small = ("--hidden", "4", "--set", "batch_size=8")
            self.must("train", data, "-o", path, "--steps", "10", "--seeds", "0-1", *small)
            self.must("interact", path, *SMALL_ROUNDS)
        return path

    def copy(self) -> Path:
        path = self.folder / "copy"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.run(), path)
        return path

    def judge(self, *words: object, right: str | None = None) -> str:
        """What came of a command."""
        try:
            code, out, err = self.command(*words)
        except BaseException as error:
            return f"{words[0]}: {type(error).__name__}: {error}"
        lines = [line for line in err.splitlines() if not line.startswith(("note: ", "round "))]
        if code == 0 and not lines:
            return "fine" if right in (None, out) else f"{words[0]}: another result: {out[-200:]}"
        if code == 1 and len(lines) == 1 and lines[0].startswith("Error: ") and "unexpected" not in lines[0]:
            return "line"
        return f"{words[0]}: exit {code}: {err[-400:]}"


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Bytes with one to eight of them changed; or cut, or with a piece copied elsewhere."""
    changed, kind = bytearray(data), rng.random()
    if kind < 0.1:
        return bytes(changed[: rng.randrange(len(changed))])
    if kind < 0.2:
        start, size, to = rng.randrange(len(changed)), rng.randrange(1, 200), rng.randrange(len(changed))
        piece = changed[start : start + size]
        changed[to : to + len(piece)] = piece
        return bytes(changed)
    for _ in range(rng.randrange(1, 9)):
        changed[rng.randrange(len(changed))] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(changed)


def hdf5(place: Place, rng: random.Random) -> str:
    """A data set with changed bytes, most of them in its structure: this project's layout, or a compressed one."""
    data = place.recording().read_bytes() if rng.random() < 0.6 else place.compressed(rng.random() < 0.5)
    path = place.folder / "mutated.h5"
    path.write_bytes(mutate(data, rng) if rng.random() < 0.5 else mutate(data[:2500], rng) + data[2500:])
    return place.judge("inspect", path)


def npz(place: Place, rng: random.Random) -> str:
    """An npz whose arrays' headers are changed, with the right checksums; or any of its bytes."""
    import h5py

    with h5py.File(place.recording()) as file:
        columns = {name: file[name][()] for name in file}
    path = place.folder / "mutated.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in columns.items():
            held = io.BytesIO()
            np.save(held, array)
            content = held.getvalue()
            if rng.random() < 0.2:
                content = mutate(content[:128], rng) + content[128:]
            archive.writestr(f"{name}.npy", content)
    if rng.random() < 0.2:
        path.write_bytes(mutate(path.read_bytes(), rng))
    return place.judge("inspect", path)


def record(place: Place, rng: random.Random) -> str:
    """A value of run.json or of a CSV file is replaced or removed."""
    run = place.copy()
    if rng.random() < 0.6:
        path = run / "run.json"
        info = json.loads(path.read_text())
        at: Any = info
        while True:
            key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
            if not (isinstance(at[key], dict | list) and at[key]) or rng.random() < 0.25:
                break
            at = at[key]
        if rng.random() < 0.3:
            del at[key]
        else:
            at[key] = rng.choice(ODD_VALUES)
        path.write_text(json.dumps(info))
    else:
        path = run / rng.choice(("evaluations.csv", "metrics.csv"))
        rows = list(csv.reader(path.read_text().splitlines()))
        row = rng.choice(rows)
        if rng.random() < 0.2:
            row.pop()
        else:
            row[rng.randrange(len(row))] = str(rng.choice([*ODD_VALUES, 999999999, "1.5"]))
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        path.write_bytes(
            text.getvalue().encode() if rng.random() < 0.9 else mutate(text.getvalue().encode(), rng)
        )
    return place.judge(*_read(run, rng))


def _read(run: Path, rng: random.Random) -> tuple[object, ...]:
    commands: list[tuple[object, ...]] = [
        ("compare", run),
        ("compare", run, "-o", run.parent / "report", "--overwrite"),
        ("eval", run, "--episodes", "1", "--json"),
        ("interact", run, "--resume", "--rounds", "3"),
        ("train", "-o", run, "--resume"),
    ]
    return rng.choice(commands)


def rounds(place: Place, rng: random.Random) -> str:
    """The interactions of a round with changed bytes."""
    run = place.copy()
    path = run / "interactions" / rng.choice(("round-0001.h5", "round-0002.h5"))
    path.write_bytes(mutate(path.read_bytes(), rng))
    return place.judge("interact", run, "--resume", "--rounds", "3")


def checkpoint(place: Place, rng: random.Random) -> str:
    """A checkpoint with changed bytes: refused, or the same result."""
    words = ("--episodes", "1", "--json")
    right = place.must("eval", place.run(), *words)
    run = place.copy()
    path = run / "checkpoint.pt"
    path.write_bytes(mutate(path.read_bytes(), rng))
    return place.judge("eval", run, *words, right=right)


def environment(place: Place, rng: random.Random) -> str:
    """An environment that misbehaves in one of its calls."""
    import gymnasium
    import odd  # noqa: F401

    names = sorted(name for name in gymnasium.registry if name.startswith("Odd-") and "hangs" not in name)
    collects, number = divmod(place.number, len(names))
    env = names[number * 7 % len(names)]  # neighbours in the list are alike
    if collects % 2:
        words: tuple[object, ...] = ("--policy", "random", "--steps", "60", "--jobs", "1", "--overwrite")
        return place.judge("collect", env, "-o", place.folder / "odd.h5", *words)
    run = place.copy()
    return place.judge("interact", run, "--env", env, "--overwrite", *SMALL_ROUNDS)


def sigkill(place: Place, rng: random.Random) -> str:
    """A command that writes is killed at a random moment, then continued: bit for bit the undisturbed result."""
    return _ended(place, rng, signal.SIGKILL)


def sigint(place: Place, rng: random.Random) -> str:
    """The same by Ctrl-C, which is told in one line."""
    return _ended(place, rng, signal.SIGINT)


def _ended(place: Place, rng: random.Random, number: signal.Signals) -> str:
    name = SIGNALLED[place.number % len(SIGNALLED)] if place.number % 20 != 19 else "study"
    return place.forks.ended(name, number, rng.random())


def two(place: Place, rng: random.Random) -> str:
    """Two commands that write to the same place at once."""
    return place.forks.both(*TOGETHER[place.number % len(TOGETHER)], pause=rng.choice((0, 0.05, 0.3)))


ATTACKS: dict[str, tuple[Callable[[Place, random.Random], str], int, int]] = {
    "data sets, HDF5": (hdf5, 150, 5_600),
    "data sets, npz": (npz, 150, 4_000),
    "run.json and CSV": (record, 80, 1_000),
    "interactions": (rounds, 30, 300),
    "checkpoints": (checkpoint, 40, 400),
    "environments": (environment, 60, 300),
    "SIGKILL": (sigkill, 0, 100),
    "SIGINT": (sigint, 0, 100),
    "two at once": (two, 0, 99),
}
"""What is attacked: the function, its tries in ``make test``, and those in ``make soak``."""


Try = tuple[str, int]
"""An attack and a number."""


def run(tries: Sequence[Try]) -> Iterator[tuple[Try, str]]:
    """Make tries, and give what came of each."""
    left = list(tries)
    while left:
        for one, verdict in _tries(left):
            left.remove(one)
            yield one, verdict


def _tries(tries: Sequence[Try]) -> Iterator[tuple[Try, str]]:
    """The tries of one process; the one at which it hangs or ends early is the last."""
    words = [sys.executable, "-X", "faulthandler", str(Path(__file__)), json.dumps(tries)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([*words, folder], stdout=PIPE, stderr=PIPE, text=True, cwd=folder) as process,
    ):
        assert process.stdout is not None
        lines: queue.Queue[str] = queue.Queue()

        def read() -> None:
            for line in process.stdout or ():
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()
        errors: list[str] = []
        threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True).start()
        for one in list(tries):
            try:
                line = lines.get(timeout=HANGS)
            except queue.Empty:
                process.kill()
                yield one, "hangs"
                return
            if not line:
                process.wait()
                yield one, f"crashed: exit {process.returncode}: {' '.join(errors)[-400:]}"
                return
            yield one, json.loads(line)


def main() -> None:
    """Some tries in this process."""
    place = Place(Path(sys.argv[2]))
    told = os.fdopen(os.dup(1), "w")
    for name, seed in json.loads(sys.argv[1]):
        place.number = seed
        verdict = ATTACKS[name][0](place, random.Random(f"{name} {seed}"))
        told.write(json.dumps(verdict) + "\n")
        told.flush()


if __name__ == "__main__":
    main()
