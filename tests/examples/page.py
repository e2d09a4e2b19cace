"""Every command of examples/pendulum/README.md from nothing, in a copy of the folder, with the seconds of each.

python tests/examples/page.py FOLDER-OF-CSV-FILES    # about twenty minutes; d3g-lfo has to be on the PATH

The test beside it runs the same commands at a small size.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "pendulum"


def commands() -> tuple[list[str], dict[str, str]]:
    """The page's lines after ``$``, in order, without the ``cd`` into the folder; and its variables apart."""
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    lines = [line for line in re.findall(r"^    \$ (.+)$", page, re.MULTILINE) if not line.startswith("cd ")]
    variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]+=", line))
    return [line for line in dict.fromkeys(lines) if line.split("=")[0] not in variables], variables


def copy(folder: Path, recordings: Path) -> None:
    """What a reader has: the example's sources, and the recordings in the place that the page names."""
    for path in EXAMPLE.iterdir():
        if path.suffix in (".py", ".toml"):
            shutil.copy(path, folder)
    (folder / "recordings").mkdir()
    for path in recordings.glob("*.csv"):
        shutil.copy(path, folder / "recordings")


def main() -> None:
    """Run them; the first that fails ends it."""
    lines, variables = commands()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pendulum-") as folder:
        copy(Path(folder), Path(sys.argv[1]))
        for line in lines:
            print("$", line, flush=True)
            since = time.monotonic()
            subprocess.run(["bash", "-c", line], cwd=folder, env={**os.environ, **variables}, check=True)
            print(f"# {time.monotonic() - since:.0f} s", flush=True)
    print(f"# {len(lines)} commands in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed with exit code {error.returncode}")
