"""`assert_atomic`: after recovery, every transaction is in all its databases or in none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paxcommit.async_recovery import AsyncRecovery
from paxcommit.drivers import choose_async
from paxcommit.errors import ConfigurationError
from paxcommit.ids import TxId
from paxcommit.inspection.sites import open_sites
from paxcommit.protocol.values import Outcome
from paxcommit.testing.plugin.judging import complaints
from paxcommit.testing.plugin.recovering import (
    Source,
    on_a_thread,
    require_no_loop,
    settings_of,
    sweep,
)
from paxcommit.testing.plugin.telling import tell
from paxcommit.testing.plugin.truth import Truth, read_truth

__all__ = ["Atomicity", "NotAtomic", "assert_atomic", "assert_atomic_async"]


class NotAtomic(AssertionError):
    """Something is half there, still prepared, undecided or damaged; the message says what."""


@dataclass(frozen=True, slots=True)
class Atomicity:
    """What `assert_atomic` found; all of it is as it should be.

    Attributes:
        outcomes: What became of every transaction that any database knows of, by id.  One that was
            rolled back before anybody voted has left nothing, and is in here only if asked for.
        effects: Per participant, whether the effect is there: everywhere or nowhere.
    """

    outcomes: Mapping[TxId, Outcome]
    effects: Mapping[str, bool]

    @property
    def outcome(self) -> Outcome:
        """What became of the transaction, if there is just one.

        Raises:
            ConfigurationError: There are none or several.
        """
        if len(self.outcomes) != 1:
            raise ConfigurationError(
                f"there are {len(self.outcomes)} transactions, not one: look at `outcomes`, or ask "
                f"for one by its id"
            )
        return next(iter(self.outcomes.values()))

    @property
    def there(self) -> bool:
        """Whether the effects are there, everywhere.

        Raises:
            ConfigurationError: No effects were asked for.
        """
        if not self.effects:
            raise ConfigurationError("no effects were asked for: give queries that look for them")
        return all(self.effects.values())


def assert_atomic(
    source: Source = None,
    txid: TxId | str | None = None,
    effects: Mapping[str, str] | None = None,
    *,
    patience: float = 30.0,
    driver: str | None = None,
) -> Atomicity:
    """Run recovery to its end, then judge from the databases that nothing is half done.

    Every transaction that an acceptor or a participant knows of must be decided, and its branches
    be committed in all its participants or in none; nothing may be prepared any more, and no damage
    be recorded.

    Args:
        source: Which cluster.  Its logins must be allowed to read paxcommit's tables, as those of
            a `Layout` are.
        txid: A transaction to judge in particular.  If it is open it is decided, as ``paxcommit
            outcome --force`` does; so do not name one that is still at work.
        effects: Per participant, a SELECT that tells whether your effect is there: by a boolean, a
            number such as ``count(*)``, or whether there is a row.  They must agree with each
            other, and with the outcome of `txid` if that is given.
        patience: Seconds that recovery may take.
        driver: See `AsyncCoordinator.open`.

    Returns:
        What was found.

    Raises:
        NotAtomic: An assertion that failed; it tells which database holds what.
        ConfigurationError: A query cannot tell, or names no participant.
        UsageError: In a running event loop; see `assert_atomic_async`.
        NotEnoughAcceptors, IdentityMismatch: See `AsyncRecovery.open`.
    """
    __tracebackhide__ = True
    require_no_loop("assert_atomic")
    try:
        return on_a_thread(
            lambda: assert_atomic_async(source, txid, effects, patience=patience, driver=driver)
        )
    except NotAtomic as error:
        raise NotAtomic(str(error)) from None  # without what lies between here and that thread


async def assert_atomic_async(
    source: Source = None,
    txid: TxId | str | None = None,
    effects: Mapping[str, str] | None = None,
    *,
    patience: float = 30.0,
    driver: str | None = None,
) -> Atomicity:
    """`assert_atomic`, for asyncio."""
    __tracebackhide__ = True
    settings = settings_of(source)
    asked = [] if txid is None else [TxId.parse(txid) if isinstance(txid, str) else txid]
    async with (
        AsyncRecovery.open(settings, driver=driver) as recovery,
        open_sites(settings, choose_async(driver)) as sites,
    ):
        await sweep(recovery, patience)
        truth = await read_truth(settings, sites, asked=asked, effects=effects)
        undecided = _undecided(truth, asked)
        for each in undecided:
            await recovery.resolve(each, force=True)
        if undecided:
            truth = await read_truth(settings, sites, asked=asked, effects=effects)
    if wrong := complaints(truth, asked):
        raise NotAtomic(tell(truth, wrong, effects or {}))
    judged = asked or truth.transactions
    return Atomicity({each: truth.outcome(each) for each in judged}, truth.effects)


def _undecided(truth: Truth, asked: list[TxId]) -> list[TxId]:
    """What to decide now: not, unless asked, what a living coordinator may be at work on."""
    prepared = {branch.txid for branch in truth.prepared}
    known = {*asked, *(txid for txid in truth.transactions if txid not in prepared)}
    return [txid for txid in known if truth.outcome(txid) is Outcome.OPEN]
