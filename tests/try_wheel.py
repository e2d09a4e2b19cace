"""What a user gets: builds the wheel, installs it in an empty environment, and does there what the README says.

python tests/try_wheel.py    # or `make wheel-test`; some minutes; any Python from 3.10 on, nothing else is needed

The README's three commands and its Python are run at a small size, in a folder outside the clone, without extras.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("lfo", "datasets", "cli", "pyproject.toml", "setup.py", "README.md", "LICENSE")
COLLECT = "d3g-lfo collect InvertedPendulum-v5 --policy random --steps 600 -o mine.h5"
FEWER = {
    "train": "--hidden 8 --steps 40 --device cpu",
    "interact": "--rounds 1 --interactions 30 --grad-steps 20 --episodes 1 --device cpu",
    "eval": "--episodes 1",
}
"""Options that make a command small."""
SMALLER = {
    "range(5)": "range(1)",
    "steps=50_000": "steps=4, hidden=8",
    "rounds=5, interactions=1000": "rounds=1, interactions=20, grad_steps=4",
    "episodes=10": "episodes=1",
}
"""Python at a small size."""


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def python_blocks() -> list[str]:
    """The README's Python, at a small size."""
    blocks = re.findall(r"```python\n(.*?)```", readme(), re.DOTALL)
    for old, new in SMALLER.items():
        assert sum(block.count(old) for block in blocks) == 1, (
            f"README.md: expected {old!r} once in its Python"
        )
        blocks = [block.replace(old, new) for block in blocks]
    return blocks


def commands() -> Iterator[str]:
    """The README's three commands and the first that measures, at a small size; `--video` needs an extra."""
    block = re.search(r"```sh\n(d3g-lfo inspect.*?)```", readme(), re.DOTALL)
    assert block, "README.md: expected a block of commands that begins with inspect"
    for line in block[1].splitlines()[:4]:
        name = line.split()[1]
        line = line.replace("MyEnv-v0", "InvertedPendulum-v5").partition(" #")[0].partition(" --video")[0]
        yield f"{line.strip()} {FEWER.get(name, '')}"


def main() -> None:
    """Build, install, run; the first step that fails ends it."""
    with tempfile.TemporaryDirectory(prefix="d3g-lfo-") as name:
        folder = Path(name)
        source, work = folder / "source", folder / "work"
        for path in (source, work):
            path.mkdir()
        for part in SOURCES:
            (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, source / part)
        venv.create(folder / "venv", with_pip=True)
        scripts = folder / "venv" / "bin"
        python, pip = str(scripts / "python"), [str(scripts / "python"), "-m", "pip", "--quiet"]
        run([*pip, "wheel", "--no-deps", "-w", folder, source], work)
        run([*pip, "install", "-c", ROOT / "constraints.txt", next(folder.glob("*.whl"))], work)
        for line in (COLLECT, *commands()):
            run([str(scripts / "d3g-lfo"), *shlex.split(line)[1:]], work)
        for block in python_blocks():
            run([python, "-c", block], work)
        run(
            [python, "-c", "import lfo, torch, sys; print(lfo.__file__, torch.__version__, sys.version)"],
            work,
        )


def run(words: list[object], folder: Path) -> None:
    """One command, without the caller's settings of Python."""
    shown = shlex.join(map(str, words))
    print("$", shown if len(shown) < 200 else f"{shown[:200]} …", flush=True)
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run([str(word) for word in words], cwd=folder, env=env, check=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed with exit code {error.returncode}")
