"""The page for people: one file that needs nothing else, not even a network.

It says nothing that is not in the history: the same file always gives the same page.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paxcommit.errors import ConfigurationError
from paxcommit.testing.chaos.events import FaultBegun, FaultEnded, FaultSkipped, Recovered
from paxcommit.testing.chaos.history import History
from paxcommit.testing.chaos.judging_facts import Facts
from paxcommit.testing.chaos.page_series import make_series
from paxcommit.testing.chaos.verdict import MEANINGS, Verdict, Violation
from paxcommit.testing.demo.result import percentile

__all__ = ["check_page_tools", "render", "write_page"]

_TEMPLATE = "page.html.jinja"
_PER_NAME = 20
_PER_KIND = 40
_RECOVERIES = 200
_LINE = 600
_MISSING = (
    "the page needs Jinja2 and Matplotlib, which come with the extra: pip install "
    "'paxcommit[testing]'"
)


def check_page_tools() -> None:
    """See that a page can be made, before a run and not after it.

    Raises:
        ConfigurationError: What it is made with is not installed.
    """
    try:
        import jinja2  # noqa: F401 - whether it is there
        import matplotlib as _  # noqa: F401 - likewise
    except ImportError:
        raise ConfigurationError(_MISSING) from None


def write_page(
    path: Path, source: Path, history: History, verdict: Verdict, sentences: Mapping[str, str]
) -> None:
    """Write the page.

    Args:
        path: The file; replaced if there is one.
        source: The history's file, which the page names and quotes.
        history: Read from it.
        verdict: The judge's on it.
        sentences: Per kind of fault, what it does.

    Raises:
        ConfigurationError: It cannot be written, or what it is made with is not installed.
    """
    text = render(source, history, verdict, sentences)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def render(source: Path, history: History, verdict: Verdict, sentences: Mapping[str, str]) -> str:
    """Make the page's text; see `write_page`."""
    check_page_tools()
    import jinja2

    from paxcommit.testing.chaos.plots import draw

    data = source.read_bytes()
    facts = Facts(history)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("paxcommit.testing.chaos", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE).render(
        verdict=verdict,
        run=verdict.run,
        picture=draw(make_series(facts)),
        faults=_faults(facts, verdict, sentences),
        fired=sum(verdict.faults.values()),
        skipped=_skipped(facts),
        meant=_meant_to_abort(facts),
        sentences=sentences,
        broken=_broken(verdict, data.splitlines()),
        meanings=MEANINGS,
        recoveries=_recoveries(facts),
        source=source.name,
        digest=hashlib.sha256(data).hexdigest(),
        lines=len(history.events),
    )


@dataclass(frozen=True, slots=True)
class _Broken:
    """All violations of one name; the first of them with the lines they rest on."""

    name: str
    meaning: str
    count: int
    shown: list[tuple[Violation, list[tuple[int, str]]]]


def _broken(verdict: Verdict, lines: list[bytes]) -> list[_Broken]:
    grouped: dict[str, list[Violation]] = defaultdict(list)
    for each in verdict.violations:
        grouped[each.name].append(each)
    return [
        _Broken(
            name,
            MEANINGS[name],
            len(violations),
            [
                (each, [(line, _quote(lines[line - 1], each.txid)) for line in each.lines])
                for each in violations[:_PER_NAME]
            ],
        )
        for name, violations in grouped.items()
    ]


def _quote(line: bytes, txid: str) -> str:
    """A line as it is, but of a bank's final state only what concerns the transaction."""
    event = json.loads(line)
    if event["event"] == "final-bank":
        rows = [row for row in event["transfers"] if row["txid"] == txid]
        event["… rows left out"] = len(event["transfers"]) - len(rows)
        event["transfers"] = rows
        if txid:
            event["… accounts left out"] = len(event.pop("accounts"))
    text = json.dumps(event, ensure_ascii=False)
    return text if len(text) <= _LINE else f"{text[:_LINE]} … ({len(text):,} characters)"


@dataclass(frozen=True, slots=True)
class _Occurrence:
    """One fault."""

    target: str
    start: float
    length: float
    proof: str
    proven: bool


@dataclass(frozen=True, slots=True)
class _Kind:
    """All faults of a kind."""

    name: str
    sentence: str
    fired: int
    seconds: float
    count: int
    occurrences: list[_Occurrence]
    more: int


def _faults(facts: Facts, verdict: Verdict, sentences: Mapping[str, str]) -> list[_Kind]:
    kinds: dict[str, list[tuple[FaultBegun, FaultEnded | None, str]]] = defaultdict(list)
    for fault in facts.faults.values():
        for _, begun in fault.begun:
            ended = fault.ended[0][1] if fault.ended and not fault.skipped else None
            why = fault.skipped[0][1].reason if fault.skipped else "it never ended"
            kinds[begun.kind].append((begun, ended, why))
    return [
        _Kind(
            name,
            sentences.get(name, ""),
            verdict.faults.get(name, 0),
            sum(ended.at - begun.at for begun, ended, _ in found if ended),
            sum(_count(ended) for _, ended, _ in found),
            [_occurrence(*each) for each in found[:_PER_KIND]],
            max(0, len(found) - _PER_KIND),
        )
        for name, found in sorted(kinds.items())
    ]


def _occurrence(begun: FaultBegun, ended: FaultEnded | None, why: str) -> _Occurrence:
    if ended is None:
        return _Occurrence(begun.target, begun.at, 0.0, f"does not count: {why}", False)
    proof = ", ".join(f"{name} {value}" for name, value in ended.proof.items())
    return _Occurrence(
        begun.target, begun.at, ended.at - begun.at, proof or "none", _count(ended) > 0
    )


def _count(ended: FaultEnded | None) -> int:
    count = ended.proof.get("count") if ended else 0
    return count if isinstance(count, int) else 0


def _skipped(facts: Facts) -> dict[str, str]:
    """Why there was none of a kind; what began is told with its kind."""
    begun = {fault.begun[0][1].kind for fault in facts.faults.values() if fault.begun}
    return {each.kind: each.reason for _, each in facts.of(FaultSkipped) if each.kind not in begun}


def _meant_to_abort(facts: Facts) -> int:
    """Transactions whose own code made them abort."""
    return sum(
        each.wish is not None
        and each.wish.shape == "self-abort"
        and any(answer.answer == "aborted" for _, answer in each.answers)
        for each in facts.transactions.values()
    )


def _recoveries(facts: Facts) -> dict[str, Any]:
    """What recoverers finished, and how long after its beginning."""
    found: list[dict[str, Any]] = []
    first = {each.txid: each for _, each in reversed(list(facts.of(Recovered)))}
    for each in sorted(first.values(), key=lambda each: each.at):
        transaction = facts.transactions[each.txid]
        wish = transaction.wish
        found.append(
            {
                "at": each.at,
                "txid": each.txid,
                "outcome": each.outcome,
                "process": each.process,
                "after": each.at - wish.at if wish else None,
            }
        )
    waits = [each["after"] for each in found if each["after"] is not None]
    return {
        "count": len(found),
        "listed": found[:_RECOVERIES],
        "p50": percentile(waits, 0.5),
        "max": max(waits, default=0.0),
    }
