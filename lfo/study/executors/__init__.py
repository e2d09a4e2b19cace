"""Where the tasks of a study run: in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lfo.errors import LfoError
from lfo.study.executors.protocol import Executor, Note, Resources


def executor_class(name: str) -> Callable[[Path, Resources, Note], Executor]:
    """What makes an executor of a study's folder.

    Args:
        name: ``local`` or ``ray``.

    Raises:
        LfoError: an unknown name, or Ray is not installed.
    """
    if name == "local":
        from lfo.study.executors.local import Local

        return Local
    if name == "ray":
        from lfo.study.executors.ray import Ray

        return Ray
    raise LfoError(f"executor: expected local or ray, found {name!r}")
