"""The steps of commit and recovery at which a test may break in, and what their names look like."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from paxcommit.errors import ConfigurationError

__all__ = ["STEPS", "Step", "Target", "check_step", "commit_steps", "step_names"]


class Target(enum.Enum):
    """At whom a step is done; the middle of its name."""

    PARTICIPANT = "participant"
    ACCEPTOR = "acceptor"
    OUTCOME = "outcome"


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of step.

    Attributes:
        target: What stands after the colon.  A step at a participant or an acceptor has a
            ``.before`` and an ``.after``; ``tell:committed`` has neither.
        what: What is done, in words.
    """

    target: Target
    what: str


STEPS: Mapping[str, Step] = {
    "prepare": Step(Target.PARTICIPANT, "insert the branch row and PREPARE TRANSACTION"),
    "commit-only": Step(Target.PARTICIPANT, "commit the only participant, in one phase"),
    "commit-reader": Step(Target.PARTICIPANT, "commit a SERIALIZABLE reader before the voting"),
    "phase1a": Step(Target.ACCEPTOR, "lead a ballot above 0: phase 1"),
    "phase2a": Step(Target.ACCEPTOR, "propose the participants and their votes"),
    "learn": Step(Target.ACCEPTOR, "ask what is accepted"),
    "tell": Step(Target.OUTCOME, "the outcome is known, and not yet applied"),
    "commit-prepared": Step(Target.PARTICIPANT, "COMMIT PREPARED"),
    "rollback-prepared": Step(Target.PARTICIPANT, "ROLLBACK PREPARED, before anybody voted"),
    "rollback-open": Step(Target.PARTICIPANT, "roll back what was not prepared"),
    "rollback-and-fence": Step(Target.PARTICIPANT, "recovery: ROLLBACK PREPARED, and a fence"),
    "fence-after-rollback": Step(Target.PARTICIPANT, "recovery: the fence, the gid being gone"),
    "end-reader": Step(Target.PARTICIPANT, "end a branch that wrote nothing, after the decision"),
    "drop-reader": Step(Target.PARTICIPANT, "roll back a branch that wrote nothing"),
    "fence": Step(Target.PARTICIPANT, "forced outcome: fence the transaction off"),
    "terminate": Step(Target.PARTICIPANT, "forced outcome: end a session in the fence's way"),
}
"""Every kind of step, by the beginning of its name."""

_OUTCOMES = ("committed", "aborted", "open")


def step_names(participants: Iterable[str], acceptors: Iterable[str]) -> Iterator[str]:
    """Every name that a step can have with these participants and acceptors."""
    targets = {
        Target.PARTICIPANT: tuple(participants),
        Target.ACCEPTOR: tuple(acceptors),
        Target.OUTCOME: _OUTCOMES,
    }
    for name, step in STEPS.items():
        for target in targets[step.target]:
            if step.target is Target.OUTCOME:
                yield f"{name}:{target}"
            else:
                yield from (f"{name}:{target}.before", f"{name}:{target}.after")


def commit_steps(participants: Sequence[str], *, failures: int = 1) -> list[str]:
    """List the steps of a commit without faults, in order; each is reached in every such commit.

    For ``pytest.mark.parametrize`` and `Failpoints.kill_at`: a transaction that wrote at all of
    these participants, killed at each of its steps.  ``#2`` means: the second time.

    Args:
        participants: Where the transaction writes.
        failures: F.
    """
    if len(participants) == 1:
        (only,) = participants
        return [f"commit-only:{only}.before", f"commit-only:{only}.after", "tell:committed"]
    # F+1 acceptors are asked, whichever, and answer in any order.
    quorum = range(1, failures + 2)
    return [
        *(f"prepare:{name}.before" for name in participants),
        *(f"prepare:{name}.after" for name in participants),
        *(f"phase2a:*.before#{nth}" for nth in quorum),
        *(f"phase2a:*.after#{nth}" for nth in quorum),
        "tell:committed",
        *(f"commit-prepared:{name}.before" for name in participants),
        *(f"commit-prepared:{name}.after" for name in participants),
    ]


def check_step(
    pattern: str, participants: Sequence[str] | None, acceptors: Sequence[str] | None
) -> None:
    """Refuse a pattern that no step's name can ever match.

    Args:
        pattern: A name, or a pattern as `fnmatch` has it.
        participants, acceptors: Who there is, or None if that is not known: then any target will
            do.

    Raises:
        ConfigurationError: With what may have been meant.
    """
    __tracebackhide__ = True
    anybody = pattern.partition(":")[2].rpartition(".")[0] or "x"
    names = list(step_names(participants or [anybody], acceptors or [anybody]))
    if any(fnmatchcase(name, pattern) for name in names):
        return
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(STEPS)}"
    raise ConfigurationError(f"no step is called {pattern!r}; {hint}")
