"""`AsyncCoordinator`: transactions across several PostgreSQL databases, on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, TypeVar

import tenacity

from paxcommit.async_recovery import AsyncRecovery
from paxcommit.async_transaction import AsyncTransaction
from paxcommit.drivers import choose_async
from paxcommit.errors import ParticipantUnavailable, UsageError
from paxcommit.ids import Incarnation, TxId
from paxcommit.ports import AsyncDriver, AsyncPool, AsyncSession, BeginOptions, Isolation
from paxcommit.protocol.values import Outcome
from paxcommit.runtime.aio.network import Network
from paxcommit.settings import Settings, SettingsSource
from paxcommit.sql.statement import DatabaseError, Unanswered
from paxcommit.transactions import (
    TransactionState,
    Wait,
    check_deadline,
    check_wait,
    is_retryable,
)
from paxcommit.wiring import acceptor_dsns, make_membership, make_timing

__all__ = ["AsyncCoordinator", "AsyncOpening"]

_T = TypeVar("_T")


class AsyncOpening:
    """A coordinator about to be opened: ``async with`` it, or ``await`` it and close it later."""

    def __init__(self, make: Callable[[], Awaitable[AsyncCoordinator]]) -> None:
        self._make = make
        self._coordinator: AsyncCoordinator | None = None

    def __await__(self) -> Generator[Any, None, AsyncCoordinator]:
        return self._make().__await__()

    async def __aenter__(self) -> AsyncCoordinator:
        self._coordinator = await self._make()
        return self._coordinator

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._coordinator is not None:
            await self._coordinator.close()


class AsyncCoordinator:
    """Begins transactions and leads their ballot 0.  One per process and event loop is enough.

    Open it with `AsyncCoordinator.open`.  If the process dies, whatever it left behind is finished
    by `paxcommit recover --watch`, or by any coordinator opened with ``recover=True``.
    """

    def __init__(
        self,
        settings: Settings,
        driver: AsyncDriver,
        incarnation: Incarnation,
        network: Network,
    ) -> None:
        self.settings = settings
        self.network = network
        self.members = network.members
        self._driver = driver
        self._incarnation = incarnation
        self._pools: dict[str, AsyncPool] = {}
        self._transactions: set[AsyncTransaction] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._recovery = AsyncRecovery(settings, network)
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    def open(
        cls,
        settings: SettingsSource = None,
        *,
        driver: str | None = None,
        recover: bool = False,
    ) -> AsyncOpening:
        """Connect to the acceptors and participants.

        ::

            async with AsyncCoordinator.open("paxcommit.toml", driver="asyncpg") as coordinator:
                async with coordinator.transaction() as tx:
                    orders = await tx.connection("orders")

        Args:
            settings: See `Settings.load`.
            driver: ``"asyncpg"`` or ``"psycopg"``; None: whichever is installed, in this order.
            recover: Run a recoverer beside the work (R28).

        Raises:
            ConfigurationError: The settings cannot work, or the driver is not installed.
            NotEnoughAcceptors: Fewer than F+1 acceptors can be used now.
            IdentityMismatch: The acceptors are not those of the settings.
        """
        return AsyncOpening(functools.partial(cls._open, settings, driver, recover))

    @classmethod
    async def _open(
        cls, source: SettingsSource, driver_name: str | None, recover: bool
    ) -> AsyncCoordinator:
        settings = Settings.load(source)
        driver = choose_async(driver_name)
        incarnation = Incarnation(epoch=1)
        members = make_membership(settings, incarnation.coordinator)
        network = Network(driver, members, acceptor_dsns(settings), make_timing(settings))
        try:
            await network.open()
            members.require_quorum()
            incarnation.epoch = members.record.epoch
            await network.run(members.register_all())
        except BaseException:
            await network.close()
            raise
        coordinator = cls(settings, driver, incarnation, network)
        if recover:
            coordinator._recovery.start()
        return coordinator

    # --- transactions ---------------------------------------------------------------------------

    def transaction(
        self,
        *,
        deadline: float | None = None,
        wait: Wait = "applied",
        isolation: Isolation | None = None,
        read_only: bool | None = None,
    ) -> AsyncTransaction:
        """Make a transaction, to be entered with ``async with``.

        Args:
            deadline: Seconds that the commit may take, counted from leaving the block; after
                them an undecided transaction may be aborted by anybody, and this process stops
                waiting (`TransactionAborted` before the decision was asked for, `OutcomeUnknown`
                after).  None: as in the settings.  The block itself is not limited: use
                ``asyncio.timeout``.
            wait: ``"applied"``: the block's end returns once every database shows the result, so
                you read your own writes.  ``"decided"``: once the decision is durable; databases
                show it a moment later.
            isolation: For every connection, unless it says otherwise: ``"read committed"``,
                ``"repeatable read"`` or ``"serializable"``.
            read_only: Likewise, whether the servers are to refuse writes.

        Raises:
            ConfigurationError: An argument cannot work.

        Entering it raises `NotEnoughAcceptors` (nothing is started below F+1), `UsageError` (the
        coordinator is closing) or `ForkedProcessError`.  Leaving it raises `TransactionAborted`
        or `OutcomeUnknown`.
        """
        check_wait(wait)
        state: TransactionState[AsyncSession] = TransactionState.new(
            self._incarnation,
            self.members,
            check_deadline(deadline, self.settings),
            BeginOptions(isolation, read_only),
        )
        return AsyncTransaction(self, state, wait)

    async def run(
        self,
        work: Callable[[AsyncTransaction], Awaitable[_T]],
        *,
        attempts: int = 5,
        deadline: float | None = None,
        wait: Wait = "applied",
        isolation: Isolation | None = None,
        read_only: bool | None = None,
    ) -> _T:
        """Run `work` in a transaction, and again in a *new* one where that makes sense.

        It does after a serialization failure, a deadlock or a lost race; never after
        `OutcomeUnknown`, for the work may be durable then.

        Args:
            work: Called with the transaction; must be safe to call again after an abort.
            attempts: How often at most.
            deadline, wait, isolation, read_only: See `transaction`.

        Returns:
            What `work` returned in the transaction that committed.

        Raises:
            TransactionAborted, OutcomeUnknown: See there; and whatever `work` raises.
        """
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(is_retryable),
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_random_exponential(multiplier=0.01, max=1.0),
            reraise=True,
        ):
            with attempt:
                async with self.transaction(
                    deadline=deadline, wait=wait, isolation=isolation, read_only=read_only
                ) as tx:
                    result = await work(tx)
        return result

    async def outcome(self, txid: TxId | str, *, force: bool = False) -> Outcome:
        """Tell what became of a transaction; any process may ask (R23).

        Args:
            txid: Its id, or the spelling of it.
            force: Decide it if it is open: afterwards it is committed or aborted for good,
                unless too few servers can be reached.

        Returns:
            `Outcome.OPEN` if it is not decided, or cannot be known now; never a guess.  A
            transaction that wrote nothing leaves no trace: it is open until forced.

        Raises:
            InvalidTxId: The text is no transaction id.
            ClusterError: The id is of an epoch that is not known here.
        """
        self.check_process()
        parsed = TxId.parse(txid) if isinstance(txid, str) else txid
        resolution = await self._recovery.resolve(parsed, force=force)
        return resolution.outcome

    async def close(self, timeout: float = 10.0) -> None:
        """End gently: no new transactions; those under way are waited for.

        Args:
            timeout: Seconds to wait; what is not finished then is recovery's, as after a crash.
        """
        self._closing = True
        self._incarnation.check()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()
                while self._tasks:
                    await asyncio.wait(self._tasks)
        await self._recovery.stop()
        await asyncio.gather(*(pool.close(timeout) for pool in self._pools.values()))
        await self.network.close()

    # --- for AsyncTransaction -------------------------------------------------------------------

    def check_process(self) -> None:
        """Refuse to act in a forked child (R1)."""
        self._incarnation.check()

    def starting(self, transaction: AsyncTransaction) -> None:
        """Refuse to start anything new when closing, forked, or below F+1 acceptors (R26)."""
        self.check_process()
        if self._closing:
            raise UsageError("the coordinator is closing or closed; open a new one")
        self.members.require_quorum()
        self._transactions.add(transaction)
        self._idle.clear()

    async def register(self, participant: str) -> None:
        """See to it that F+1 acceptors know the participant (R2)."""
        if participant not in self.members.confirmed:
            await self.network.run(self.members.register(participant))

    async def acquire(self, participant: str) -> AsyncSession:
        """Borrow a session from the participant's pool."""
        pool = self._pools.get(participant)
        if pool is None:
            dsn = self.settings.participant(participant).dsn.get_secret_value()
            pool = self._driver.open_pool(
                dsn, max_size=self.settings.pool_size, timeout=self.settings.connect_timeout
            )
            self._pools[participant] = pool
        try:
            return await pool.acquire(self.settings.connect_timeout)
        except (DatabaseError, Unanswered) as error:
            raise ParticipantUnavailable(f"participant {participant}: {error}") from error

    async def release(self, participant: str, session: AsyncSession) -> None:
        """Give a session back."""
        await self._pools[participant].release(session)

    def adopt(self, connection: object) -> AsyncSession:
        """Wrap a user's own connection."""
        return self._driver.adopt(connection)

    def background(
        self, work: Coroutine[Any, Any, None], transaction: AsyncTransaction | None = None
    ) -> asyncio.Task[None]:
        """Run something that must not end with the task that began it; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def over(ended: asyncio.Task[None]) -> None:
            self._tasks.discard(ended)
            if transaction is not None:
                self._transactions.discard(transaction)
            if not self._transactions:
                self._idle.set()

        task.add_done_callback(over)
        return task
