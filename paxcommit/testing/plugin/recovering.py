"""Recovery to its end: until nothing of the cluster is prepared any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

from paxcommit.async_recovery import AsyncRecovery
from paxcommit.errors import UsageError
from paxcommit.ids import TxId
from paxcommit.reports import RecoveryReport, Resolved
from paxcommit.settings import Settings, SettingsSource
from paxcommit.testing.layout import Layout

__all__ = [
    "NotResolved",
    "Source",
    "on_a_thread",
    "recover",
    "recover_async",
    "settings_of",
    "sweep",
]

_T = TypeVar("_T")

Source: TypeAlias = "Layout | SettingsSource"
"""Which cluster: a `Layout`, or whatever `Settings.load` takes."""

_INTERVAL = 0.02
"""Seconds between two looks; a dead process's lock is gone milliseconds after it."""


class NotResolved(AssertionError):
    """Recovery could not finish in time; the message says what is left, and why."""


def settings_of(source: Source) -> Settings:
    """The settings of a cluster."""
    return Settings(**source.settings) if isinstance(source, Layout) else Settings.load(source)


def on_a_thread(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run a coroutine to its end on a thread of its own, whatever loop this one has or had."""
    with ThreadPoolExecutor(1, thread_name_prefix="paxcommit testing") as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def require_no_loop(name: str) -> None:
    """Refuse to block a running event loop: what it works on would stand still meanwhile.

    Raises:
        UsageError: There is one.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(f"{name} would block the running event loop: await {name}_async instead")


def recover(
    source: Source = None, *, patience: float = 30.0, driver: str | None = None
) -> tuple[Resolved, ...]:
    """Run recovery until nothing of the cluster is prepared any more.

    What a dead process left is resolved at once.  The branches of a living coordinator are waited
    for: it finishes them, or their deadline passes.

    Args:
        source: Which cluster.
        patience: Seconds to try.
        driver: See `AsyncCoordinator.open`.

    Returns:
        What recovery resolved.

    Raises:
        NotResolved: Something is prepared still.
        UsageError: In a running event loop; see `recover_async`.
        NotEnoughAcceptors, IdentityMismatch: See `AsyncRecovery.open`.
    """
    require_no_loop("recover")
    return on_a_thread(lambda: recover_async(source, patience=patience, driver=driver))


async def recover_async(
    source: Source = None, *, patience: float = 30.0, driver: str | None = None
) -> tuple[Resolved, ...]:
    """`recover`, for asyncio."""
    async with AsyncRecovery.open(settings_of(source), driver=driver) as recovery:
        report, resolved = await sweep(recovery, patience)
    if report.in_doubt or report.unreachable:
        raise NotResolved(_explain(report, patience))
    return resolved


async def sweep(
    recovery: AsyncRecovery, patience: float
) -> tuple[RecoveryReport, tuple[Resolved, ...]]:
    """Look until nothing is prepared, or time is over; the last report, and what was resolved."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + patience
    resolved: dict[TxId, Resolved] = {}
    while True:
        report = await recovery.run_once()
        resolved.update({each.txid: each for each in report.resolved})
        if not (report.in_doubt or report.unreachable) or loop.time() > give_up:
            break
        await asyncio.sleep(_INTERVAL)
    for txid, each in resolved.items():
        if each.unapplied:  # its gid may be gone, and its fence still missing (R20)
            resolved[txid] = await recovery.resolve(txid, force=True)
    return report, tuple(resolved.values())


def _explain(report: RecoveryReport, patience: float) -> str:
    told = [f"{name} cannot be asked: {why}" for name, why in report.unreachable.items()]
    for each in report.resolved:
        told.append(f"transaction {each.txid}: {each.outcome}; {each.reason}")
        told += [f"  {name}: {why}" for name, why in each.unapplied.items()]
    if report.in_doubt > len(report.resolved):
        told.append("a coordinator that lives holds what is prepared, and its deadline is not over")
    return (
        f"after {patience:g} s of recovery, {report.in_doubt} branches are still prepared:\n"
        + "\n".join(f"  {line}" for line in told)
    )
