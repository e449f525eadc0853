"""What cannot be, whatever the protocol does: time, processes, and who may say what when."""

from __future__ import annotations

from collections.abc import Iterator

from paxcommit.errors import InvalidTxId
from paxcommit.ids import TxId
from paxcommit.testing.chaos.events import Answered, Begun, ProcessEnded, ProcessStarted, Recovered
from paxcommit.testing.chaos.judging_facts import Facts, Transaction
from paxcommit.testing.chaos.verdict import Violation

__all__ = ["check_order", "check_processes"]


def check_order(facts: Facts) -> Iterator[Violation]:
    """Time, and one beginning and one answer per transaction."""
    above = 0.0
    for line, event in enumerate(facts.events, start=1):
        if event.at < above:
            detail = f"{event.at:.6f} s comes after {above:.6f} s"
            yield Violation("time-runs-backwards", (line - 1, line), detail)
        above = event.at
    for transaction in facts.transactions.values():
        yield from _transaction(facts, transaction)


def _transaction(facts: Facts, transaction: Transaction) -> Iterator[Violation]:
    txid = transaction.txid
    if not transaction.begun:
        yield from _strange(facts, transaction)
        return
    first, begun = transaction.begun[0]
    if len(transaction.begun) > 1:
        lines = tuple(line for line, _ in transaction.begun)
        processes = ", ".join(sorted({each.process for _, each in transaction.begun}))
        yield Violation("begun-twice", lines, f"begun by {processes}", txid)
    answers = transaction.answers
    for line, answer in answers:
        if line < first:
            detail = f"answered {answer.answer} before it began"
            yield Violation("answered-before-begun", (line, first), detail, txid)
        if answer.process != begun.process:
            detail = f"begun by {begun.process}, answered by {answer.process}"
            yield Violation("answered-elsewhere", (first, line), detail, txid)
    if len(answers) > 1:
        lines = tuple(line for line, _ in answers)
        detail = "answered " + ", then ".join(each.answer for _, each in answers)
        yield Violation("answered-twice", lines, detail, txid)


def _strange(facts: Facts, transaction: Transaction) -> Iterator[Violation]:
    """Nobody began it: recoverers may meet others' transactions in the user's own cluster."""
    told = transaction.answers or transaction.asked or transaction.rows
    if told or facts.run.where == "embedded":
        lines = [line for line, *_ in (*transaction.answers, *transaction.asked)]
        lines += [line for line, _ in transaction.recovered]
        lines += [line for line, _ in (*transaction.deeds, *transaction.damage)]
        lines += [row.line for row in transaction.rows]
        where = sorted({row.bank for row in transaction.rows})
        detail = f"it is at {', '.join(where)}" if where else "somebody speaks of it"
        yield Violation("nobody-began", tuple(sorted(lines)), detail, transaction.txid)


def check_processes(facts: Facts) -> Iterator[Violation]:
    """Every process starts once, ends once, and says nothing before or after."""
    started: dict[str, tuple[int, ProcessStarted]] = {}
    incarnations: dict[str, int] = {}
    for line, event in facts.of(ProcessStarted):
        if event.process in started:
            lines = (started[event.process][0], line)
            yield Violation("started-twice", lines, f"two processes are called {event.process}")
        started[event.process] = line, event
        if not event.incarnation:
            continue
        if event.incarnation in incarnations:
            lines = (incarnations[event.incarnation], line)
            yield Violation("started-twice", lines, f"two are incarnation {event.incarnation}")
        incarnations[event.incarnation] = line
    ended: dict[str, int] = {}
    for line, end in facts.of(ProcessEnded):
        if end.process not in started:
            yield Violation("unknown-process", (line,), f"{end.process} ended and never started")
        ended[end.process] = line
        if end.how == "failed":
            detail = f"{end.process}: {end.detail}" if end.detail else end.process
            yield Violation("process-failed", (line,), detail)
    for name, (line, _) in started.items():
        if name not in ended:
            yield Violation("process-left", (line,), f"{name} never ended")
    yield from _speech(facts, started, ended)


def _speech(
    facts: Facts, started: dict[str, tuple[int, ProcessStarted]], ended: dict[str, int]
) -> Iterator[Violation]:
    spoken: list[tuple[int, Begun | Answered | Recovered]] = []
    spoken += facts.of(Begun)
    spoken += facts.of(Answered)
    spoken += facts.of(Recovered)
    for line, said in spoken:
        if said.process not in started or started[said.process][0] > line:
            detail = f"{said.process} was never seen to start"
            yield Violation("unknown-process", (line,), detail, said.txid)
        elif not isinstance(said, Recovered) and ended.get(said.process, line) < line:
            lines = (ended[said.process], line)
            detail = f"{said.process} had ended and said: {said.event}"
            yield Violation("answered-after-death", lines, detail, said.txid)
    for line, begun in facts.of(Begun):
        if begun.process in started and not _owns(started[begun.process][1], begun.txid):
            lines = (started[begun.process][0], line)
            detail = f"{begun.process} is another incarnation"
            yield Violation("foreign-id", lines, detail, begun.txid)


def _owns(process: ProcessStarted, txid: str) -> bool:
    """R1: an incarnation draws its own ids."""
    try:
        return f"{TxId.parse(txid).coordinator:016x}" == process.incarnation
    except InvalidTxId:
        return False
