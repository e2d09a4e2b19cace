"""Ctrl-C, SIGTERM and SIGHUP, held back until a step is done."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Hold SIGINT, SIGTERM and SIGHUP back, and yield a function that tells whether one was received.

    SIGHUP is left alone where it is ignored, as under nohup.

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
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)  # the terminal was closed
    before = {number: signal.signal(number, hold) for number in numbers}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        raise KeyboardInterrupt
