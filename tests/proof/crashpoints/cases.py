"""One case: what is committed, where which process dies or which message is cut, and its spelling.

A case's spelling is what ``--case`` takes, so that one that failed can be repeated by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from paxcommit.errors import ConfigurationError

__all__ = ["CUTS", "PARTICIPANTS", "Act", "Case", "Deed", "Order", "Scenario", "Surface"]

PARTICIPANTS = ("orders", "billing", "stock")

Scenario: TypeAlias = Literal["commit", "raise", "refused", "reader", "lone"]
"""``commit``: everybody writes and votes.  ``raise``: the block raises.  ``refused``: the last
participant refuses to prepare.  ``reader``: the last one is a SERIALIZABLE reader.  ``lone``: one
participant, one phase."""

Surface: TypeAlias = Literal["asyncpg", "threads"]
"""``threads`` is `Coordinator` and `Recovery` on psycopg."""

Order: TypeAlias = Literal["natural", "fifo", "lifo"]
"""In which order a process's statements reach the servers: as they come, or one after the other
with all that follows from each, the oldest (or the newest) of those that wait first."""

Deed: TypeAlias = Literal["kill", "stop", "lost", "unheard", "heard"]
"""``kill`` the process; ``stop`` it, and wake it up when others have decided (trap 30); or cut a
connection, the process lives on: before the message left, after it was carried out but before the
reply came, or once the reply was there."""

CUTS: tuple[Deed, ...] = ("lost", "unheard", "heard")


@dataclass(frozen=True, slots=True)
class Act:
    """What is done at a point.

    Attributes:
        deed: What.
        point: The point's name, or the message's for a cut.
    """

    deed: Deed
    point: str

    def __str__(self) -> str:
        return f"{self.deed}@{self.point}"

    @classmethod
    def parse(cls, text: str) -> Act:
        """Parse what ``str`` spells."""
        deed, at, point = text.partition("@")
        return cls(_choice(deed, Deed), point) if at else cls("kill", deed)


@dataclass(frozen=True, slots=True)
class Case:
    """See the module.

    Attributes:
        scenario: What the coordinator does.
        n: How many participants there are.
        surface: Which surface of the library runs.
        order: See `Order`.
        coordinator: What happens to the coordinator; None: it lives.
        recovered: Whether a recoverer in a process of its own follows.
        recoverer: What happens to that; None: it lives.
        force: Whether the outcome is forced, instead of looking for prepared branches.
    """

    scenario: Scenario = "commit"
    n: int = 2
    surface: Surface = "asyncpg"
    order: Order = "fifo"
    coordinator: Act | None = None
    recovered: bool = False
    recoverer: Act | None = None
    force: bool = False

    @property
    def participants(self) -> tuple[str, ...]:
        """Who takes part."""
        return PARTICIPANTS[:1] if self.scenario == "lone" else PARTICIPANTS[: self.n]

    @property
    def writers(self) -> tuple[str, ...]:
        """Who writes, and so shows the transaction if it is committed."""
        names = self.participants
        return names[:-1] if self.scenario == "reader" else names

    def at(self, point: str, deed: Deed = "kill") -> Case:
        """The same with something done to the coordinator."""
        return replace(self, coordinator=Act(deed, point))

    def then(self, point: str | None = None, deed: Deed = "kill") -> Case:
        """The same followed by a recoverer, to which something is done at `point`."""
        return replace(self, recovered=True, recoverer=Act(deed, point) if point else None)

    @property
    def alone(self) -> bool:
        """Whether its processes have no other case to see to."""
        stopped = self.coordinator is not None and self.coordinator.deed == "stop"
        return stopped or self.order == "natural" or self.surface == "threads"

    @property
    def kind(self) -> tuple[object, ...]:
        """What cases of one process have in common."""
        kills = [act.deed == "kill" for act in (self.coordinator, self.recoverer) if act]
        return (self.n, self.surface, self.order, self.recovered, self.force, *kills)

    @property
    def opposite(self) -> Order:
        """The recoverer's order: it hears first of those whom the coordinator reached last."""
        opposites: dict[Order, Order] = {"fifo": "lifo", "lifo": "fifo", "natural": "natural"}
        return opposites[self.order]

    def __str__(self) -> str:
        words = [self.scenario, f"n={self.n}", self.surface, self.order]
        words += ["force"] if self.force else []
        words += [f"coordinator={self.coordinator}"] if self.coordinator else []
        words += [f"recoverer={self.recoverer or ''}"] if self.recovered else []
        return ",".join(words)

    @classmethod
    def parse(cls, text: str) -> Case:
        """Parse what ``str`` spells.

        Raises:
            ConfigurationError: It is not such a spelling.
        """
        case = cls()
        for word in text.split(","):
            key, equals, value = word.partition("=")
            if not equals:
                case = case._with(key)
            elif key == "n" and value in ("2", "3"):
                case = replace(case, n=int(value))
            elif key == "coordinator":
                case = replace(case, coordinator=Act.parse(value))
            elif key == "recoverer":
                case = replace(case, recovered=True, recoverer=Act.parse(value) if value else None)
            else:
                raise ConfigurationError(f"--case: {word!r} is not understood")
        return case

    def _with(self, word: str) -> Case:
        if word == "force":
            return replace(self, force=True)
        if word in get_args(Surface):
            return replace(self, surface=_choice(word, Surface))
        if word in get_args(Order):
            return replace(self, order=_choice(word, Order))
        return replace(self, scenario=_choice(word, Scenario))


def _choice(word: str, of: object) -> Any:
    if word not in get_args(of):
        raise ConfigurationError(f"--case: {word!r} is none of {', '.join(get_args(of))}")
    return word
