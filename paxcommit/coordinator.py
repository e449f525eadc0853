"""`Coordinator`: transactions across several PostgreSQL databases, for code with threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import TracebackType
from typing import TypeVar

import tenacity

from paxcommit.drivers import choose_sync
from paxcommit.errors import ParticipantUnavailable, UsageError
from paxcommit.ids import Incarnation, TxId
from paxcommit.ports import BeginOptions, Isolation, SyncDriver, SyncPool, SyncSession
from paxcommit.protocol.values import Outcome
from paxcommit.recovery import Recovery
from paxcommit.runtime.membership import Membership
from paxcommit.runtime.threads.network import Network
from paxcommit.settings import Settings, SettingsSource
from paxcommit.sql.statement import DatabaseError, Unanswered
from paxcommit.transaction import Transaction
from paxcommit.transactions import (
    TransactionState,
    Wait,
    check_deadline,
    check_wait,
    is_retryable,
)
from paxcommit.wiring import acceptor_dsns, make_membership, make_timing

__all__ = ["Coordinator"]

_T = TypeVar("_T")


class Coordinator:
    """Begins transactions and leads their ballot 0.  One per process is enough; thread-safe.

    If the process dies, whatever it left behind is finished by `paxcommit recover --watch`, or by
    any coordinator opened with ``recover=True``.
    """

    def __init__(
        self,
        settings: Settings,
        driver: SyncDriver,
        incarnation: Incarnation,
        network: Network,
    ) -> None:
        self.settings = settings
        self.network = network
        self._driver = driver
        self._incarnation = incarnation
        self._pools: dict[str, SyncPool] = {}
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._transactions: set[Transaction] = set()
        self._work: set[Future[None]] = set()
        self._recovery = Recovery(settings, network)
        self._closing = False

    @classmethod
    def open(
        cls,
        settings: SettingsSource = None,
        *,
        driver: str | None = None,
        recover: bool = False,
    ) -> Coordinator:
        """Connect to the acceptors and participants.

        ::

            with Coordinator.open("paxcommit.toml") as coordinator:
                with coordinator.transaction() as tx:
                    orders = tx.connection("orders")

        Arguments and errors are those of `AsyncCoordinator.open`; the driver is psycopg.
        """
        loaded = Settings.load(settings)
        chosen = choose_sync(driver)
        incarnation = Incarnation(epoch=1)
        members = make_membership(loaded, incarnation.coordinator)
        network = Network(chosen, members, acceptor_dsns(loaded), make_timing(loaded))
        try:
            network.open()
            members.require_quorum()
            incarnation.epoch = members.record.epoch
            network.run(members.register_all())
        except BaseException:
            network.close()
            raise
        coordinator = cls(loaded, chosen, incarnation, network)
        if recover:
            coordinator._recovery.start()
        return coordinator

    def __enter__(self) -> Coordinator:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- transactions ---------------------------------------------------------------------------

    def transaction(
        self,
        *,
        deadline: float | None = None,
        wait: Wait = "applied",
        isolation: Isolation | None = None,
        read_only: bool | None = None,
    ) -> Transaction:
        """Make a transaction, to be entered with ``with``.

        Arguments and errors are those of `AsyncCoordinator.transaction`.
        """
        check_wait(wait)
        state: TransactionState[SyncSession] = TransactionState.new(
            self._incarnation,
            self.members,
            check_deadline(deadline, self.settings),
            BeginOptions(isolation, read_only),
        )
        return Transaction(self, state, wait)

    def run(
        self,
        work: Callable[[Transaction], _T],
        *,
        attempts: int = 5,
        deadline: float | None = None,
        wait: Wait = "applied",
        isolation: Isolation | None = None,
        read_only: bool | None = None,
    ) -> _T:
        """Run `work` in a transaction, and again in a *new* one where that makes sense.

        Arguments, result and errors are those of `AsyncCoordinator.run`.
        """
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_retryable),
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_random_exponential(multiplier=0.01, max=1.0),
            reraise=True,
        ):
            with (
                attempt,
                self.transaction(
                    deadline=deadline, wait=wait, isolation=isolation, read_only=read_only
                ) as tx,
            ):
                result = work(tx)
        return result

    def outcome(self, txid: TxId | str, *, force: bool = False) -> Outcome:
        """Tell what became of a transaction; any process may ask (R23).

        Arguments, result and errors are those of `AsyncCoordinator.outcome`.
        """
        self.check_process()
        parsed = TxId.parse(txid) if isinstance(txid, str) else txid
        return self._recovery.resolve(parsed, force=force).outcome

    def close(self, timeout: float = 10.0) -> None:
        """End gently: no new transactions; those under way are waited for.

        Args:
            timeout: Seconds to wait; what is not finished then is recovery's, as after a crash.
        """
        self._incarnation.check()
        until = time.monotonic() + timeout
        with self._idle:
            self._closing = True
            self._idle.wait_for(lambda: not self._transactions, timeout)
            rest = set(self._work)
        wait(rest, max(0.0, until - time.monotonic()))
        self._recovery.stop()
        for pool in self._pools.values():
            pool.close(max(0.1, until - time.monotonic()))
        self.network.close()

    # --- for Transaction ------------------------------------------------------------------------

    @property
    def members(self) -> Membership:
        """Which cluster this is."""
        return self.network.members

    def check_process(self) -> None:
        """Refuse to act in a forked child (R1)."""
        self._incarnation.check()

    def starting(self, transaction: Transaction) -> None:
        """Refuse to start anything new when closing, forked, or below F+1 acceptors (R26)."""
        self.check_process()
        with self._lock:
            if self._closing:
                raise UsageError("the coordinator is closing or closed; open a new one")
            self.members.require_quorum()
            self._transactions.add(transaction)

    def register(self, participant: str) -> None:
        """See to it that F+1 acceptors know the participant (R2)."""
        self.network.run(self.members.register(participant))

    def acquire(self, participant: str) -> SyncSession:
        """Borrow a session from the participant's pool."""
        with self._lock:
            if participant not in self._pools:
                dsn = self.settings.participant(participant).dsn.get_secret_value()
                self._pools[participant] = self._driver.open_pool(
                    dsn, max_size=self.settings.pool_size, timeout=self.settings.connect_timeout
                )
            pool = self._pools[participant]
        try:
            return pool.acquire(self.settings.connect_timeout)
        except (DatabaseError, Unanswered) as error:
            raise ParticipantUnavailable(f"participant {participant}: {error}") from error

    def release(self, participant: str, session: SyncSession) -> None:
        """Give a session back."""
        self._pools[participant].release(session)

    def adopt(self, connection: object) -> SyncSession:
        """Wrap a user's own connection."""
        return self._driver.adopt(connection)

    def background(
        self, work: Callable[[], None], transaction: Transaction | None = None
    ) -> Future[None]:
        """Run something on another thread; `close` waits for it."""
        future = self.network.executor.submit(work)

        def over(ended: Future[None]) -> None:
            with self._idle:
                self._work.discard(ended)
                if transaction is not None:
                    self._transactions.discard(transaction)
                self._idle.notify_all()

        with self._lock:
            self._work.add(future)
        future.add_done_callback(over)
        return future
