"""Which cluster this process works with: its epoch record, its acceptors, its participants.

Settings name servers; the epoch record says who they are (R2).  A link is *admitted* only after
the server behind it has proved to be the one that the record names.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from paxcommit.errors import (
    ClusterError,
    ConfigurationError,
    IdentityMismatch,
    InvariantViolation,
    NotEnoughAcceptors,
    ParticipantUnavailable,
    PaxcommitError,
)
from paxcommit.protocol.messages import AcceptorAnswer, AcceptorName, LostVotes, Request
from paxcommit.runtime.plan import Call, Plan, acceptor, standing
from paxcommit.runtime.preference import Choice, Preference
from paxcommit.sql import acceptor as acceptor_sql
from paxcommit.sql import link as link_sql
from paxcommit.sql import participant as participant_sql
from paxcommit.sql.acceptor import Authority
from paxcommit.sql.epoch import EpochRecord, read_records
from paxcommit.sql.link import RegisteredParticipant, Registration
from paxcommit.sql.marks import Marks
from paxcommit.sql.participant import ParticipantIdentity
from paxcommit.sql.schema import check_schema, quote_identifier
from paxcommit.sql.statement import Sql, Statements

__all__ = ["Membership", "Site"]

_log = logging.getLogger("paxcommit.membership")


@dataclass(frozen=True, slots=True)
class Site:
    """A participant's database, as the settings name it.

    Attributes:
        dsn: Where it is; secret.
        role: The role that is to own its gids (R18), or None for the DSN's own.
    """

    dsn: str = field(repr=False)
    role: str | None


class Membership:
    """See the module.  Safe to share between threads.

    Args:
        cluster: The cluster's name in the settings.
        acceptors: The acceptors' names in the settings; 2F+1.
        sites: The participants in the settings.
        coordinator: The incarnation whose lock every acceptor link holds (R26); None for a
            process that only recovers.
    """

    def __init__(
        self,
        cluster: str,
        acceptors: Sequence[AcceptorName],
        sites: Mapping[str, Site],
        coordinator: int | None,
    ) -> None:
        self.cluster = cluster
        self.acceptors = tuple(sorted(acceptors))
        self.sites = dict(sites)
        self.marks = Marks()
        self.preference = Preference(self.acceptors)
        self._coordinator = coordinator
        self._record: EpochRecord | None = None
        self._lock = threading.Lock()
        self._admitted: frozenset[AcceptorName] = frozenset()
        self._identities: dict[str, ParticipantIdentity] = {}
        self._registered: frozenset[str] = frozenset()

    @property
    def quorum(self) -> int:
        """F+1."""
        return len(self.acceptors) // 2 + 1

    @property
    def record(self) -> EpochRecord:
        """The epoch record that this process works under."""
        if self._record is None:
            raise InvariantViolation("the epoch record is not known yet")
        return self._record

    @property
    def admitted(self) -> frozenset[AcceptorName]:
        """Acceptors whose link is up, proved, and (for a coordinator) holds its lock."""
        return self._admitted

    def choose(self, deadline: float) -> Choice:
        """Tell whom a commit that may take `deadline` seconds asks."""
        return self.preference.choose(self.admitted, deadline / 4)

    def lost(self, name: AcceptorName) -> None:
        """A link is down, and with it the lock."""
        with self._lock:
            self._admitted -= {name}

    def require_quorum(self) -> None:
        """Refuse to start anything new below F+1 admitted acceptors (R26).

        Raises:
            NotEnoughAcceptors: Says which are missing.
        """
        admitted = self.admitted
        if len(admitted) < self.quorum:
            missing = ", ".join(sorted(set(self.acceptors) - admitted))
            raise NotEnoughAcceptors(
                f"{self.quorum} of {len(self.acceptors)} acceptors are needed and "
                f"{len(admitted)} can be used; not: {missing}. Nothing was started. "
                f"See `paxcommit doctor`"
            )

    # --- the epoch record -----------------------------------------------------------------------

    def pin(self) -> Plan[None]:
        """Learn the epoch record from F+1 acceptors that hold the same one, then admit them.

        Raises:
            NotEnoughAcceptors: Fewer than F+1 answered with one record.
            IdentityMismatch: F+1 did, but the settings name other acceptors or another cluster.
        """
        calls = [Call(acceptor(name), _newest_record()) for name in self.acceptors]
        answers = yield list(calls)
        held = dict(zip(self.acceptors, answers, strict=True))
        for record in {answer for answer in answers if isinstance(answer, EpochRecord)}:
            if sum(answer == record for answer in answers) >= self.quorum:
                self._check_record(record)
                self._record = record
                break
        else:
            reasons = "; ".join(f"{name}: {_why(answer)}" for name, answer in held.items())
            raise NotEnoughAcceptors(
                f"no epoch record is held by {self.quorum} of {len(held)} acceptors ({reasons}). "
                f"Nothing was started. Has `paxcommit init` been run?"
            )
        yield [Call(acceptor(name), self._admission(name)) for name in self.acceptors]

    def _check_record(self, record: EpochRecord) -> None:
        names = tuple(each.name for each in record.acceptors)
        if (record.cluster_name, names) != (self.cluster, self.acceptors):
            raise IdentityMismatch(
                f"the acceptors belong to cluster {record.cluster_name!r} with acceptors "
                f"{', '.join(names)}; the settings say {self.cluster!r} with "
                f"{', '.join(self.acceptors)}. Correct the settings"
            )

    def authority(self, name: AcceptorName) -> Authority:
        """Whom calls to an acceptor are meant for."""
        (identity,) = (each.identity for each in self.record.acceptors if each.name == name)
        return Authority(name, identity, self.record.epoch, self.record.digest)

    # --- links ----------------------------------------------------------------------------------

    def acceptor_setup(self, name: AcceptorName) -> Callable[[], Statements[None]]:
        """What an acceptor link runs on each new connection."""

        def setup() -> Statements[None]:
            yield from link_sql.link_settings()
            yield from check_schema()
            if self._record is not None:
                yield from self._admission(name)

        return setup

    def pulse(self, name: AcceptorName) -> Callable[[], Statements[None]]:
        """What an idle acceptor link runs now and then: whoever was refused is asked again."""

        def pulse() -> Statements[None]:
            if self._record is not None and name not in self.admitted:
                yield from self._admission(name)
            else:
                yield Sql("SELECT 1")

        return pulse

    def _admission(self, name: AcceptorName) -> Statements[None]:
        """Prove that it is the acceptor, exchange marks, and take the incarnation's lock."""
        greeting = yield from link_sql.hello(self.authority(name), self.marks)
        if greeting.lost_votes:
            raise IdentityMismatch(f"acceptor {name} has lost votes and is out for good (R13)")
        if self._coordinator is not None:
            yield from link_sql.hold(self._coordinator)
        with self._lock:
            self._admitted |= {name}

    def batch(
        self, name: AcceptorName
    ) -> Callable[[Sequence[Request]], Statements[list[AcceptorAnswer]]]:
        """How an acceptor link asks many requests in one call."""
        authority: Authority | None = None

        def ask(requests: Sequence[Request]) -> Statements[list[AcceptorAnswer]]:
            nonlocal authority
            authority = authority or self.authority(name)
            self.preference.asked(name)
            well = False
            try:
                answers = yield from acceptor_sql.ask(authority, self.marks, requests)
                well = not any(isinstance(answer, LostVotes) for answer in answers)
                return answers
            finally:
                self.preference.answered(name, well=well)

        return ask

    def participant_setup(self, name: str) -> Callable[[], Statements[None]]:
        """What the standing link to a participant runs on each new connection."""

        def setup() -> Statements[None]:
            yield from link_sql.link_settings()
            yield from check_schema()
            identity = yield from self.identify(name)
            role = self.sites[name].role
            if role is not None:  # R18: whoever is to finish gids must be able to be their owner
                yield Sql(f"SET ROLE {quote_identifier(role)}")
            with self._lock:
                self._identities[name] = identity

        return setup

    # --- participants ---------------------------------------------------------------------------

    def identify(self, name: str) -> Statements[ParticipantIdentity]:
        """Check that this connection leads to the participant's database, fit for the work.

        Raises:
            IdentityMismatch: It is another database.
            ClusterError: It cannot take part; the message says what to change.
        """
        identity = yield from participant_sql.participant_identity()
        if identity.in_recovery:
            raise ClusterError(
                f"participant {name}: the server is a standby; connect to its primary"
            )
        if identity.orphan_timeout not in (None, "", "0"):
            raise ClusterError(
                f"participant {name}: prepared_orphaned_transaction_timeout is not 0, so the "
                f"server would roll back decided branches; set it to 0"
            )
        if identity.max_prepared_transactions == 0:
            raise ClusterError(
                f"participant {name}: max_prepared_transactions is 0; set it to at least the "
                f"number of concurrent transactions and restart the server"
            )
        known = self._identities.get(name)
        record = self.record
        epochs = yield from participant_sql.participant_epochs()
        ours = any(
            (each.epoch, each.digest, each.participant) == (record.epoch, record.digest, name)
            for each in epochs
        )
        here = (identity.system_identifier, identity.database)
        if not ours or (known and here != (known.system_identifier, known.database)):
            raise IdentityMismatch(
                f"database {identity.database!r} is not that of participant {name} in this "
                f"cluster; correct the settings, or run `paxcommit init` for a new participant"
            )
        return identity

    def owner(self, name: str) -> str | None:
        """The role that is to own a participant's gids (R18), None while it was never reached."""
        identity = self._identities.get(name)
        return self.sites[name].role or (identity.role if identity else None)

    def register(self, name: str) -> Plan[None]:
        """See to it that F+1 acceptors know the participant, before the first transaction (R2).

        Raises:
            ParticipantUnavailable: The participant's database was not reached yet.
            NotEnoughAcceptors: Fewer than F+1 acceptors confirmed it.
            ConfigurationError: Another database is registered under that name.
        """
        if name in self._registered:
            return
        identity = self._identities.get(name)
        if identity is None:
            (answer,) = yield [Call(standing(name), self.identify(name))]
            if isinstance(answer, ClusterError | ConfigurationError):
                raise answer
            if isinstance(answer, Exception):
                raise ParticipantUnavailable(f"participant {name}: {answer}")
            identity = self._identities[name]
        who = RegisteredParticipant(name, identity.system_identifier, identity.database)
        answers = yield [
            Call(
                acceptor(each),
                link_sql.register_participant(self.authority(each), self.marks, who),
            )
            for each in self.acceptors
        ]
        confirmed = 0
        for answer in answers:
            if isinstance(answer, Exception):
                continue
            registration, detail = answer
            if registration is Registration.CONFLICT:
                raise ConfigurationError(f"participant {name} cannot be used: {detail}")
            confirmed += 1
        if confirmed < self.quorum:
            raise NotEnoughAcceptors(
                f"participant {name} is confirmed by {confirmed} acceptors, not {self.quorum}: "
                + "; ".join(_why(answer) for answer in answers if isinstance(answer, Exception))
            )
        with self._lock:
            self._registered |= {name}

    @property
    def confirmed(self) -> frozenset[str]:
        """Participants that F+1 acceptors have confirmed to this process."""
        return self._registered

    def register_all(self) -> Plan[None]:
        """Register every participant that can be reached; the others when they are first used."""
        for name in self.sites:
            try:
                yield from self.register(name)
            except PaxcommitError as error:
                _log.warning("participant %s cannot be used now: %s", name, error)

    def registered(self) -> Plan[tuple[str, ...]]:
        """Every participant that F+1 acceptors may know of (R2).

        Raises:
            NotEnoughAcceptors: Fewer than F+1 acceptors answered.
        """
        answers = yield [
            Call(acceptor(each), link_sql.registered_participants(self.authority(each)))
            for each in self.acceptors
        ]
        lists = [answer for answer in answers if not isinstance(answer, Exception)]
        if len(lists) < self.quorum:
            raise NotEnoughAcceptors(
                f"{len(lists)} acceptors tell their participants, {self.quorum} are needed: "
                + "; ".join(_why(answer) for answer in answers if isinstance(answer, Exception))
            )
        return tuple(sorted({each.name for known in lists for each in known}))


def _newest_record() -> Statements[EpochRecord | None]:
    records = yield from read_records()
    return records[-1] if records else None


def _why(answer: object) -> str:
    return "no epoch record" if answer is None else str(answer)
