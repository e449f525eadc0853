"""Arm the named steps of commit and recovery: kill, stop, raise, call or record there.

A step is named exactly (``prepare:orders.after``) or by a pattern (``prepare:*``, as `fnmatch`
has it).  Every function here is a context manager; several may be active at once, and each counts
for itself.  Kills and stops are meant for a forked child or a subprocess.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase

from paxcommit import failpoints
from paxcommit.errors import ConfigurationError

__all__ = [
    "VARIABLE",
    "FailpointReached",
    "arm_from_environment",
    "armed",
    "call_at",
    "kill_at",
    "raise_at",
    "record",
    "stop_at",
]

VARIABLE = "PAXCOMMIT_FAILPOINT"
"""The environment variable that `arm_from_environment` reads."""

_lock = threading.Lock()
_hooks: list[failpoints.Hook] = []


class FailpointReached(Exception):
    """What a step armed with ``raise`` in the environment raises."""


def _dispatch(name: str) -> None:
    for hook in tuple(_hooks):
        hook(name)


def _add(hook: failpoints.Hook) -> None:
    with _lock:
        _hooks.append(hook)
        failpoints.arm(_dispatch)


def _remove(hook: failpoints.Hook) -> None:
    with _lock:
        _hooks.remove(hook)
        if not _hooks:
            failpoints.disarm()


@contextmanager
def armed(hook: failpoints.Hook) -> Iterator[None]:
    """Call `hook` with the name of every step, beside whatever else is armed."""
    _add(hook)
    try:
        yield
    finally:
        _remove(hook)


def _nth(
    pattern: str, nth: int, act: Callable[[str], None], *, signals: bool = False
) -> failpoints.Hook:
    """Return a hook that acts once, at the `nth` step that matches."""
    if nth < 1:
        raise ConfigurationError(f"failpoint {pattern!r}: the first time is 1, not {nth}")
    seen = 0
    counting = threading.Lock()

    def hook(name: str) -> None:
        nonlocal seen
        if not fnmatchcase(name, pattern):
            return
        with counting:
            seen += 1
            due = seen == nth
            if due and signals:  # or another thread would pass the step before the signal comes
                act(name)
        if due and not signals:
            act(name)

    return hook


def _signal_self(which: signal.Signals) -> Callable[[str], None]:
    return lambda _name: os.kill(os.getpid(), which)


def kill_at(name: str, nth: int = 1) -> AbstractContextManager[None]:
    """SIGKILL this process when step `name` is reached for the `nth` time."""
    return armed(_nth(name, nth, _signal_self(signal.SIGKILL), signals=True))


def stop_at(name: str, nth: int = 1) -> AbstractContextManager[None]:
    """SIGSTOP this process when step `name` is reached for the `nth` time (trap 30).

    Its parent sees it with ``os.waitpid(pid, os.WUNTRACED)`` and wakes it with SIGCONT.
    """
    return armed(_nth(name, nth, _signal_self(signal.SIGSTOP), signals=True))


def raise_at(
    name: str, error: BaseException | type[BaseException], nth: int = 1
) -> AbstractContextManager[None]:
    """Raise `error` out of step `name` when it is reached for the `nth` time."""

    def act(_name: str) -> None:
        raise error

    return armed(_nth(name, nth, act))


def call_at(
    name: str, function: Callable[[], object], nth: int = 1
) -> AbstractContextManager[None]:
    """Call `function` inside step `name`, on the thread that reaches it for the `nth` time."""

    def act(_name: str) -> None:
        function()

    return armed(_nth(name, nth, act))


@contextmanager
def record(pattern: str = "*") -> Iterator[list[str]]:
    """Give the list to which every step that matches `pattern` is appended as it is reached."""
    reached: list[str] = []

    def hook(name: str) -> None:
        if fnmatchcase(name, pattern):
            reached.append(name)

    with armed(hook):
        yield reached


def arm_from_environment(environment: Mapping[str, str] | None = None) -> None:
    """Arm what `VARIABLE` says, for the rest of this process's life; for subprocesses of tests.

    It holds ``action:name`` or ``action:name:nth``, several separated by commas; the action is
    ``kill``, ``stop`` or ``raise`` (a `FailpointReached`).  For example
    ``PAXCOMMIT_FAILPOINT=kill:prepare:orders.after:2``.

    Args:
        environment: Instead of ``os.environ``.

    Raises:
        ConfigurationError: The variable is not spelt like that; nothing was armed.
    """
    text = (os.environ if environment is None else environment).get(VARIABLE, "")
    for hook in [_parse(part.strip()) for part in text.split(",") if part.strip()]:
        _add(hook)


def _parse(text: str) -> failpoints.Hook:
    action, _, name = text.partition(":")
    nth = ""
    if (counted := name.rpartition(":"))[2].isdecimal():  # a step's own name has a colon, too
        name, _, nth = counted
    acts: dict[str, Callable[[str], None]] = {
        "kill": _signal_self(signal.SIGKILL),
        "stop": _signal_self(signal.SIGSTOP),
        "raise": _raise_reached,
    }
    if action not in acts or not name or nth == "0":
        raise ConfigurationError(
            f"{VARIABLE}: {text!r} is not one of kill, stop, raise, with a step and perhaps a "
            f"count, as in kill:prepare:orders.after:2"
        )
    return _nth(name, int(nth or "1"), acts[action], signals=action != "raise")


def _raise_reached(name: str) -> None:
    raise FailpointReached(name)
