"""The clients of a chaos run: transfers of several shapes, and readers that check on them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, TypeAlias

from paxcommit.async_coordinator import AsyncCoordinator
from paxcommit.async_transaction import AsyncTransaction
from paxcommit.errors import ClusterError, OutcomeUnknown, TransactionAborted
from paxcommit.testing.bank.ledger import ACCOUNTS, Account, Leg
from paxcommit.testing.chaos import events
from paxcommit.testing.chaos.events import Answer, Answered, Begun, Seen

__all__ = [
    "COUNT",
    "PATIENCE",
    "Attempt",
    "Books",
    "ChangedMind",
    "Clients",
    "Work",
    "answer_for",
    "draw_work",
    "pause_after",
]

_log = logging.getLogger("paxcommit.testing.chaos")

PATIENCE = 4.0
"""Seconds that a client waits for accounts that somebody else holds."""

_REFUSED_PAUSE = 0.2
"""Seconds before a client that was refused goes on."""

_THINKING = 0.03
"""Seconds between two transactions of a client, at most: the faults are the point, not the load."""

COUNT = "select count(*) from bank.transfer where txid = '{}'"
"""Counts the rows of a transaction, whose id needs no escaping."""

_MOST = 200
_REMEMBERED = 64

_now = time.monotonic  # of the machine: see `clock`

Shape: TypeAlias = Literal["transfer", "local", "reader", "self-abort"]


@dataclass(frozen=True, slots=True)
class Work:
    """What a client is to do next.

    Attributes:
        shape: See `events.Begun`.
        legs: In the order in which everybody locks, so that no two wait for each other across
            banks, where no deadlock detector sees it.
    """

    shape: Shape
    legs: tuple[Leg, ...] = ()


def draw_work(random: Random, banks: Sequence[str]) -> Work:
    """Draw what to do; depends on nothing but `random` and `banks`."""
    shape: Shape = random.choices(
        ("transfer", "local", "reader", "self-abort"), weights=(64, 12, 12, 12)
    )[0]
    if shape == "reader":
        return Work(shape)
    amount = random.randint(2, _MOST)
    if shape == "local" or len(banks) == 1:
        bank = random.choice(banks)
        payer, payee = random.sample(range(1, ACCOUNTS + 1), 2)
        legs = [Leg(Account(bank, payer), bank, -amount), Leg(Account(bank, payee), bank, amount)]
    else:
        count = min(len(banks), random.choice((2, 2, 3)))
        payer_bank, *payees = random.sample(list(banks), count)
        shares = [amount] if count == 2 else [amount // 2, amount - amount // 2]
        legs = [Leg(_any(random, payer_bank), payees[0], -amount)]
        legs += [
            Leg(_any(random, bank), payer_bank, share)
            for bank, share in zip(payees, shares, strict=True)
        ]
    return Work(shape, tuple(sorted(legs, key=lambda leg: (leg.account.bank, leg.account.number))))


def _any(random: Random, bank: str) -> Account:
    return Account(bank, random.randint(1, ACCOUNTS))


class ChangedMind(Exception):
    """What a client raises that does not want its transfer any more."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A transaction of which this process was told the outcome, with everything applied."""

    txid: str
    rows: Mapping[str, int]
    """How many it has at each bank, if it committed."""


class Books:
    """What the clients of one process are told; several threads may use it.

    Args:
        name: The process's.
        tell: Hears of everything.
    """

    def __init__(self, name: str, tell: Callable[[Begun | Answered | Seen], None]) -> None:
        self.name = name
        self.tell = tell
        self._told: deque[_Told] = deque(maxlen=_REMEMBERED)

    def begin(self, txid: str, work: Work, which: float) -> Attempt:
        """Note that a transaction begins.

        Args:
            txid: Its id.
            work: What it does.
            which: Of the earlier transactions a reader looks for, between 0 and 1.
        """
        past = None
        if work.shape == "reader" and self._told:
            past = self._told[int(which * len(self._told))]
        return Attempt(self, txid, work, past)

    def remember(self, told: _Told) -> None:
        """Let readers look for it from now on."""
        self._told.append(told)


class Attempt:
    """One transaction of one client; telling the books is all it does."""

    def __init__(self, books: Books, txid: str, work: Work, past: _Told | None) -> None:
        self.txid = txid
        self.work = work
        self._books = books
        self._past = past
        self._seen: dict[str, bool] = {}
        self._began = _now()
        legs = tuple(
            events.Leg(leg.account.bank, leg.account.number, leg.amount) for leg in work.legs
        )
        books.tell(Begun(0.0, txid, books.name, work.shape, legs))

    @property
    def to_look_for(self) -> tuple[str, Sequence[str]]:
        """What a reader is to look for: a transaction, and at which banks."""
        return ("", ()) if self._past is None else (self._past.txid, tuple(self._past.rows))

    def saw(self, bank: str, rows: int) -> None:
        """A reader found so many rows at a bank."""
        if self._past is not None:
            self._seen[bank] = rows == self._past.rows[bank]

    def end(self, answer: Answer, unapplied: Mapping[str, str]) -> None:
        """The client got its answer."""
        books = self._books
        took = max(0.0, _now() - self._began)
        books.tell(Answered(0.0, self.txid, books.name, answer, took))
        if self._past is not None and answer == "committed":
            books.tell(Seen(0.0, books.name, self.txid, self._past.txid, self._seen))
        elif self.work.legs and answer != "unknown" and not unapplied:
            rows = Counter(leg.account.bank for leg in self.work.legs)
            books.remember(_Told(self.txid, rows))


def answer_for(error: Exception, *, in_block: bool) -> Answer:
    """What an exception out of a transaction's block tells its client.

    Args:
        error: The exception.
        in_block: Whether the block itself raised, which aborts.

    Raises:
        Exception: `error`, if it tells nothing: a bug.
    """
    if isinstance(error, OutcomeUnknown):
        _log.warning("%s", error)
        return "unknown"
    if isinstance(error, TransactionAborted | ClusterError):
        _log.info("%s", error)
        return "aborted"  # definite, or raised before anything could have been committed
    if in_block:  # for instance: the balance does not suffice
        _log.info("refused: %r", error)
        return "aborted"
    raise error


def pause_after(answer: Answer, random: float) -> float:
    """Seconds until a client goes on."""
    return random * _THINKING if answer == "committed" else _REFUSED_PAUSE


class Clients:
    """Clients of one process, on asyncio.

    Args:
        coordinator: Open.
        books: Hear of everything.
        seed: Together with a client's number it chooses what that client does.
    """

    def __init__(self, coordinator: AsyncCoordinator, books: Books, seed: str) -> None:
        self._coordinator = coordinator
        self._books = books
        self._banks = sorted(coordinator.settings.participants)
        self._seed = seed

    async def work(self, count: int, stop: asyncio.Event) -> None:
        """Run `count` clients until `stop` is set, and let every transaction under way end."""
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                random = Random(f"{self._seed}:{number}")  # noqa: S311 - money that is not real
                group.create_task(self._client(random, stop))

    async def _client(self, random: Random, stop: asyncio.Event) -> None:
        while not stop.is_set():
            work, which, pause = draw_work(random, self._banks), random.random(), random.random()
            answer = await self._carry(work, which)
            await asyncio.sleep(pause_after(answer, pause))

    async def _carry(self, work: Work, which: float) -> Answer:
        """Try once; whatever comes of it is told, not raised."""
        tx = self._coordinator.transaction(read_only=True if work.shape == "reader" else None)
        attempt = self._books.begin(str(tx.id), work, which)
        in_block = False
        answer: Answer = "committed"
        try:
            async with tx:
                try:
                    async with asyncio.timeout(PATIENCE):
                        await self._block(tx, attempt)
                except Exception:
                    in_block = True
                    raise
        except Exception as error:  # noqa: BLE001 - raised again if it tells nothing
            answer = answer_for(error, in_block=in_block)
        attempt.end(answer, tx.unapplied)
        return answer

    async def _block(self, tx: AsyncTransaction, attempt: Attempt) -> None:
        txid, banks = attempt.to_look_for
        for bank in banks:
            attempt.saw(bank, await _count(await tx.connection(bank), txid))
        for leg in attempt.work.legs:
            connection = await tx.connection(leg.account.bank)
            await connection.execute(leg.sql(attempt.txid))
        if attempt.work.shape == "self-abort":
            raise ChangedMind


async def _count(connection: Any, txid: str) -> int:
    """Count a transaction's rows, over whichever driver's connection."""
    sql = COUNT.format(txid)
    if hasattr(connection, "fetchval"):
        return int(await connection.fetchval(sql))
    cursor = await connection.execute(sql)
    return int((await cursor.fetchone())[0])
