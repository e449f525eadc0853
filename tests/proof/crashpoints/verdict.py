"""What must be true after a case, whatever died in it."""

from __future__ import annotations

from collections.abc import Iterator

from .cases import CUTS, Case
from .children import Told
from .examiner import Facts

__all__ = ["promises", "violations"]


def promises(told: Told) -> set[str]:
    """What a process promised its client, or was about to: the decision was told already."""
    given = {point.removeprefix("tell:") for point in told.points if point.startswith("tell:")}
    return (given | {told.values.get("answer", "open")}) - {"open", "unknown"}


def violations(case: Case, told: Told, recoverer: Told | None, facts: Facts) -> Iterator[str]:
    """Say in words what is wrong; nothing if all is well."""
    for who, process in (("coordinator", told), ("recoverer", recoverer)):
        if process is not None and process.hung:
            yield f"the {who} hangs"
        if process is not None and "failed" in process.values:
            yield f"the {who} failed: {process.values['failed']}"
    if facts.prepared:
        yield f"still prepared: {', '.join(facts.prepared)}"
    if facts.locks:
        yield f"prepared transactions still hold locks: {facts.locks}"
    if facts.damages:
        yield f"damage: {facts.damages}"
    yield from _atomicity(case, facts)
    committed = bool(facts.noted)
    outcome = "committed" if committed else "aborted"
    for who, process in (("coordinator", told), ("recoverer", recoverer)):
        for promised in promises(process) if process is not None else ():
            if promised != outcome:
                yield f"the {who} told {promised}, and the databases say {outcome}"
    if recoverer is not None:
        for txid, resolved in recoverer.values.get("resolved", {}).items():
            if resolved not in ("open", outcome):
                yield f"the recoverer resolved {txid} as {resolved}, the databases say {outcome}"
    if facts.outcome not in (outcome, None) and (committed or facts.outcome != "open"):
        yield f"whoever asks is told {facts.outcome}, and the databases say {outcome}"
    if case.force and facts.outcome == "open":
        yield "its outcome was forced, and it is open"
    yield from _expectations(case, told, committed)


def _atomicity(case: Case, facts: Facts) -> Iterator[str]:
    noted, writers = set(facts.noted), set(case.writers)
    if noted and noted != writers:
        yield f"half committed: {sorted(noted)} of {sorted(writers)} show it"
    kind = "only" if case.scenario == "lone" else "branch"
    for name in case.participants:
        row = facts.kinds.get(name)
        if name in noted and row != kind:
            yield f"{name} committed it without a row of kind {kind}: {row}"
        if name not in noted and row not in (None, "fence"):
            yield f"{name} has a row of kind {row}, but not what it wrote"


def _expectations(case: Case, told: Told, committed: bool) -> Iterator[str]:
    answer = told.values.get("answer")
    if case.coordinator is None:
        wanted = "aborted" if case.scenario in ("raise", "refused") else "committed"
        if answer != wanted or committed != (wanted == "committed"):
            yield f"nothing happened to it, and it was answered {answer} instead of {wanted}"
    elif case.coordinator.deed in CUTS:
        if answer is None:
            yield "the client never got an answer"
        if answer == "unknown" and case.scenario != "lone":
            yield "one connection was lost, and the client got no definite answer (R22)"
    elif case.coordinator.deed == "stop" and answer is None:
        yield "it went on, and its client never got an answer"
    if case.scenario in ("raise", "refused") and committed:
        yield f"it was to abort ({case.scenario}), and is committed"
