"""How fast is it? Every figure is a ratio to a floor or a peer that was timed in the same run, in turns with it.

    python benchmarks/bench.py                    # everything, printed as a Markdown table; a quarter of an hour
    python benchmarks/bench.py --write            # and written into docs/performance.md: `make bench`
    python benchmarks/bench.py --only d3g --quick # one subject, fewer rounds: to see whether a change helps
    python benchmarks/bench.py --json             # the rows as JSON
    python benchmarks/bench.py --profile          # where the time of D3G's update goes

A subject runs in a process of its own, with as many threads as it says; never two at once.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rows import FULL, QUICK, TINY, Effort, Row, markdown

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"


@dataclass(frozen=True)
class Subject:
    """A module beside this one, and the function in it that makes the rows."""

    module: str
    function: str
    threads: int = 1

    def run(self, effort: Effort) -> Any:
        function: Callable[[Effort], Any] = getattr(importlib.import_module(self.module), self.function)
        return function(effort)


SUBJECTS = {
    "d3g": Subject("updates", "d3g"),
    "bf16": Subject("updates", "bf16"),
    "imitation": Subject("updates", "imitation"),
    "online": Subject("online", "online"),
    "reading": Subject("reading", "reading"),
    "convert": Subject("converting", "converting"),
    "collect": Subject("acting", "collecting"),
    "evaluation": Subject("acting", "evaluation"),
    "help": Subject("processes", "show_help"),
    "memory": Subject("processes", "memory"),
    "gpu": Subject("gpu", "gpu"),
}
PROFILE = Subject("updates", "profile")
EFFORTS = {"full": FULL, "quick": QUICK, "tiny": TINY}


def measure(name: str, effort: str) -> Any:
    """Run a subject in a process of its own; what it comes to."""
    subject = PROFILE if name == "profile" else SUBJECTS[name]
    threads = {key: str(subject.threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, str(HERE / "bench.py"), "--subject", name, "--effort", effort],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, **threads},
    )
    if done.returncode != 0:
        sys.exit(f"benchmark {name}: exit code {done.returncode}")
    return json.loads(done.stdout)


def subject_process(name: str, effort: str) -> None:
    """What a subject's own process does: measure, and print JSON. Whatever else is printed goes to stderr."""
    out = os.dup(1)
    os.dup2(2, 1)
    found = (PROFILE if name == "profile" else SUBJECTS[name]).run(EFFORTS[effort])
    text = json.dumps(found if name == "profile" else [asdict(row) for row in found])
    with os.fdopen(out, "w") as file:
        file.write(text)


def machine() -> str:
    """What all of it ran on, in one line; no names of machines or folders."""
    import torch

    fields = _cpuinfo()
    features = [
        f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in fields.get("flags", "").split()
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{fields.get('model name', platform.machine())} (family {fields.get('cpu family', '?')}, model "
        f"{fields.get('model', '?')}), {cores} cores, {', '.join(features) or 'no vector extensions known'}; {gpu}; "
        f"Python {platform.python_version()}, PyTorch {torch.__version__}, which uses "
        f"{torch.backends.cpu.get_cpu_capability()}; one thread unless a row says otherwise.\n"
    )


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    pairs = (line.partition(":") for line in path.read_text().splitlines())
    found: dict[str, str] = {}
    for key, _, value in pairs:
        found.setdefault(key.strip(), value.strip())
    return found


def replace_between(text: str, name: str, new: str) -> str:
    """``text`` with what lies between the markers of ``name`` replaced."""
    begin, end = f"<!-- {name}: written by `make bench` -->\n", f"<!-- end of {name} -->"
    head, found, rest = text.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not (found and found_end):
        sys.exit(f"{PAGE.name}: expected the markers {begin.strip()} and {end}; put them back")
    return f"{head}{begin}{new}{end}{tail}"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=SUBJECTS, help="this subject; repeatable")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and less data: noisy")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument(
        "--profile", action="store_true", help="print the profile of D3G's update, nothing else"
    )
    parser.add_argument("--write", action="store_true", help="write everything into docs/performance.md")
    parser.add_argument("--subject", help=argparse.SUPPRESS)
    parser.add_argument("--effort", choices=EFFORTS, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.subject:
        subject_process(options.subject, options.effort)
        return
    if options.write and (options.only or options.quick):
        parser.error("--write takes everything, at full length: no --only, no --quick")
    effort = options.effort or ("quick" if options.quick else "full")
    if options.profile:
        print(measure("profile", effort), end="")
        return
    rows: list[Row] = []
    for name in options.only or SUBJECTS:
        print(f"{name} …", file=sys.stderr)
        rows += [Row(**row) for row in measure(name, effort)]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False))
        return
    table = markdown(rows)
    print(table, end="")
    if options.write:
        text = replace_between(PAGE.read_text(encoding="utf-8"), "machine", machine())
        text = replace_between(text, "table", table)
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
