"""One good history, made by hand: what `bad_histories` changes one thing of at a time.

Three banks, two coordinators (one is killed), a recoverer, a minute of small transfers, and a few
transactions with a story of their own.  The final states follow from the rows, so that an edit of a
row changes the balances with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from paxcommit.testing.chaos.events import (
    VERSION,
    AcceptorRefused,
    Answered,
    Asked,
    Begun,
    Booked,
    DamageReported,
    DecoyPlaced,
    Deed,
    End,
    Event,
    FaultBegun,
    FaultEnded,
    FaultSkipped,
    FinalBank,
    InDoubt,
    Leg,
    ProcessEnded,
    ProcessStarted,
    Recovered,
    Run,
    Seen,
)

BANKS = ("bank_a", "bank_b", "bank_c")
ACCOUNTS = range(1, 5)
OPENED_WITH = 10_000
SECONDS = 60.0
DECOY = "somebody else's"

C1, C2 = "00000000000000c1", "00000000000000c2"
LOCAL = f"1-{C1}-1"
"""Within bank_a; committed."""
REFUSED = f"1-{C1}-2"
"""The client was told aborted."""
REGRET = f"1-{C1}-3"
"""Its own code raised; aborted."""
THREE = f"1-{C1}-4"
"""Between three banks; committed, and read later by `READER`."""
READER = f"1-{C1}-5"
"""Reads only; committed."""
UNKNOWN = f"1-{C1}-6"
"""The client was told unknown; recovered and committed."""
ROLLED_BACK = f"1-{C1}-7"
"""Committed, and its branch at bank_b rolled back by hand: the damage is reported."""
DIED = f"1-{C2}-1"
"""Its coordinator was killed before anybody was told; recovered, aborted."""
SMALL = f"1-{C1}-100"
"""The first of many small transfers from bank_a to bank_b."""
SMALL_ONES = 150

KINDS = (
    "kill-coordinator",
    "kill-recoverer",
    "freeze-coordinator",
    "stop-server",
    "terminated-backends",
    "partition",
    "delay",
    "drop",
    "half-close",
    "black-hole",
    "restored-acceptor",
    "manual-rollback",
    "no-connections",
)
SKIPPED = "disk-error"

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


@dataclass
class Story:
    """A history that can be edited.

    Attributes:
        events: In order, up to the banks' final states.
        rows: Per bank, what the final state shows.
        shift: Per bank and account, what the balance differs by from what the rows make of it.
        prepared: Per bank, the gids at the end.
        locks: Per bank, at the end.
        closed: Accounts that are gone at the end.
        finals: The banks whose final state is told, in this order.
    """

    events: list[Event]
    rows: dict[str, list[Booked]]
    shift: Counter[tuple[str, int]] = field(default_factory=Counter)
    prepared: dict[str, list[str]] = field(default_factory=lambda: {"bank_a": [DECOY]})
    locks: Counter[str] = field(default_factory=Counter)
    closed: set[tuple[str, int]] = field(default_factory=set)
    finals: list[str] = field(default_factory=lambda: list(BANKS))

    def find(self, of: type[Event], /, **fields: Any) -> int:
        """The index of the one event like this."""
        found = [
            index
            for index, event in enumerate(self.events)
            if isinstance(event, of)
            and all(getattr(event, name) == value for name, value in fields.items())
        ]
        assert len(found) == 1, f"{len(found)} events are {of.__name__} {fields}"
        return found[0]

    def change(self, of: type[Event], where: dict[str, Any], /, **changes: Any) -> None:
        """Change fields of one event."""
        index = self.find(of, **where)
        self.events[index] = replace(self.events[index], **changes)

    def drop(self, of: type[Event], /, **fields: Any) -> Event:
        """Take one event out."""
        return self.events.pop(self.find(of, **fields))

    def drop_all(self, kind: type[Event]) -> None:
        """Take all events of a kind out."""
        self.events = [event for event in self.events if not isinstance(event, kind)]

    def after(self, index: int, *kinds_and_fields: tuple[type[Event], dict[str, Any]]) -> None:
        """Put events behind that one, at its time."""
        at = self.events[index].at
        self.events[index + 1 : index + 1] = [
            kind(at=at, **fields) for kind, fields in kinds_and_fields
        ]

    def last(self, of: type[Event], /, **fields: Any) -> None:
        """Put an event at the end, before the final states."""
        self.after(len(self.events) - 1, (of, fields))

    def row(self, bank: str, txid: str) -> Booked:
        """A transaction's one row at a bank."""
        [row] = [row for row in self.rows[bank] if row.txid == txid]
        return row

    def unbook(self, txid: str, *banks: str) -> None:
        """Take a transaction's rows out of these banks."""
        for bank in banks:
            self.rows[bank] = [row for row in self.rows[bank] if row.txid != txid]

    def book(self, txid: str, *legs: tuple[str, int, int]) -> None:
        """Put rows in."""
        for bank, account, amount in legs:
            counterpart = next((other for other, *_ in legs if other != bank), bank)
            self.rows[bank].append(Booked(txid, account, counterpart, amount))

    def lines(self) -> list[bytes]:
        """As in the file."""
        at = self.events[-1].at
        events = [*self.events, *(self._final(bank, at) for bank in self.finals)]
        events.append(End(at, len(events)))
        return [_EVENT.dump_json(event) for event in events]

    def _final(self, bank: str, at: float) -> FinalBank:
        booked: Counter[int] = Counter()
        for row in self.rows[bank]:
            booked[row.account] += row.amount
        return FinalBank(
            at,
            bank,
            {
                number: OPENED_WITH + booked[number] + self.shift[bank, number]
                for number in ACCOUNTS
                if (bank, number) not in self.closed
            },
            tuple(self.rows[bank]),
            tuple(self.prepared.get(bank, ())),
            self.locks[bank],
        )


def good() -> Story:
    """Tell the good story."""
    story = Story(sorted(_events(), key=lambda event: event.at), {bank: [] for bank in BANKS})
    story.book(LOCAL, ("bank_a", 1, -5), ("bank_a", 2, 5))
    story.book(THREE, ("bank_a", 1, -30), ("bank_b", 2, 10), ("bank_c", 3, 20))
    story.book(UNKNOWN, ("bank_a", 3, -7), ("bank_c", 3, 7))
    story.rows["bank_a"].append(Booked(ROLLED_BACK, 4, "bank_b", -40))
    for number in range(SMALL_ONES):
        story.book(_small(number), ("bank_a", 2, -1), ("bank_b", 1, 1))
    return story


def _small(number: int) -> str:
    return f"1-{C1}-{100 + number}"


def _events() -> Iterable[Event]:
    opened = {bank: dict.fromkeys(ACCOUNTS, OPENED_WITH) for bank in BANKS}
    planned = (*KINDS, SKIPPED)
    yield Run(0, VERSION, 7, SECONDS, "embedded", "asyncpg", "chaos", opened, planned, True)
    yield DecoyPlaced(0, "bank_a", DECOY)
    yield FaultSkipped(0, "f0", SKIPPED, "there is no strace here")
    for process, incarnation in (("c1", C1), ("c2", C2)):
        yield ProcessStarted(0.1, process, "coordinator", incarnation, 101)
    yield ProcessStarted(0.1, "r1", "recoverer", "", 103)
    yield from _small_transfers()
    yield from _faults()
    yield from _told(1.0, LOCAL, "local", "committed", ("bank_a", 1, -5), ("bank_a", 2, 5))
    yield from _told(1.1, REFUSED, "transfer", "aborted", ("bank_a", 1, -9), ("bank_b", 1, 9))
    yield from _told(1.2, REGRET, "self-abort", "aborted", ("bank_a", 1, -8), ("bank_b", 1, 8))
    three = (("bank_a", 1, -30), ("bank_b", 2, 10), ("bank_c", 3, 20))
    yield from _told(1.3, THREE, "transfer", "committed", *three)
    yield Seen(1.51, "c1", READER, THREE, dict.fromkeys(BANKS, True))
    yield from _told(1.5, READER, "reader", "committed")
    # The first coordinator to die, in the first fault.
    yield Begun(4.1, DIED, "c2", "transfer", _legs(("bank_b", 3, -6), ("bank_c", 1, 6)))
    yield ProcessEnded(4.2, "c2", "killed", "SIGKILL")
    yield Recovered(4.3, DIED, "aborted", "r1")
    yield from _told(24.5, UNKNOWN, "transfer", "unknown", ("bank_a", 3, -7), ("bank_c", 3, 7))
    yield Recovered(25.1, UNKNOWN, "committed", "r1")
    yield AcceptorRefused(45.0, "a3", "its mark is below the one that others remember")
    rolled_back = (("bank_a", 4, -40), ("bank_b", 4, 40))
    yield from _told(48.2, ROLLED_BACK, "transfer", "committed", *rolled_back)
    yield Deed(48.215, ROLLED_BACK, "bank_b")
    yield DamageReported(49.0, ROLLED_BACK, "bank_b", "lost-branch")
    for second in range(60):
        count = 2 if second in (4, 24) else 0
        yield InDoubt(float(second), count, 0.4 if count else 0.0, 0)
    yield ProcessEnded(60.5, "c1", "stopped", "")
    yield ProcessEnded(60.6, "r1", "stopped", "")
    yield Asked(61.0, DIED, "aborted", "judge", True)
    yield Asked(61.1, UNKNOWN, "committed", "judge", True)


def _small_transfers() -> Iterable[Event]:
    for number in range(SMALL_ONES):
        at = 0.2 + number * 0.397
        yield from _told(
            at, _small(number), "transfer", "committed", ("bank_a", 2, -1), ("bank_b", 1, 1)
        )


def _faults() -> Iterable[Event]:
    for number, kind in enumerate(KINDS, start=1):
        target = "a3" if kind == "restored-acceptor" else f"target {number}"
        yield FaultBegun(4.0 * number, f"f{number}", kind, target)
        yield FaultEnded(4.0 * number + 2, f"f{number}", {"count": number, "seen": "by hand"})


def _legs(*legs: tuple[str, int, int]) -> tuple[Leg, ...]:
    return tuple(Leg(*leg) for leg in legs)


def _told(
    at: float, txid: str, shape: Any, answer: Any, *legs: tuple[str, int, int]
) -> Iterable[Event]:
    yield Begun(at, txid, "c1", shape, _legs(*legs))
    yield Answered(at + 0.02, txid, "c1", answer, 0.02)


def calm(story: Story, start: float, end: float) -> None:
    """Have no fault between these times: those that begin there are made a bit earlier."""
    for index, event in enumerate(story.events):
        if isinstance(event, FaultBegun | FaultEnded | AcceptorRefused) and start < event.at < end:
            story.events[index] = replace(event, at=start)
    story.events.sort(key=lambda event: event.at)


def silence(story: Story, start: float, end: float) -> None:
    """Have nothing begin between these times, and many more read before, so that it is enough."""
    silent = {
        event.txid for event in story.events if isinstance(event, Begun) and start < event.at < end
    }
    story.events = [
        event
        for event in story.events
        if not (isinstance(event, Begun | Answered) and event.txid in silent)
    ]
    for txid in silent:
        story.unbook(txid, *BANKS)
    index = max(index for index, event in enumerate(story.events) if event.at <= start - 1)
    for number in range(100):
        txid = f"1-{C1}-{9000 + number}"
        story.after(
            index,
            (Begun, {"txid": txid, "process": "c1", "shape": "reader", "legs": ()}),
            (Answered, {"txid": txid, "process": "c1", "answer": "committed", "took": 0.0}),
        )
