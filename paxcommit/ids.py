"""Names and numbers: transaction ids, ballots, participants' names and the gid codec (R1, R3).

A gid is readable by every role of a server and takes no bind parameter (trap 10), so its alphabet
is strict, it is parsed strictly, and nothing secret is in it.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import threading
from dataclasses import dataclass, field
from typing import NewType

from paxcommit.errors import ForkedProcessError, InvalidName, InvalidTxId, require

__all__ = [
    "MAX_DEADLINE",
    "MAX_GID_BYTES",
    "Ballot",
    "Gid",
    "Incarnation",
    "TxId",
    "check_name",
    "presentable",
]

Ballot = NewType("Ballot", int)
"""A ballot number.  0 belongs to one incarnation (R6); everybody else uses 1 and above."""

MAX_GID_BYTES = 199
"""PostgreSQL refuses a longer gid (trap 10)."""

MAX_DEADLINE = 999_999
"""The longest deadline, in seconds, that a gid can spell."""

_NAME = r"[a-z][a-z0-9_-]{0,39}"
_TXID = r"(?P<epoch>[1-9][0-9]{0,8})-(?P<coordinator>[0-9a-f]{16})-(?P<seq>[1-9][0-9]{0,17})"
_NAME_RE = re.compile(_NAME, re.ASCII)
_TXID_RE = re.compile(_TXID, re.ASCII)
_DIGEST_RE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_GID_RE = re.compile(
    rf"paxcommit:(?P<digest>[0-9a-f]{{32}}):{_TXID}:(?P<participant>{_NAME})"
    r":(?P<deadline>[1-9][0-9]{0,5})",
    re.ASCII,
)
_COORDINATOR_BITS = 63


def presentable(text: str) -> str:
    """Quote what stands where a name should, unless it may be a DSN and its password (trap 34)."""
    return "(not shown: it may hold a password)" if set(text) & set(":/@") else repr(text)


def check_name(name: str, what: str = "name") -> str:
    """Return `name` if it may name a participant, an acceptor or a cluster.

    Args:
        name: The candidate.
        what: What it names, for the message.

    Raises:
        InvalidName: It has other characters than ``a-z 0-9 _ -``, does not begin with a letter,
            or is longer than 40 characters.
    """
    if not _NAME_RE.fullmatch(name):
        raise InvalidName(
            f"{what} {presentable(name)} is not allowed: use a lower-case letter, then up to 39 of "
            f"a-z, 0-9, '_' and '-' (it becomes part of prepared transactions' names)"
        )
    return name


@dataclass(frozen=True, slots=True, order=True)
class TxId:
    """A transaction's id: ``(epoch, coordinator, seq)`` (R1).

    Attributes:
        epoch: The epoch whose acceptors decide it, for ever (R29).
        coordinator: 63 random bits, drawn by one incarnation of a coordinator process.
        seq: Counts within that incarnation, from 1.
    """

    epoch: int
    coordinator: int
    seq: int
    _text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require(
            1 <= self.epoch < 10**9
            and 0 <= self.coordinator < 2**_COORDINATOR_BITS
            and 1 <= self.seq < 10**18,
            "transaction id out of range: %s, %s, %s",
            *(self.epoch, self.coordinator, self.seq),
        )
        # A commit spells it a dozen times.
        object.__setattr__(self, "_text", f"{self.epoch}-{self.coordinator:016x}-{self.seq}")

    def __str__(self) -> str:
        return self._text

    @classmethod
    def parse(cls, text: str) -> TxId:
        """Parse exactly what ``str(txid)`` spells, and nothing else.

        Raises:
            InvalidTxId: `text` is not such a spelling.
        """
        match = _TXID_RE.fullmatch(text)
        if match is None or int(match["coordinator"], 16) >= 2**_COORDINATOR_BITS:
            raise InvalidTxId(
                f"{text!r} is not a transaction id; one looks like 1-00c0ffee00c0ffee-42 "
                f"(epoch, coordinator in 16 hex digits, sequence number)"
            )
        return cls._from_match(match)

    @classmethod
    def _from_match(cls, match: re.Match[str]) -> TxId:
        return cls(int(match["epoch"]), int(match["coordinator"], 16), int(match["seq"]))


@dataclass(frozen=True, slots=True)
class Gid:
    """The name of one branch's prepared transaction; all a recoverer needs beside acceptors (R3).

    Attributes:
        digest: Of the epoch record (R2), 32 hex digits.
        txid: The transaction.
        participant: Whose branch.
        deadline: Whole seconds, counted from ``prepared`` by that server's clock, after which
            anybody may lead a ballot although the coordinator lives.
    """

    digest: str
    txid: TxId
    participant: str
    deadline: int
    _text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.participant, "participant")
        require(_DIGEST_RE.fullmatch(self.digest) is not None, "malformed digest %r", self.digest)
        require(1 <= self.deadline <= MAX_DEADLINE, "deadline out of range: %s s", self.deadline)
        text = f"paxcommit:{self.digest}:{self.txid}:{self.participant}:{self.deadline}"
        require(len(text) <= MAX_GID_BYTES, "gid too long")
        object.__setattr__(self, "_text", text)

    def __str__(self) -> str:
        return self._text

    @property
    def quoted(self) -> str:
        """The gid as an SQL literal; its alphabet needs no escaping."""
        return f"'{self}'"

    @classmethod
    def parse(cls, text: str) -> Gid | None:
        """Parse a gid strictly; None means it is not one of ours and must not be touched."""
        match = _GID_RE.fullmatch(text)
        if match is None or int(match["coordinator"], 16) >= 2**_COORDINATOR_BITS:
            return None
        return cls(
            match["digest"], TxId._from_match(match), match["participant"], int(match["deadline"])
        )


_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - one process, one counter; set only by the hook below
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class Incarnation:
    """One life of a coordinator process: the owner of ballot 0 of the ids it draws (R1, R6).

    Args:
        epoch: The open epoch.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.coordinator = secrets.randbits(_COORDINATOR_BITS)
        self._born = _forks
        self._seq = itertools.count(1)
        self._lock = threading.Lock()

    def check(self) -> None:
        """Refuse to act in a forked child.

        Raises:
            ForkedProcessError: This process is a fork of the one that drew the incarnation.
        """
        if self._born != _forks:
            raise ForkedProcessError(
                "this coordinator was opened before os.fork(); parent and child would both vote "
                "for the same transactions. Open a new coordinator in the child process."
            )

    def next_txid(self) -> TxId:
        """Draw the next transaction id; never the same one twice.

        Raises:
            ForkedProcessError: See `check`.
        """
        self.check()
        with self._lock:
            return TxId(self.epoch, self.coordinator, next(self._seq))
