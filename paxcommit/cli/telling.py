"""How an error is told: what happened, what it means for the data, what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from paxcommit.cli.exits import Exit
from paxcommit.errors import (
    ClusterError,
    ConfigurationError,
    IdentityMismatch,
    InvalidTxId,
    InvariantViolation,
    NotEnoughAcceptors,
    OutcomeUnknown,
    ParticipantUnavailable,
    PaxcommitError,
    SchemaError,
    TransactionAborted,
)

__all__ = ["Trouble", "trouble"]

_NOTHING = "Nothing was changed."


@dataclass(frozen=True, slots=True)
class Trouble:
    """An expected error, in three sentences and an exit code.

    Attributes:
        kind: The error's class, for scripts.
        what: What happened.
        data: What it means for the data.
        advice: What to do.
        code: The exit code.
    """

    kind: str
    what: str
    data: str
    advice: str
    code: Exit

    @property
    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        error = asdict(self)
        del error["code"]
        return {"error": error}


def trouble(error: PaxcommitError) -> Trouble:
    """Put an error into words."""
    data, advice, code = _explain(error)
    return Trouble(type(error).__name__, str(error), data, advice, code)


def _explain(error: PaxcommitError) -> tuple[str, str, Exit]:
    match error:
        case ConfigurationError() | InvalidTxId():
            return _NOTHING, "Correct it and run the command again.", Exit.USAGE
        case SchemaError():
            return _NOTHING, "Run `paxcommit init`, with the newest code in use.", Exit.PROBLEM
        case IdentityMismatch():
            return (
                "That server is not used, so nothing was changed there.",
                "Point the DSN back to the server that `paxcommit init` saw; a restored copy or a "
                "promoted standby must not vote. `paxcommit doctor` shows which one is which.",
                Exit.PROBLEM,
            )
        case NotEnoughAcceptors() | ParticipantUnavailable():
            return (
                "Nothing was changed here; transactions already begun wait and are not lost.",
                "Start the servers, check DSNs and network, and run the command again.",
                Exit.UNREACHABLE,
            )
        case ClusterError():
            return _NOTHING, "Repair it and run the command again.", Exit.PROBLEM
        case TransactionAborted():
            return (
                "Nothing of it is or will be committed.",
                "The work may be done again, in a new transaction.",
                Exit.ABORTED,
            )
        case OutcomeUnknown():
            return (
                "It may be committed: do not do the work again.",
                "Ask again with `paxcommit outcome`.",
                Exit.UNDECIDED,
            )
        case InvariantViolation():
            return (
                "Nothing further was done for the transaction concerned.",
                "Keep the databases as they are and report this message as a bug.",
                Exit.DAMAGE,
            )
        case _:
            return (
                _NOTHING,
                "Run the command again; `paxcommit doctor` may know more.",
                Exit.PROBLEM,
            )
