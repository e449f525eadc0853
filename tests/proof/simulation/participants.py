"""A participant's database in a simulated PostgreSQL: branches, prepared transactions, fences."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from paxcommit.ids import Gid, TxId
from paxcommit.sql.statement import DatabaseError, Notice
from tests.proof.simulation.common import COMMON
from tests.proof.simulation.finishes import FINISHES
from tests.proof.simulation.pool import Pool
from tests.proof.simulation.postgres import Backend, Handler, Query, Server, Tx
from tests.proof.simulation.prepared import PreparedTx
from tests.proof.simulation.truth import Truth

__all__ = ["Participant"]

_Key = tuple[int, int]


class Participant(Server):
    """A server with one participant's database.

    Args:
        pool, name, marks: See `Server`.
        digest: Of the cluster's epoch record.
        truth: Hears what is durable.
        slots: ``max_prepared_transactions``.
        synchronous: Whether PREPARE waits for a standby.
        system_identifier: Of the server.
    """

    KIND = "participant"

    def __init__(
        self,
        pool: Pool,
        name: str,
        marks: set[str],
        *,
        digest: str,
        truth: Truth,
        slots: int,
        synchronous: bool,
        system_identifier: int,
    ) -> None:
        super().__init__(pool, name, marks)
        self.digest = digest
        self.truth = truth
        self.slots = slots
        self.synchronous = synchronous
        self.hang = 0.0
        self.disk_error = 0.0
        self.age: Callable[[], float] = lambda: 0.0
        self.ledger: dict[_Key, str] = {}
        self.holders: dict[_Key, Backend | PreparedTx] = {}
        self.prepared: dict[str, PreparedTx] = {}
        self.damage: dict[tuple[str, str], str] = {}
        self.finished: PreparedTx | None = None
        self.missing: tuple[Backend | None, bool] = (None, False)
        self.system_identifier = system_identifier

    # --- transactions ---------------------------------------------------------------------------

    def rolled_back(self, backend: Backend) -> None:
        if backend.state == "syncrep":  # prepared already; only the wait is cut short
            for branch in self.prepared.values():
                if branch.busy is backend:
                    self._prepare_over(backend, branch)
                    break
        tx = backend.tx
        if tx is not None and tx.row is not None:
            self.release(tx.row[0], backend)

    def release(self, key: _Key, holder: Backend | PreparedTx) -> None:
        """A row is not in flight any more."""
        if self.holders.get(key) is holder:
            del self.holders[key]
            self.wake(key)

    def end_tx(self, backend: Backend) -> None:
        """Roll back."""
        self.rolled_back(backend)
        backend.tx = None

    def crashed(self) -> None:
        self.holders.clear()
        for text, branch in list(self.prepared.items()):
            branch.busy = None
            if not branch.valid:
                del self.prepared[text]
            elif branch.key is not None:
                self.holders[branch.key] = branch
        self.marks.add("server: participant crashed")

    def failover(self) -> None:
        """The standby takes over: what was never confirmed by it is gone, or worse."""
        self.crash()
        self.pool.say(f"{self.name} fails over")
        ours = [branch for branch in self.prepared.values() if branch.gid is not None]
        if self.synchronous:
            for branch in ours:
                if not branch.confirmed:
                    self._lose(branch)
                    self.marks.add("server: failover lost an unconfirmed branch")
        elif self.finished is not None and self.pool.chance(0.5):
            self._bring_back(self.finished)
        elif ours:
            branch = self.pool.pick(ours)
            self._lose(branch)
            assert branch.gid is not None
            self.truth.of(branch.gid.txid).injected.add(self.name)
            self.marks.add("server: failover lost a branch")

    def _lose(self, branch: PreparedTx) -> None:
        self.pool.say(f"{self.name} has lost {branch.text}")
        del self.prepared[branch.text]
        if branch.key is not None:
            self.release(branch.key, branch)

    def _bring_back(self, branch: PreparedTx) -> None:
        """A COMMIT PREPARED or ROLLBACK PREPARED is undone (trap 15)."""
        self.finished = None
        if branch.key is None or branch.text in self.prepared:
            return
        self.pool.say(f"{self.name} has {branch.text} again")
        assert branch.gid is not None
        self.ledger.pop(branch.key, None)
        self.truth.of(branch.gid.txid).rows.pop(self.name, None)
        branch.busy, branch.back = None, True
        self.prepared[branch.text] = self.holders[branch.key] = branch

    # --- the branch row -------------------------------------------------------------------------

    def require_transaction(self, backend: Backend, txid: str) -> Tx:
        """R14."""
        tx = backend.tx
        if tx is None or tx.setting != txid:
            raise DatabaseError(
                "PX010", f"this is not the transaction that paxcommit began for {txid}"
            )
        return tx

    def branch(self, backend: Backend, query: Query) -> bool:
        match = _BRANCH.fullmatch(query.pieces[query.at])
        if match is None:
            raise DatabaseError("42601", f"syntax error: {query.pieces[query.at]}")
        digest, epoch, coordinator, seq, participant, kind = match.groups()
        key = (int(coordinator), int(seq))
        txid = str(TxId(int(epoch), *key))
        tx = self.require_transaction(backend, txid)
        if not tx.wrote:
            if kind == "only":
                query.rows, query.tag = [("wrote nothing",)], "SELECT 1"
                return True
            raise DatabaseError("PX011", "the transaction wrote nothing", tx.isolation)
        tx.min_messages = "warning"
        if digest != self.digest or participant != self.name:
            raise DatabaseError(
                "PX001", f"this database is not participant {participant} of epoch 1"
            )
        if key in self.ledger:
            if self.ledger[key] == "fence":
                self.marks.add("prepare: met a fence")
            raise DatabaseError(
                "23505",
                'duplicate key value violates unique constraint "paxcommit_branch_pkey"',
            )
        if key in self.holders:
            holder = self.holders[key]
            if isinstance(holder, Backend) and holder.tx is None:
                self.marks.add("prepare: waited for a fence")
            return self.wait(backend, key, partial(self._lock_timeout, backend, backend.query))
        self.holders[key] = backend
        tx.row = (key, kind)
        query.rows, query.tag = [("written",)], "SELECT 1"
        return True

    def _lock_timeout(self, backend: Backend, query: Query | None) -> None:
        if backend.over or backend.query is not query or backend.waits_for is None:
            return
        waiting = self.waiting.get(backend.waits_for)
        if waiting and backend in waiting:
            waiting.remove(backend)
        if backend.tx is not None:
            self.marks.add("prepare: 55P03")
        backend.fail(DatabaseError("55P03", "canceling statement due to lock timeout"))

    def fence(self, backend: Backend, query: Query) -> bool:
        digest, _, coordinator, seq, participant = query.args
        key = (coordinator, seq)
        if digest != self.digest or participant != self.name:
            raise DatabaseError(
                "PX001", f"this database is not participant {participant} of epoch 1"
            )
        if key in self.ledger:
            self.marks.add("fence: found in place")
            query.rows, query.tag = [(self.ledger[key],)], "SELECT 1"
            return True
        if key in self.holders:
            return self.wait(backend, key, partial(self._lock_timeout, backend, backend.query))
        self.holders[key] = backend
        query.rows, query.tag = [("fence",)], "SELECT 1"

        def flushed() -> None:
            self.ledger[key] = "fence"
            self.truth.row_committed(TxId(1, *key), self.name, "fence")
            self.release(key, backend)

        return self.commit(backend, flushed, partial(self.release, key, backend))

    # --- ending a transaction block -------------------------------------------------------------

    def deferred(self, backend: Backend, query: Query) -> None:
        """Run deferred triggers, once."""
        tx = backend.tx
        if tx is None or tx.deferred_done:
            return
        tx.deferred_done = True
        if tx.trap == "warns" and tx.min_messages != "error":
            self.marks.add("prepare: a trigger's warning does not count")
            query.notices.append(Notice("WARNING", "01000", "a trigger warns"))
        if tx.trap == "deferred fails":
            raise DatabaseError("23503", "insert or update violates foreign key constraint")

    def prepare(self, backend: Backend, query: Query) -> bool:
        text = query.pieces[query.at].removeprefix("PREPARE TRANSACTION '").removesuffix("'")
        tx = backend.tx
        if tx is None:  # trap 14: the implicit transaction of the string
            query.notices.append(Notice("WARNING", "25P01", "there is no transaction in progress"))
            query.rows, query.tag = (), "PREPARE TRANSACTION"
            return True
        if tx.failed:
            self.marks.add("prepare: answered ROLLBACK")
            self.end_tx(backend)
            query.rows, query.tag = (), "ROLLBACK"
            return True
        try:
            self.deferred(backend, query)
            if tx.trap == "serialization":
                self.marks.add("prepare: serialization failure")
                raise DatabaseError("40001", "could not serialize access")
            if tx.trap == "temp":
                self.marks.add("prepare: not preparable")
                raise DatabaseError("0A000", "cannot PREPARE a transaction with temporary objects")
            if text in self.prepared:
                raise DatabaseError("42710", f'transaction identifier "{text}" is already in use')
            if len(self.prepared) >= self.slots:
                self.marks.add("prepare: slots full")
                raise DatabaseError("53200", "maximum number of prepared transactions reached")
        except DatabaseError:
            self.end_tx(backend)
            raise
        key = tx.row[0] if tx.row is not None else None
        branch = PreparedTx(text, Gid.parse(text), key, backend)
        self.prepared[text] = branch
        if backend.client is None or backend.client.broken:
            self.marks.add("prepare: late")
        hidden = tx.min_messages == "error"
        lost = partial(self._forget, text)
        flushed = partial(self._prepare_flushed, backend, branch, query, hidden)
        self._maybe_disk_error(backend, query, "prepare: disk error")
        return self.commit(backend, flushed, lost)

    def _forget(self, text: str) -> None:
        self.prepared.pop(text, None)

    def _maybe_disk_error(self, backend: Backend, query: Query, mark: str) -> None:
        if self.pool.chance(self.disk_error):
            self.marks.add(mark)
            self.pool.soon.append(partial(self._disk_error, backend, query))

    def _disk_error(self, backend: Backend, query: Query) -> None:
        """Trap 4: the client hears 58030; what was written may be there after the restart."""
        if not backend.over and backend.query is query and backend.client is not None:
            backend.client.answered(DatabaseError("58030", "could not fsync file"))
            self.crash()
            self.pool.later.append(self.start)

    def _prepare_flushed(
        self, backend: Backend, branch: PreparedTx, query: Query, hidden: bool
    ) -> None:
        branch.valid = True
        if branch.gid is not None:
            self.truth.of(branch.gid.txid).prepared.add(self.name)
        query.rows, query.tag = (), "PREPARE TRANSACTION"
        if not self.synchronous or backend.over:
            branch.confirmed = not self.synchronous
            self._prepare_over(backend, branch)
            return
        backend.state = "syncrep"
        backend.in_commit = False
        done = partial(self._standby_answered, backend, branch)
        if self.pool.chance(self.hang):
            self.pool.last.append(partial(self._sync_cancelled, backend, branch, query, hidden))
        else:
            self.pool.soon.append(done)

    def _prepare_over(self, backend: Backend, branch: PreparedTx) -> None:
        """The gid is nobody's now, and holds the row by itself (PostPrepare)."""
        if branch.busy is backend:
            branch.busy = None
            if branch.key is not None and self.prepared.get(branch.text) is branch:
                self.holders[branch.key] = branch
        backend.tx = None
        backend.state = ""

    def _standby_answered(self, backend: Backend, branch: PreparedTx) -> None:
        branch.confirmed = True
        if not backend.over and backend.state == "syncrep":
            self._prepare_over(backend, branch)
            backend.resume()

    def _sync_cancelled(
        self, backend: Backend, branch: PreparedTx, query: Query, hidden: bool
    ) -> None:
        """Trap 2: an administrator cancels the wait; success, and a warning."""
        if backend.over or backend.state != "syncrep" or backend.query is not query:
            return
        self._prepare_over(backend, branch)
        self.marks.add("prepare: warned 01000")
        if not hidden:
            query.notices.append(
                Notice("WARNING", "01000", "canceling wait for synchronous replication")
            )
        backend.resume()
        if self.pool.chance(self.hang):  # there was a reason why the standby did not answer
            self.pool.later.append(self._fails_over_soon)

    def _fails_over_soon(self) -> None:
        if self.hang:
            self.failover()
            self.pool.later.append(self.start)

    def commit_block(self, backend: Backend, query: Query) -> bool:
        tx = backend.tx
        if tx is None:
            query.notices.append(Notice("WARNING", "25P01", "there is no transaction in progress"))
            query.rows, query.tag = (), "COMMIT"
            return True
        if tx.failed:
            self.end_tx(backend)
            query.rows, query.tag = (), "ROLLBACK"
            return True
        try:
            self.deferred(backend, query)
            if tx.trap == "serialization":
                raise DatabaseError("40001", "could not serialize access")
        except DatabaseError:
            self.end_tx(backend)
            raise
        query.rows, query.tag = (), "COMMIT"
        row = tx.row
        if not tx.wrote:
            if tx.setting is not None:
                self.truth.of(TxId.parse(tx.setting)).readers_committed.add(self.name)
            backend.tx = None
            return True
        self._maybe_disk_error(backend, query, "commit: one phase meets a disk error")
        return self.commit(backend, partial(self._committed, backend, row))

    def _committed(self, backend: Backend, row: tuple[_Key, str] | None) -> None:
        backend.tx = None
        if row is not None:
            key, kind = row
            self.ledger[key] = kind
            self.truth.row_committed(TxId(1, *key), self.name, kind)
            self.release(key, backend)

    def rollback(self, backend: Backend, query: Query) -> bool:
        if query.pieces[query.at] != "ROLLBACK":  # to the savepoint
            if backend.tx is None:
                raise DatabaseError("25P01", "ROLLBACK TO SAVEPOINT needs a transaction block")
            backend.tx.failed = False
            if backend.tx.row is not None:
                self.release(backend.tx.row[0], backend)
                backend.tx.row = None
        elif backend.tx is None:
            query.notices.append(Notice("WARNING", "25P01", "there is no transaction in progress"))
        else:
            self.end_tx(backend)
        query.rows, query.tag = (), "ROLLBACK"
        return True

    # --- settings -------------------------------------------------------------------------------

    def set_local(self, backend: Backend, query: Query) -> bool:
        text = query.pieces[query.at]
        if text == "SET CONSTRAINTS ALL IMMEDIATE":
            self.deferred(backend, query)
            query.tag = "SET CONSTRAINTS"
        else:
            if text.startswith("SET LOCAL client_min_messages") and backend.tx is not None:
                backend.tx.min_messages = "error"
            query.tag = "SET"
        query.rows = ()
        return True

    def savepoint(self, backend: Backend, query: Query) -> bool:
        if backend.tx is None:
            raise DatabaseError("25P01", "SAVEPOINT can only be used in transaction blocks")
        query.rows, query.tag = (), "SAVEPOINT"
        return True

    def set_txid(self, backend: Backend, query: Query) -> bool:
        txid = query.pieces[0].split("'")[1]
        if backend.tx is not None:
            backend.tx.setting = txid
        query.rows, query.tag = (), "SET"
        return True

    def wrote(self, backend: Backend, query: Query) -> bool:
        tx = self.require_transaction(backend, query.args[0])
        query.rows = [(tx.wrote, tx.isolation)] if "," in query.pieces[0] else [(tx.wrote,)]
        query.tag = "SELECT 1"
        return True

    PREFIXES: ClassVar[tuple[tuple[str, Handler], ...]] = (
        ("SELECT paxcommit.branch(", branch),
        ("SET LOCAL paxcommit.txid = '", set_txid),
        ("PREPARE TRANSACTION '", prepare),
        ("SET LOCAL client_min_messages = error", set_local),
        ("SET LOCAL ROLE ", set_local),
        *FINISHES.prefixes,
    )
    HANDLERS: ClassVar[dict[str, Handler]] = {
        **COMMON,
        **FINISHES.handlers,
        "SET CONSTRAINTS ALL IMMEDIATE": set_local,
        "SAVEPOINT paxcommit_branch": savepoint,
        "COMMIT": commit_block,
        "ROLLBACK": rollback,
        "ROLLBACK TO SAVEPOINT paxcommit_branch": rollback,
        "SELECT paxcommit.wrote($1::text), current_setting('transaction_isolation')": wrote,
        "SELECT paxcommit.wrote($1::text)": wrote,
        "SELECT paxcommit.fence($1::text, $2::bigint, $3::bigint, $4::bigint, $5::text)": fence,
    }


_BRANCH = re.compile(
    r"SELECT paxcommit\.branch\('([0-9a-f]{32})', (\d+), (\d+), (\d+), '([a-z0-9_-]+)', '(\w+)'\)"
)
