"""Ctrl-C and SIGTERM, held back until a step is done."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

__all__ = ["interruptible"]


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Hold SIGINT and SIGTERM back, and yield a function that tells whether one was received.

    A signal that was held is raised as KeyboardInterrupt at the end of the block. A second Ctrl-C is not held back.
    """
    caught: list[int] = []

    def hold(number: int, frame: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    if current_thread() is not main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        raise KeyboardInterrupt
