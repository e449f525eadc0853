"""Named steps of commit and recovery at which a test may stop, raise or kill the process.

Inert by default: an unarmed step costs one comparison with None.  `paxcommit.testing.failpoints`
arms them; nothing in production does.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Hook", "arm", "disarm", "hit"]

Hook = Callable[[str], None]

_hook: Hook | None = None


def hit(name: str) -> None:
    """Tell the armed hook, if there is one, that step `name` is reached."""
    if _hook is not None:
        _hook(name)


def arm(hook: Hook) -> None:
    """Call `hook` with the name of every step reached from now on, on the reaching thread."""
    global _hook  # noqa: PLW0603 - one process, one hook
    _hook = hook


def disarm() -> None:
    """Make every step inert again."""
    global _hook  # noqa: PLW0603 - one process, one hook
    _hook = None
