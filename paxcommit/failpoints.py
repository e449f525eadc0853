"""Named steps of commit and recovery at which a test may stop, raise or kill the process.

Inert by default: an unarmed step costs one comparison with None.  `paxcommit.testing.failpoints`
arms them; nothing in production does.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Hook", "arm", "disarm", "hit"]

Hook = Callable[[str], None]

_hook: Hook | None = None


def hit(step: str, target: str = "", when: str = "") -> None:
    """Tell the armed hook, if there is one, that a step is reached.

    Args:
        step: What is done, e.g. ``prepare``.
        target: At whom, e.g. a participant or an acceptor.
        when: ``.before`` or ``.after``; the hook is called with ``<step>:<target><when>``, or
            with ``<step>`` alone where there is no target.
    """
    if _hook is not None:
        _hook(f"{step}:{target}{when}" if target else step)


def arm(hook: Hook) -> None:
    """Call `hook` with the name of every step reached from now on, on the reaching thread."""
    global _hook  # noqa: PLW0603 - one process, one hook
    _hook = hook


def disarm() -> None:
    """Make every step inert again."""
    global _hook  # noqa: PLW0603 - one process, one hook
    _hook = None
