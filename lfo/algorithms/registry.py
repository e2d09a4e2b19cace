"""The algorithms, by the name that ``--algo`` takes.

A new algorithm is one file and one line. The file holds a class that follows
:class:`~lfo.algorithms.protocol.Agent`, its config, and a ``SPEC``; the line is an entry of :data:`MODULES`. A package
of your own needs no change here: it names its module in the entry-point group ``d3g_lfo.algorithms``.

Everything that the trainer, the command line, studies and reports know of an algorithm is in its :class:`Spec`. Asking
for names imports nothing; asking for a spec imports that algorithm.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from lfo.errors import LfoError

__all__ = [
    "DEFAULT",
    "ENTRY_POINTS",
    "MODULES",
    "ONLINE",
    "Spec",
    "forget_plugins",
    "known",
    "names",
    "online_names",
    "spec",
]


MODULES: dict[str, str] = {
    "d3g": "lfo.algorithms.d3g",
    "bco": "lfo.algorithms.bco",
    "qsi": "lfo.algorithms.qsi",
}
"""Name to the module that holds its ``SPEC``; the order is that of tables and plots."""
ONLINE: dict[str, str] = {
    "d3g-online": "lfo.algorithms.d3g_online",
}
"""The same for those that learn with actions while they act, which ``d3g-lfo online`` takes."""
DEFAULT = "d3g"
ENTRY_POINTS = "d3g_lfo.algorithms"


@dataclass(frozen=True)
class Spec:
    """What the rest of the toolkit needs to know of an algorithm."""

    cls: type[Any]
    """The class, see :class:`~lfo.algorithms.protocol.Agent`."""
    config: type[Any]
    """Its frozen config dataclass; ``config()`` is the default, ``config.paper()`` the published algorithm."""
    label: str
    """What tables and plots call it."""
    colours: tuple[str, ...]
    """Colours of its lines: the first for one run, the others for further runs."""
    marker: str
    """Matplotlib's marker of its lines, which tells algorithms apart without colour."""
    precisions: tuple[str, ...] = ("fp32",)
    """What ``--precision`` may be."""
    step_cost: float = 5.0
    """Cost of one gradient step, in hundredths of a second on one core; for estimates of the time left."""
    act_cost: float = 0.1
    """Cost of one environment step of ten members with its policy, in the same unit."""
    portrait: bool = False
    """Whether it has a value Q(s, s') and an aim τ(s) that a portrait can show."""

    @property
    def name(self) -> str:
        """The name that ``--algo`` takes."""
        return str(self.cls.name)

    @property
    def learns_online(self) -> bool:
        """Whether ``online`` trains it, with actions."""
        return bool(self.cls.learns_online)

    @property
    def learns_offline(self) -> bool:
        """Whether ``train`` does its gradient steps; else each round of the inverse stage does."""
        return bool(self.cls.learns_offline)


def names() -> tuple[str, ...]:
    """Every registered algorithm that learns from data without actions, those of installed packages last."""
    return (*MODULES, *(name for name in _plugins() if name not in MODULES))


def online_names() -> tuple[str, ...]:
    """Every registered algorithm that learns with actions while it acts."""
    return tuple(ONLINE)


def known() -> tuple[str, ...]:
    """Every registered algorithm."""
    return (*names(), *online_names())


def spec(name: str) -> Spec:
    """The spec of an algorithm; imports its module.

    Raises:
        LfoError: no algorithm has that name.
    """
    module = MODULES.get(name) or ONLINE.get(name) or _plugins().get(name)
    if module is None:
        close = difflib.get_close_matches(name, known(), n=1)
        hint = f"did you mean {close[0]}?" if close else "pass one of these"
        raise LfoError(f"algo: expected one of {', '.join(known())}, found {name!r}; {hint}")
    found: Spec = importlib.import_module(module).SPEC
    return found


def forget_plugins() -> None:
    """Look for installed packages again, for example after installing one."""
    _plugins.cache_clear()


@cache
def _plugins() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
