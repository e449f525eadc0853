"""One transaction on threads: `Transaction`, as `Coordinator.transaction` makes it."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from paxcommit.errors import UsageError
from paxcommit.ids import Gid
from paxcommit.ports import BeginOptions, Isolation, SyncSession
from paxcommit.protocol.coordinator import CommitMachine
from paxcommit.protocol.effects import Tell
from paxcommit.runtime.committing import operate
from paxcommit.runtime.plan import Ask, Call, Step, standing
from paxcommit.runtime.threads.run import drive, run_statements
from paxcommit.sql.branch import mark
from paxcommit.sql.enlisting import as_owner
from paxcommit.sql.statement import DatabaseError, Unanswered
from paxcommit.sql.stuck import terminate_preparer
from paxcommit.transactions import TransactionBase, TransactionState, Wait, as_refusal

if TYPE_CHECKING:
    from paxcommit.coordinator import Coordinator

__all__ = ["Transaction"]

_log = logging.getLogger("paxcommit.transaction")


class Transaction(TransactionBase[SyncSession]):
    """One transaction across several databases; made by `Coordinator.transaction`.

    Leaving the ``with`` block commits; an exception inside it aborts everywhere and is raised
    again.  Used by one thread.
    """

    def __init__(
        self, coordinator: Coordinator, state: TransactionState[SyncSession], wait: Wait
    ) -> None:
        self._coordinator = coordinator
        super().__init__(state)
        self._wait = wait
        self._decided = threading.Event()
        self._over = threading.Event()

    def connection(
        self,
        participant: str,
        *,
        isolation: Isolation | None = None,
        read_only: bool | None = None,
    ) -> Any:
        """Return the driver's own connection to the participant, in a transaction just begun.

        Arguments, result and errors are those of `AsyncTransaction.connection`.
        """
        self._coordinator.check_process()
        if (branch := self._state.own_branch(participant)) is not None:
            return branch.session.raw
        self._coordinator.settings.participant(participant)
        self._state.join(participant)
        try:
            self._coordinator.register(participant)
            session = self._coordinator.acquire(participant)
            # Also without a configured role: a login may start with another one than its own.
            role = self._coordinator.members.owner(participant)
        except BaseException:
            self._state.joining.discard(participant)
            raise
        options = self._state.options_for(isolation, read_only)
        return self._begin(participant, session, options, role, ours=True)

    def enlist(
        self,
        participant: str,
        connection: object,
        *,
        isolation: Isolation | None = None,
        read_only: bool | None = None,
    ) -> None:
        """Let a connection of your own run the participant's branch.

        Arguments, promises and errors are those of `AsyncTransaction.enlist`.
        """
        self._coordinator.check_process()
        self._coordinator.settings.participant(participant)
        self._state.join(participant)
        try:
            self._coordinator.register(participant)
            session = self._coordinator.adopt(connection)
            owner = self._coordinator.members.owner(participant)
        except BaseException:
            self._state.joining.discard(participant)
            raise
        options = self._state.options_for(isolation, read_only)
        self._begin(participant, session, options, owner, ours=False)

    def _begin(
        self,
        participant: str,
        session: SyncSession,
        options: BeginOptions,
        role: str | None,
        *,
        ours: bool,
    ) -> Any:
        try:
            limit = self._coordinator.settings.connect_timeout
            with self._coordinator.network.watchdog.limit(limit, session.discard):
                session.begin(options, mark(self.id))
                if not ours and role is not None:
                    check = self._coordinator.members.identify(participant)
                    run_statements(session, as_owner(role, check))
            if self._state.phase != "open":
                raise UsageError(f"transaction {self.id} was left meanwhile: nothing can join it")
        except BaseException as error:
            self._state.joining.discard(participant)
            self._give_back(participant, session, ours=ours)
            refusal = as_refusal(participant, error, ours=ours)
            if refusal is error:
                raise
            raise refusal from error
        self._state.joined(
            participant, session, role=role, read_only=bool(options.read_only), ours=ours
        )
        return session.raw

    def _give_back(self, participant: str, session: SyncSession, *, ours: bool) -> None:
        # A network that fell silent must not keep the caller in the block.
        limit = self._coordinator.settings.connect_timeout
        with self._coordinator.network.watchdog.limit(limit, session.discard):
            session.settle()
        if ours:
            self._coordinator.release(participant, session)

    # --- the block ------------------------------------------------------------------------------

    def __enter__(self) -> Transaction:
        self._state.begin()
        self._coordinator.starting(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # In a forked child both would commit the same transaction, so not even a rollback (R1).
        self._coordinator.check_process()
        machine = self._state.end(error)
        # R24: on a thread of its own, so that a KeyboardInterrupt here abandons nothing half way.
        self._coordinator.background(lambda: self._run(machine), self)
        early = self._wait == "decided" and self._state.all_ours and error is None
        try:
            (self._decided if early else self._over).wait()
        except BaseException:  # e.g. KeyboardInterrupt
            if not self._state.all_ours:
                self._let_go()
            raise
        if error is None:
            self._state.raise_unless_committed()

    def _let_go(self) -> None:
        """Return only when the commit no longer uses the user's own connections.

        Whoever lent them would lend them to the next while we still prepare, commit or settle.
        """
        try:
            self._over.wait()  # bounded by the deadline and the time to finish
        except BaseException:  # a second one: go on without those connections
            for branch in self._state.branches.values():
                if not branch.ours:
                    branch.session.discard()
            raise

    def _run(self, machine: CommitMachine) -> None:
        enlisted = {name: branch.enlisted for name, branch in self._state.branches.items()}
        try:
            drive(
                machine,
                lambda effect: operate(effect, enlisted),
                self._perform,
                executor=self._coordinator.network.executor,
                watchdog=self._coordinator.network.watchdog,
                abandon=self._abandon,
                tell=self._tell,
            )
        except Exception:  # noqa: BLE001 - whatever it was, the outcome is unknown, not aborted
            _log.exception("transaction %s: the commit was interrupted", self.id)
        finally:
            self._state.ended(machine)
            self._decided.set()
            self._give_back_all(ours=False)  # the user may use them as soon as we return
            self._over.set()
            self._give_back_all(ours=True)

    def _give_back_all(self, *, ours: bool) -> None:
        for name, branch in self._state.branches.items():
            if branch.ours is ours:
                self._give_back(name, branch.session, ours=ours)

    def _perform(self, step: Step) -> Any:
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
        self._coordinator.background(
            lambda: self._terminate_preparer(participant, branch.enlisted.gid)
        )

    def _terminate_preparer(self, participant: str, gid: Gid) -> None:
        try:
            self._coordinator.network.perform(Call(standing(participant), terminate_preparer(gid)))
        except (DatabaseError, Unanswered) as error:
            _log.debug("a stuck PREPARE could not be looked for: %s", error)
