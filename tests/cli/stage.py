"""Puts transactions into the states that commands report, without a coordinator."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from paxcommit.drivers import choose_sync
from paxcommit.ids import Ballot, Gid, TxId
from paxcommit.ports import BeginOptions, SyncSession
from paxcommit.protocol.messages import Phase2a
from paxcommit.protocol.values import Value
from paxcommit.runtime.threads.run import run_statements
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.branch import open_branch, prepare_branch
from paxcommit.sql.epoch import EpochRecord
from paxcommit.sql.link import hold
from paxcommit.sql.marks import Marks
from paxcommit.sql.statement import Sql
from paxcommit.testing import Layout


class Stage:
    """One transaction of a layout after ``init``, with a table ``account`` in every participant."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        text = layout.place("a1").execute("select record from paxcommit.epoch")[0][0]
        self.record = EpochRecord.parse(text)
        self.txid = TxId(1, secrets.randbits(63), 1)

    @contextmanager
    def session(self, name: str) -> Iterator[SyncSession]:
        """A session to an acceptor or participant."""
        session = choose_sync().connect(self.layout.place(name).dsn, timeout=10)
        try:
            yield session
        finally:
            session.discard()

    def gid(self, participant: str, deadline: int = 1000) -> Gid:
        return Gid(self.record.digest, self.txid, participant, deadline)

    def prepare(self, *participants: str, deadline: int = 1000) -> None:
        """Prepare a branch that changes the account."""
        for name in participants:
            with self.session(name) as session:
                session.begin(BeginOptions())
                run_statements(session, open_branch(self.txid))
                session.execute(Sql("update account set balance = balance - 1"))
                answer = run_statements(session, prepare_branch(self.gid(name, deadline)))
                assert type(answer).__name__ == "Prepared"

    def vote(self, values: Mapping[str, Value], *acceptors: str, ballot: int = 0) -> None:
        """Have acceptors (all, if none is named) accept a bundle."""
        for name in acceptors or tuple(self.layout.acceptor_places):
            with self.session(name) as session:
                bundle = Phase2a(self.txid, Ballot(ballot), values)
                (answer,) = run_statements(session, ask(self.authority(name), Marks(), [bundle]))
                assert type(answer).__name__ == "Phase2b"

    def authority(self, acceptor: str) -> Authority:
        (identity,) = (a.identity for a in self.record.acceptors if a.name == acceptor)
        return Authority(acceptor, identity, self.record.epoch, self.record.digest)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """The transaction's coordinator lives, on every acceptor."""
        sessions = []
        try:
            for place in self.layout.acceptor_places.values():
                sessions.append(choose_sync().connect(place.dsn, timeout=10))
                run_statements(sessions[-1], hold(self.txid.coordinator))
            yield
        finally:
            for session in sessions:
                session.discard()

    def rows(self, participant: str, query: str) -> list[tuple[Any, ...]]:
        return self.layout.place(participant).execute(query)
