"""What the clients were told, put down outside of them, since they do not survive."""

from __future__ import annotations

from dataclasses import dataclass, field

from paxcommit.testing.bank import Kind

__all__ = ["Books"]


@dataclass(slots=True)
class Books:
    """Transaction ids, by what their clients heard.

    Attributes:
        begun: All of them.
        committed: Acknowledged.
        aborted: Refused, definitely.
        unknown: The client was told that the outcome is not known.
    """

    begun: set[str] = field(default_factory=set)
    committed: set[str] = field(default_factory=set)
    aborted: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def note(self, kind: Kind, txid: str) -> None:
        """Put down what a client heard of `txid`."""
        match kind:
            case "begun":
                self.begun.add(txid)
            case "committed":
                self.committed.add(txid)
            case "aborted":
                self.aborted.add(txid)
            case "unknown":
                self.unknown.add(txid)

    @property
    def unanswered(self) -> frozenset[str]:
        """Begun, and the client got no answer, or died waiting for one."""
        return frozenset(self.begun - self.committed - self.aborted)
