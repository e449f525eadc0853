"""The points that a transaction passes: the named failpoints, and around every durable statement.

The failpoints are those of the product (``phase2a:a1.before``).  Around every statement that a
session executes there are two more (``phase2a@a1.before``), made by a wrapper around the driver:
whatever the product does to a database passes there, so nobody has to remember to name a point.
A statement counts as durable unless it is known to read only.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .cases import CUTS, Act, Deed

__all__ = ["READS", "SETUP", "Frozen", "Message", "Points", "label_of"]

READS = frozenset(
    {
        *("learn", "branch_kind", "holders", "participants", "wrote", "prepared", "state"),
        *("begin", "open-branch", "backend-pid", "pulse", "fence_blockers"),
        *("link-settings", "schema_version", "records", "identity", "participant_epochs"),
    }
)
"""Labels of statements that leave nothing behind; everything else is durable."""

SETUP = frozenset(
    {
        *("link-settings", "schema_version", "records", "identity", "participant_epochs"),
        *("hello", "hold", "pulse", "fence_blockers", "backend-pid"),
    }
)
"""Labels of statements that set up a connection or look after it, for whichever transaction."""

_LABELS = [
    (re.compile(pattern), label)
    for pattern, label in (
        (r"^COMMIT PREPARED ", "commit-prepared"),
        (r"^ROLLBACK PREPARED ", "rollback-prepared"),
        (r"; PREPARE TRANSACTION '", "prepare"),
        (r"paxcommit\.branch\(.*; COMMIT$", "commit-only"),
        (r"^SELECT set_config\('paxcommit\.txid'", "open-branch"),
        (r"^SELECT set_config\('tcp_keepalives_idle'", "link-settings"),
        (r"pg_try_advisory_lock_shared", "hold"),
        (r"^SELECT gid, extract\(epoch", "prepared"),
        (r"^SELECT p\.owner", "state"),
        (r"^SELECT system_identifier", "identity"),
        (r"^SELECT pg_backend_pid\(\)$", "backend-pid"),
        (r"^SELECT pg_sleep", "pulse"),
        (r"^SELECT 1$", "pulse"),
        (r"pg_terminate_backend", "terminate-preparer"),
    )
]
_FUNCTION = re.compile(r"paxcommit\.(\w+)\(")


def label_of(text: str) -> str:
    """Name a statement."""
    for pattern, label in _LABELS:
        if pattern.search(text):
            return label
    if (function := _FUNCTION.search(text)) is not None:
        return function[1]
    return "-".join(text.lower().split()[:3]).strip(";")


class Frozen(Exception):
    """A transaction stands at its point: nothing of it is sent, and nothing is told, any more."""


class Message:
    """One statement on its way to a server.

    Attributes:
        name: Its label, and where it goes.
        durable: Whether there are points around it.
        setup: Whether it sets up a connection, or looks after it.
        cut: How its delivery ends, unless well.
    """

    def __init__(self, name: str, *, durable: bool, setup: bool, cut: Deed | None) -> None:
        self.name = name
        self.durable = durable
        self.setup = setup
        self.cut = cut


class Points:
    """What one transaction passes in one process; thread-safe.

    Args:
        act: What to do at one of its points, or to one of its messages.
        tell: Hears of every point *before* anything is done there, and of every message.
        die: Does what ``kill`` says.
    """

    def __init__(
        self, act: Act | None, tell: Callable[[str, Any], None], die: Callable[[], None]
    ) -> None:
        self.act = act
        self.tell = tell
        self._die = die
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.begun = False
        """Whether the work itself has begun; opening a coordinator sends messages, too."""
        self.frozen = False
        self.flying = 0
        """Statements under way, and connections that are being opened."""
        self.underway = 0
        """Operations of the product between their two failpoints."""

    def reach(self, name: str) -> None:
        """A point is reached.

        Raises:
            Frozen: The transaction stands here, or at an earlier one.
        """
        if self.frozen:
            raise Frozen(name)
        name = self._number(name)
        self.tell("point", name)
        if self.act == Act("stop", name):
            self.tell("stopped", name)
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.act == Act("kill", name):
            self.frozen = True
            self._die()
            raise Frozen(name)

    def message(self, label: str, target: str) -> Message:
        """A statement is about to be sent.

        Raises:
            Frozen: The transaction stands at its point.
        """
        name = f"{label}@{target}"
        durable, setup = label not in READS, label in SETUP
        if setup or not self.begun:
            # A connection that is set up anew in the middle of the work is nobody's in particular.
            return Message(name, durable=durable and not self.begun, setup=True, cut=None)
        if self.frozen:
            raise Frozen(name)
        numbered = self._number(name)
        self.tell("message", numbered)
        act, cut = self.act, None
        if act is not None and act.deed in CUTS and act.point == numbered:
            cut = act.deed
            self.tell("cut", numbered)
        return Message(name, durable=durable, setup=False, cut=cut)

    @contextmanager
    def flight(self) -> Iterator[None]:
        """Something is under way."""
        with self._lock:
            self.flying += 1
        try:
            yield
        finally:
            with self._lock:
                self.flying -= 1

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way."""
        return not (self.flying or self.underway)

    def failpoint(self, name: str) -> None:
        """The product has reached one of its own."""
        with self._lock:
            self.underway += name.endswith(".before")
        self.reach(name)
        with self._lock:
            self.underway -= name.endswith(".after")

    def _number(self, name: str) -> str:
        with self._lock:
            self._seen[name] += 1
            count = self._seen[name]
        return name if count == 1 else f"{name}#{count}"
