"""Real PostgreSQL servers for tests and demos, steps at which to break in, and the verdict.

Each public name is imported when it is first asked for, as with `paxcommit` itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paxcommit.testing.backends import Backend
    from paxcommit.testing.cluster import Cluster
    from paxcommit.testing.layout import Layout, Place
    from paxcommit.testing.plugin.atomicity import (
        Atomicity,
        NotAtomic,
        assert_atomic,
        assert_atomic_async,
    )
    from paxcommit.testing.plugin.children import Child, ChildFailed, Ended
    from paxcommit.testing.plugin.databases import create_layout, unreachable
    from paxcommit.testing.plugin.failpoints import Failpoints
    from paxcommit.testing.plugin.recovering import NotResolved, recover, recover_async
    from paxcommit.testing.plugin.steps import STEPS, commit_steps
    from paxcommit.testing.server import Server

__all__ = [
    "STEPS",
    "Atomicity",
    "Backend",
    "Child",
    "ChildFailed",
    "Cluster",
    "Ended",
    "Failpoints",
    "Layout",
    "NotAtomic",
    "NotResolved",
    "Place",
    "Server",
    "assert_atomic",
    "assert_atomic_async",
    "commit_steps",
    "create_layout",
    "recover",
    "recover_async",
    "unreachable",
]

_HOMES = {
    "Atomicity": "paxcommit.testing.plugin.atomicity",
    "Backend": "paxcommit.testing.backends",
    "Child": "paxcommit.testing.plugin.children",
    "ChildFailed": "paxcommit.testing.plugin.children",
    "Cluster": "paxcommit.testing.cluster",
    "Ended": "paxcommit.testing.plugin.children",
    "Failpoints": "paxcommit.testing.plugin.failpoints",
    "Layout": "paxcommit.testing.layout",
    "NotAtomic": "paxcommit.testing.plugin.atomicity",
    "NotResolved": "paxcommit.testing.plugin.recovering",
    "Place": "paxcommit.testing.layout",
    "STEPS": "paxcommit.testing.plugin.steps",
    "Server": "paxcommit.testing.server",
    "assert_atomic": "paxcommit.testing.plugin.atomicity",
    "assert_atomic_async": "paxcommit.testing.plugin.atomicity",
    "commit_steps": "paxcommit.testing.plugin.steps",
    "create_layout": "paxcommit.testing.plugin.databases",
    "recover": "paxcommit.testing.plugin.recovering",
    "recover_async": "paxcommit.testing.plugin.recovering",
    "unreachable": "paxcommit.testing.plugin.databases",
}

if not TYPE_CHECKING:  # or a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
