"""Commands to a process of clients: lines on its standard input, whose end ends the work."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

__all__ = ["listen"]


def listen(obey: Callable[[str, list[str]], None], stop: asyncio.Event) -> None:
    """Read standard input on the running loop from now on.

    Args:
        obey: Called with every line's verb and the words after it.
        stop: Set by the end of the input.
    """
    loop = asyncio.get_running_loop()
    rest = b""

    def read() -> None:
        nonlocal rest
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            loop.remove_reader(sys.stdin.fileno())
            stop.set()
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            verb, *words = line.decode().split()
            obey(verb, words)

    loop.add_reader(sys.stdin.fileno(), read)
