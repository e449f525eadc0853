"""One transaction on asyncio: `AsyncTransaction`, as `AsyncCoordinator.transaction` makes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from paxcommit.errors import UsageError
from paxcommit.ports import AsyncSession, BeginOptions, Isolation
from paxcommit.protocol.coordinator import CommitMachine
from paxcommit.protocol.effects import Tell
from paxcommit.runtime.aio.limit import Limit
from paxcommit.runtime.aio.run import drive, run_statements
from paxcommit.runtime.committing import operate
from paxcommit.runtime.plan import Ask, Call, Step, standing
from paxcommit.sql.branch import mark
from paxcommit.sql.enlisting import as_owner
from paxcommit.sql.statement import DatabaseError, Unanswered
from paxcommit.sql.stuck import terminate_preparer
from paxcommit.transactions import TransactionBase, TransactionState, Wait, as_refusal

if TYPE_CHECKING:
    from paxcommit.async_coordinator import AsyncCoordinator

__all__ = ["AsyncTransaction"]

_log = logging.getLogger("paxcommit.transaction")


class AsyncTransaction(TransactionBase[AsyncSession]):
    """One transaction across several databases; made by `AsyncCoordinator.transaction`.

    Leaving the ``async with`` block commits; an exception inside it aborts everywhere and is
    raised again.  Used by one task, except that `connection` may be awaited for several
    participants at once.
    """

    def __init__(
        self, coordinator: AsyncCoordinator, state: TransactionState[AsyncSession], wait: Wait
    ) -> None:
        self._coordinator = coordinator
        super().__init__(state)
        self._wait = wait
        self._decided = asyncio.Event()
        self._over = asyncio.Event()

    async def connection(
        self,
        participant: str,
        *,
        isolation: Isolation | None = None,
        read_only: bool | None = None,
    ) -> Any:
        """Return the driver's own connection to the participant, in a transaction just begun.

        Do not commit or roll back on it; the driver's savepoints are fine.  Asking again for the
        same participant returns the same connection.  What you leave on it (settings, a session's
        advisory locks, ``LISTEN``) is taken away before it has its next user, and soon if there is
        none: locks that others wait for are better those of the transaction
        (``pg_advisory_xact_lock``).

        Args:
            participant: Its name in the settings.
            isolation: The isolation level; None: the transaction's, else the database's default.
            read_only: Whether the server is to refuse writes; None: the transaction's.

        Raises:
            ConfigurationError: There is no such participant.
            UsageError: The block was left.
            ParticipantUnavailable: No connection came in time, or the server refused it; the
                transaction goes on without it, unless you let the exception end the block.
            NotEnoughAcceptors: The participant could not be registered (R2).
        """
        self._coordinator.check_process()
        if (branch := self._state.own_branch(participant)) is not None:
            return branch.session.raw
        self._coordinator.settings.participant(participant)
        self._state.join(participant)
        try:
            await self._coordinator.register(participant)
            session = await self._coordinator.acquire(participant)
            # Also without a configured role: a login may start with another one than its own.
            role = self._coordinator.members.owner(participant)
        except BaseException:
            self._state.joining.discard(participant)
            raise
        options = self._state.options_for(isolation, read_only)
        return await self._begin(participant, session, options, role, ours=True)

    async def enlist(
        self,
        participant: str,
        connection: object,
        *,
        isolation: Isolation | None = None,
        read_only: bool | None = None,
    ) -> None:
        """Let a connection of your own run the participant's branch.

        It must be idle, and lead to the participant's database.  A transaction is begun on it;
        after the block it is idle again, and still yours.  After an error or a time-out in the
        middle of the commit it is closed.  With a connection of yours in it, the transaction's
        end waits until the decision is applied, whatever `wait` says.

        Args:
            participant: Its name in the settings.
            connection: A connection of the coordinator's driver.
            isolation, read_only: As in `connection`.

        Raises:
            EnlistError: It cannot take part; it was left as it was.
            ConfigurationError, UsageError, NotEnoughAcceptors: As in `connection`.
        """
        self._coordinator.check_process()
        self._coordinator.settings.participant(participant)
        self._state.join(participant)
        try:
            await self._coordinator.register(participant)
            session = self._coordinator.adopt(connection)
            owner = self._coordinator.members.owner(participant)
        except BaseException:
            self._state.joining.discard(participant)
            raise
        options = self._state.options_for(isolation, read_only)
        await self._begin(participant, session, options, owner, ours=False)

    async def _begin(
        self,
        participant: str,
        session: AsyncSession,
        options: BeginOptions,
        role: str | None,
        *,
        ours: bool,
    ) -> Any:
        try:
            with Limit(session, self._coordinator.settings.connect_timeout):
                await session.begin(options, mark(self.id))
                if not ours and role is not None:
                    check = self._coordinator.members.identify(participant)
                    await run_statements(session, as_owner(role, check))
            if self._state.phase != "open":
                raise UsageError(f"transaction {self.id} was left meanwhile: nothing can join it")
        except BaseException as error:
            self._state.joining.discard(participant)
            await asyncio.shield(self._give_back(participant, session, ours=ours))
            refusal = as_refusal(participant, error, ours=ours)
            if refusal is error:
                raise
            raise refusal from error
        self._state.joined(
            participant, session, role=role, read_only=bool(options.read_only), ours=ours
        )
        return session.raw

    async def _give_back(self, participant: str, session: AsyncSession, *, ours: bool) -> None:
        # A network that fell silent must not keep the caller in the block.
        with Limit(session, self._coordinator.settings.connect_timeout):
            await session.settle()
        if ours:
            await self._coordinator.release(participant, session)

    # --- the block ------------------------------------------------------------------------------

    async def __aenter__(self) -> AsyncTransaction:
        self._state.begin()
        self._coordinator.starting(self)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # In a forked child both would commit the same transaction, so not even a rollback (R1).
        self._coordinator.check_process()
        machine = self._state.end(error)
        # R24: the commit is a task of its own; if this one is cancelled, that one goes on.
        self._coordinator.background(self._run(machine), self)
        early = self._wait == "decided" and self._state.all_ours and error is None
        try:
            await (self._decided if early else self._over).wait()
        except asyncio.CancelledError:
            if not self._state.all_ours:
                await self._let_go()
            raise
        if error is None:
            self._state.raise_unless_committed()

    async def _let_go(self) -> None:
        """Return only when the commit no longer uses the user's own connections.

        Whoever lent them would lend them to the next while we still prepare, commit or settle.
        """
        try:
            await self._over.wait()  # bounded by the deadline and the time to finish
        except asyncio.CancelledError:  # a second one: go on without those connections
            for branch in self._state.branches.values():
                if not branch.ours:
                    branch.session.discard()
            raise

    async def _run(self, machine: CommitMachine) -> None:
        enlisted = {name: branch.enlisted for name, branch in self._state.branches.items()}
        try:
            await drive(
                machine,
                lambda effect: operate(effect, enlisted),
                self._perform,
                ask=self._coordinator.network.ask,
                abandon=self._abandon,
                tell=self._tell,
            )
        except Exception:  # noqa: BLE001 - whatever it was, the outcome is unknown, not aborted
            _log.exception("transaction %s: the commit was interrupted", self.id)
        finally:
            self._state.ended(machine)
            self._decided.set()
            try:
                # Before we return, so that the user's own connections are usable then, and the
                # next transaction finds ours in their pools.
                for name, branch in self._state.branches.items():
                    await self._give_back(name, branch.session, ours=branch.ours)
            finally:
                self._over.set()

    def _perform(self, step: Step) -> Awaitable[Any]:
        if isinstance(step, Ask) or step.where.kind != "branch":
            return self._coordinator.network.perform(step)
        session = self._state.branches[step.where.name].session
        if session.broken:
            raise Unanswered("the branch's connection was lost")
        return run_statements(session, step.statements)

    def _tell(self, tell: Tell) -> None:
        self._state.tell(tell)
        self._decided.set()

    def _abandon(self, participant: str) -> None:
        branch = self._state.branches[participant]
        branch.session.discard()
        call = Call(standing(participant), terminate_preparer(branch.enlisted.gid))
        self._coordinator.background(_quietly(self._coordinator.network.perform(call)))


async def _quietly(call: Any) -> None:
    try:
        await call
    except (DatabaseError, Unanswered) as error:
        _log.debug("a stuck PREPARE could not be looked for: %s", error)
