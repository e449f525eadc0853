"""What can happen to the bytes on a link: cut, delayed, reset, half closed, swallowed."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Literal, Protocol, TypeAlias

__all__ = ["BlackHole", "Cut", "Delay", "Direction", "Drop", "HalfClose", "Rule", "Wire"]

Direction: TypeAlias = Literal["up", "down"]
"""``up`` is from the client to the server."""


class Wire(Protocol):
    """One connection through the proxy, as a rule may treat it."""

    def deliver(self, direction: Direction, data: bytes) -> None:
        """Pass bytes on."""

    def finish(self, direction: Direction) -> None:
        """Send FIN in this direction; whatever else arrives in it is swallowed."""

    def reset(self) -> None:
        """Send RST to both ends."""

    def go_silent(self, rule: Rule) -> None:
        """Swallow everything from now on, also FIN and RST, until `rule` is lifted; then reset."""


class Rule:
    """Treats the traffic of some routes while it is in force; this one passes everything.

    Attributes:
        counted: What it did, by what: bytes, connections.  The proof that it fired.
    """

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def holds(self, direction: Direction) -> bool:
        """Whether bytes in this direction are kept back for now."""
        return False

    def delay(self, direction: Direction) -> float:
        """Seconds by which bytes that arrive now are late; order is kept."""
        return 0.0

    def pass_on(self, wire: Wire, direction: Direction, data: bytes) -> bool:
        """Treat bytes that are about to be delivered; tell whether others may still do so."""
        return True

    @property
    def resets_when_lifted(self) -> bool:
        """Whether connections that it held back anything of are reset in the end."""
        return False


class Cut(Rule):
    """A partition: what is sent stays on its way, new connections wait for an answer.

    Args:
        up: Whether requests do not arrive.
        down: Whether answers do not.
        late: Whether everything still arrives when the cut heals, as after a retransmission;
            otherwise the connections are reset then.
    """

    def __init__(self, *, up: bool = True, down: bool = True, late: bool = True) -> None:
        super().__init__()
        self._cut = {"up": up, "down": down}
        self._late = late

    def holds(self, direction: Direction) -> bool:
        """See `Rule.holds`."""
        return self._cut[direction]

    @property
    def resets_when_lifted(self) -> bool:
        """See `Rule.resets_when_lifted`."""
        return not self._late


class Delay(Rule):
    """Everything takes longer, both ways.

    Args:
        random: Chooses.
        longest: Seconds.
    """

    def __init__(self, random: Random, longest: float) -> None:
        super().__init__()
        self._random = random
        self._longest = longest

    def delay(self, direction: Direction) -> float:
        """See `Rule.delay`."""
        return self._random.uniform(0, self._longest)


class Drop(Rule):
    """Connections are reset in the middle of whatever goes on, and what was on its way is lost.

    Args:
        random: Chooses.
        chance: Of each chunk of bytes, to be the one.
    """

    def __init__(self, random: Random, chance: float) -> None:
        super().__init__()
        self._random = random
        self._chance = chance

    def pass_on(self, wire: Wire, direction: Direction, data: bytes) -> bool:
        """See `Rule.pass_on`."""
        if self._random.random() >= self._chance:
            return True
        self.counted["connections reset"] += 1
        self.counted["bytes dropped"] += len(data)
        wire.reset()
        return False


class HalfClose(Rule):
    """One direction of a connection ends while the other one goes on.

    ``up``: the server gets a request and FIN.  ``down``: the client gets FIN in place of an answer.

    Args:
        random: Chooses.
        direction: Which one ends.
        chance: Of each chunk of bytes in it.
    """

    def __init__(self, random: Random, direction: Direction, chance: float) -> None:
        super().__init__()
        self._random = random
        self._direction = direction
        self._chance = chance

    def pass_on(self, wire: Wire, direction: Direction, data: bytes) -> bool:
        """See `Rule.pass_on`."""
        if direction != self._direction or self._random.random() >= self._chance:
            return True
        self.counted["connections half closed"] += 1
        if direction == "up":
            wire.deliver(direction, data)
        wire.finish(direction)
        return False


class BlackHole(Rule):
    """A request arrives, and then the connection falls silent for ever, both ways.

    Args:
        random: Chooses.
        chance: Of each request.
    """

    def __init__(self, random: Random, chance: float) -> None:
        super().__init__()
        self._random = random
        self._chance = chance

    def pass_on(self, wire: Wire, direction: Direction, data: bytes) -> bool:
        """See `Rule.pass_on`."""
        if direction != "up" or self._random.random() >= self._chance:
            return True
        self.counted["connections swallowed"] += 1
        wire.deliver(direction, data)
        wire.go_silent(self)
        return False
