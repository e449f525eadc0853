"""What finishes and looks at prepared transactions, on a simulated participant."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from paxcommit.ids import TxId
from paxcommit.sql.statement import DatabaseError
from tests.proof.simulation.postgres import Backend, Handler, Query, Server
from tests.proof.simulation.prepared import PreparedTx

if TYPE_CHECKING:
    from tests.proof.simulation.participants import Participant

__all__ = ["FINISHES"]


def _here(server: Server) -> Participant:
    return cast("Participant", server)


def _finish(commit: bool, at: Server, backend: Backend, query: Query) -> bool:
    """COMMIT PREPARED and ROLLBACK PREPARED."""
    server = _here(at)
    word = "COMMIT" if commit else "ROLLBACK"
    text = query.pieces[query.at].removeprefix(f"{word} PREPARED '").removesuffix("'")
    if backend.tx is not None:
        raise DatabaseError("25001", f"{word} PREPARED cannot run inside a transaction block")
    branch = server.prepared.get(text)
    if branch is None or not branch.valid:
        backend.state = ""
        server.missing = (backend, commit)
        raise DatabaseError(
            "42704", f'prepared transaction with identifier "{text}" does not exist'
        )
    if branch.busy is not None:
        server.marks.add("finish: 55000 busy")
        raise DatabaseError("55000", f'prepared transaction with identifier "{text}" is busy')
    if branch.foreign:
        server.truth.broken(f"{server.name}: a foreign gid was touched: {text}")
    branch.busy = backend
    query.rows, query.tag = (), f"{word} PREPARED"
    return server.commit(
        backend, partial(_finished, server, branch, commit), partial(_unlock, branch)
    )


def _unlock(branch: PreparedTx) -> None:
    branch.busy = None


def _finished(server: Participant, branch: PreparedTx, commit: bool) -> None:
    del server.prepared[branch.text]
    branch.busy = None
    server.finished = branch
    if branch.back and commit:
        server.marks.add("finish: gid that came back")
    if branch.key is None or branch.gid is None:
        return
    txid = TxId(1, *branch.key)
    if commit:
        server.ledger[branch.key] = "branch"
        server.truth.row_committed(txid, server.name, "branch")
    else:
        server.truth.rolled_back(txid, server.name)
    server.release(branch.key, branch)


def _list(at: Server, backend: Backend, query: Query) -> bool:
    server = _here(at)
    query.rows = [
        (branch.text, server.age(), "app") for branch in server.prepared.values() if branch.valid
    ]
    query.tag = f"SELECT {len(query.rows)}"
    return True


def _owner(at: Server, backend: Backend, query: Query) -> bool:
    branch = _here(at).prepared.get(query.args[0])
    found = branch is not None and branch.valid
    query.rows = [("app" if found else None, "app", "db" if found else None, "db")]
    query.tag = "SELECT 1"
    return True


def _branch_kind(at: Server, backend: Backend, query: Query) -> bool:
    server = _here(at)
    digest, _, coordinator, seq, participant = query.args
    if digest != server.digest or participant != server.name:
        raise DatabaseError("PX001", f"this database is not participant {participant} of epoch 1")
    kind = server.ledger.get((coordinator, seq))
    asked, commit = server.missing
    if asked is backend:
        server.missing = (None, False)
        if not commit:
            server.marks.add("finish: rollback of what is gone")
        elif kind == "branch":
            server.marks.add("finish: 42704 with a branch row: applied")
        else:
            server.marks.add("finish: 42704 without a row: damage")
    query.rows, query.tag = [(kind,)], "SELECT 1"
    return True


def _record_damage(at: Server, backend: Backend, query: Query) -> bool:
    server = _here(at)
    txid, participant, what, detail = query.args
    query.rows, query.tag = [(None,)], "SELECT 1"

    def flushed() -> None:
        server.damage.setdefault((txid, what), f"{participant}: {detail}")

    return server.commit(backend, flushed)


def _pid(at: Server, backend: Backend, query: Query) -> bool:
    query.rows, query.tag = [(backend.pid,)], "SELECT 1"
    return True


def blockers(server: Participant, fence_pid: int) -> list[tuple[int, int | None]]:
    """Who holds the row that this backend waits for: 0 is a prepared transaction."""
    fencing = server.backends.get(fence_pid)
    if fencing is None or fencing.waits_for is None:
        return []
    holder = server.holders.get(fencing.waits_for)
    if holder is None:
        return []
    if isinstance(holder, PreparedTx):
        return [(0, None)]
    return [(holder.pid, holder.start)]


def _fence_blockers(at: Server, backend: Backend, query: Query) -> bool:
    server = _here(at)
    query.rows = blockers(server, query.args[0])
    if query.rows and query.rows[0][0] == 0:
        server.marks.add("force: waits for a prepared transaction")
    query.tag = f"SELECT {len(query.rows)}"
    return True


def _terminate_blocker(at: Server, backend: Backend, query: Query) -> bool:
    server = _here(at)
    fence_pid, pid, start = query.args
    hit = pid != 0 and (pid, start) in blockers(server, fence_pid)
    if hit:
        server.marks.add("force: waits for a running backend: terminated")
        server.pool.say(f"{server.name}: backend {pid} is terminated")
        server.backends[pid].terminate()
    query.rows, query.tag = [(hit,)], "SELECT 1"
    return True


def _sleep_and_look(at: Server, backend: Backend, query: Query) -> bool:
    other = at.backends.get(query.args[0])
    query.rows = [("", None if other is None else other.query is not None)]
    query.tag = "SELECT 1"
    return True


def _sleep(at: Server, backend: Backend, query: Query) -> bool:
    query.rows, query.tag = [("",)], "SELECT 1"
    return True


def _terminate_preparer(at: Server, backend: Backend, query: Query) -> bool:
    hit = False
    for other in list(at.backends.values()):
        if other is backend or other.query is None:
            continue
        if any(query.args[0] in piece for piece in other.query.pieces):
            at.pool.say(f"{at.name}: stuck backend {other.pid} is terminated")
            other.terminate()
            hit = True
    if hit:
        at.marks.add("finish: stuck PREPARE terminated")
    query.rows, query.tag = [(hit,)], "SELECT 1"
    return True


def _identity(at: Server, backend: Backend, query: Query) -> bool:
    server = _here(at)
    query.rows = [(server.system_identifier, "db", "app", False, server.slots, None)]
    query.tag = "SELECT 1"
    return True


def _epochs(at: Server, backend: Backend, query: Query) -> bool:
    server = _here(at)
    query.rows, query.tag = [(1, server.digest, server.name, False)], "SELECT 1"
    return True


class _Finishes(NamedTuple):
    prefixes: tuple[tuple[str, Handler], ...]
    handlers: Mapping[str, Handler]


FINISHES = _Finishes(
    (
        ("COMMIT PREPARED '", partial(_finish, True)),
        ("ROLLBACK PREPARED '", partial(_finish, False)),
        (
            "SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8, owner::text"
            " FROM pg_prepared_xacts WHERE database = current_database()"
            " AND (SELECT pg_current_wal_lsn() IS NOT NULL)"
            " ORDER BY prepared, gid",
            _list,
        ),
    ),
    {
        "SELECT p.owner::text, current_user::text, p.database::text, current_database()::text"
        " FROM (SELECT 1) AS one LEFT JOIN pg_prepared_xacts AS p ON p.gid = $1::text": _owner,
        "SELECT paxcommit.branch_kind($1::text, $2::bigint, $3::bigint, $4::bigint,"
        " $5::text)": _branch_kind,
        "SELECT paxcommit.record_damage($1::text, $2::text, $3::text, $4::text)": _record_damage,
        "SELECT pg_backend_pid()": _pid,
        "SELECT pid, backend_start FROM paxcommit.fence_blockers($1::bigint)": _fence_blockers,
        "SELECT paxcommit.terminate_blocker($1::bigint, $2::bigint,"
        " $3::bigint)": _terminate_blocker,
        "SELECT pg_sleep(0.02)::text,"
        " (SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1::int)": _sleep_and_look,
        "SELECT pg_sleep(0.02)::text": _sleep,
        "SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()"
        " AND strpos(query, $1::text) > 0": _terminate_preparer,
        "SELECT system_identifier, current_database()::text, current_user::text,"
        " pg_is_in_recovery(), current_setting('max_prepared_transactions')::int,"
        " current_setting('prepared_orphaned_transaction_timeout', true)"
        " FROM pg_control_system()": _identity,
        "SELECT epoch, digest, participant, retired FROM paxcommit.participant_epochs()": _epochs,
    },
)
