"""The command line, ``d3g-lfo``: one module a command, imported when it is called.

A command module ``lfo.cli.NAME`` holds a click command named ``command``. It parses, calls the library and
prints: results to stdout, progress and notes to stderr. Errors become text here and nowhere else: each is one line
and exit code 1, wrong usage exits 2. An error that nobody foresaw asks for a report.
"""

from __future__ import annotations

import importlib
import io
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from lfo.errors import LfoError

# Name -> the line that `d3g-lfo --help` shows; kept here so that help imports no command.
COMMANDS: dict[str, str] = {
    "convert": "Turn logs, such as CSV files, into a data set without actions, by a recipe.",
    "collect": "Record a policy, with a fraction of random actions, into a data set without actions.",
    "inspect": "Show what is in a data set: episodes, returns, flags, ranges, warnings.",
    "train": "Learn offline, without actions, which next state to aim for.",
    "interact": "Learn in the environment which action leads there: the inverse dynamics I(s,s').",
    "online": "Learn with actions, in the simulator: the paper's D3G with f(s,a), online.",
    "eval": "Measure a trained policy: returns over episodes and seeds.",
    "compare": "Put runs side by side: a table and a plot of return against interactions.",
    "score": "Say of every transition of a data set how good a trained run finds it.",
    "export": "Write a trained policy to a file: ONNX, torch or safetensors.",
    "demo": "Do all of it on InvertedPendulum with random data, in a few minutes.",
    "study": "Run a whole table of runs, such as the paper's Table 1, and report it.",
    "gridworld": "Repeat the paper's experiments on a grid, with values in a table.",
    "completion": "Print the shell completion script for bash, zsh or fish.",
}


WITH_TORCH = {"train", "interact", "online", "eval", "score", "export", "demo", "study"}
INTERRUPTED = "interrupted; finished work is saved"
_START = 3 << 28  # bytes of address space without which torch and MuJoCo crash while they are loaded


@contextmanager
def _without_empty_line() -> Iterator[None]:
    """At Ctrl-C, click prints an empty line; it does not see the error that this makes of it."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise LfoError(INTERRUPTED) from error


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command runs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the command line for the record of a run."""
        ctx.meta["lfo.line"] = ["d3g-lfo", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a session uses them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import ``lfo.cli.NAME`` and take its ``command``."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"lfo.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is to be run, if there is memory to load what it needs."""
        found = super().resolve_command(ctx, args)
        if found[0] in WITH_TORCH and not {"-h", "--help"} & set(args):
            from lfo.processes import require_memory

            require_memory(_START, f"{found[0]}: torch and MuJoCo", "raise the limit, see `ulimit -v`")
        return found

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Parse the words before the command's."""
        with _without_empty_line():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _without_empty_line():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="d3g-lfo", prog_name="d3g-lfo")
@click.option("--debug", is_flag=True, help="Show the traceback of an error instead of one line.")
def cli(debug: bool) -> None:
    """From a file of trajectories without actions to a policy that acts.

    \b
    d3g-lfo collect InvertedPendulum-v5 --random-frac 1.0 -o d.h5   # or bring your own file
    d3g-lfo train d.h5 -o run                                       # Q(s,s') and the next state to aim for
    d3g-lfo interact run                                            # which action leads there
    d3g-lfo eval run
    """


def main() -> None:
    """Run the command line and exit with 0 (done), 1 (an error, told in one line) or 2 (wrong usage)."""
    debug = "--debug" in sys.argv[1:]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no ± shows a question mark
    os.environ["MPLBACKEND"] = "agg"  # nothing is drawn on a screen, and matplotlib stops at a wrong name
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            cli.main(prog_name="d3g-lfo", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has ended, as in `| head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        _fail(_in_one_line(error))


def _show_warning(message: Warning | str, *place: object, **more: object) -> None:
    click.echo(f"note: {' '.join(str(message).split())}", err=True)


def _in_one_line(error: Exception) -> str:
    """What went wrong, and what to do."""
    text = " ".join(str(error).split())[:1000] or "no reason given"
    if isinstance(error, LfoError):
        return str(error)
    if _out_of_memory(error):
        text = text.rpartition("Original error was: ")[2]  # numpy writes a page before it
        return f"out of memory: {text}; {_memory_remedy()}"
    if isinstance(error, OSError):
        return (f"{error.filename}: " if error.filename else "") + f"{error.strerror or text}"
    if isinstance(error, ImportError):
        return f"{text}; {_import_remedy(error.name)}"
    return (
        f"unexpected {type(error).__name__}: {text}; this is a fault of d3g-lfo: please report it with what "
        f"`{shlex.join(['d3g-lfo', '--debug', *sys.argv[1:]])[:1000]}` prints"
    )


def _out_of_memory(error: Exception) -> bool:
    """Whether there was not enough memory: Python, numpy, torch and the dynamic loader each say so in their own way."""
    told = f"{type(error).__name__}: {error}"
    signs = ("MemoryError", "OutOfMemory", "not enough memory", "allocate memory", "failed to map segment")
    return any(sign in told for sign in signs)


def _memory_remedy() -> str:
    from lfo.processes import memory_limit

    less = "use fewer seeds, smaller networks or smaller batches"
    limit = memory_limit()
    if limit is None:
        return f"free some memory, or {less}"
    return f"raise the limit of {limit / 2**30:.1f} GiB that this process has (`ulimit -v`), or {less}"


def _import_remedy(module: str | None) -> str:
    package = (module or "lfo").partition(".")[0]
    again = "reinstall d3g-lfo with `pip install .` in its clone"
    return again if package == "lfo" else f"run `pip install {package}`, or {again}"


def _fail(message: str) -> None:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(1)
