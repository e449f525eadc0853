"""Interning: local states become small integers, so that a global state is a tuple of these.

Machines are pure and deterministic: what one does follows from its local state and the event.  So
each transition is computed once, by the real code, and looked up ever after.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from paxcommit.protocol.coordinator import CommitMachine
from paxcommit.protocol.leader import Leader
from paxcommit.protocol.recovery import RecoveryMachine

__all__ = ["Interner", "Renaming", "freeze"]

T = TypeVar("T")

_WITHOUT_EFFECT = frozenset(
    {
        *("reason", "_reason", "detail", "_unserved"),  # words for people
        *("attempts", "_patience"),  # how long to wait, and time is not modelled
        *("txid", "_acceptors", "_terms"),  # never change
    }
)
"""What a machine remembers but never decides by: states that differ in it only are one."""

_ASKING = ("_answered", "_silent", "_under_way", "_stale", "_known", "_registrar_known")


def _unread(machine: Any) -> tuple[str, ...]:
    """What a machine sets again before it next reads it, or never reads in the state it is in."""
    match machine:
        case Leader() if machine._values is not None:
            return ("_promises",)
        case RecoveryMachine() if machine._state.name == "APPLYING":
            return (*_ASKING, "_committed_branch", "_fencing", "_learner", "_leader")
        case RecoveryMachine() if machine._state.name == "LEADING":
            return (*_ASKING, "_committed_branch", "_fencing")
        case CommitMachine() if machine._state.name == "APPLYING":
            return ("_rms", "_unanswered", "_readers", "_learner", "_leader", "_doomed")
        case _:
            return ()


def freeze(value: Any) -> Hashable:
    """Spell a value as something hashable that is equal iff the value behaves alike."""
    kind = type(value)
    plan = _plans.get(kind)
    if plan is None:
        plan = _plans[kind] = _plan(value)
    return plan(value)


_plans: dict[type, Callable[[Any], Hashable]] = {}


def _plan(value: object) -> Callable[[Any], Hashable]:
    """How values of this type are spelled."""
    name = type(value).__name__
    if isinstance(value, Mapping):
        return lambda it: frozenset([(freeze(key), freeze(held)) for key, held in it.items()])
    if isinstance(value, AbstractSet):
        return lambda it: frozenset([freeze(each) for each in it])
    if isinstance(value, list | tuple):
        return lambda it: tuple([freeze(each) for each in it])
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.name not in _WITHOUT_EFFECT]
        return lambda it: (name, *[freeze(getattr(it, each)) for each in names])
    ours = type(value).__module__.startswith(("paxcommit.", "tests."))
    if ours and not isinstance(value, Enum):
        return lambda it: (name, *_attributes(it))
    return lambda it: it


def _attributes(it: object) -> list[Hashable]:
    skipped = _WITHOUT_EFFECT.union(_unread(it))
    return [
        (name, freeze(held if name != "unapplied" else set(held)))
        for name, held in sorted(vars(it).items())
        if name not in skipped
    ]


class Renaming:
    """Copies of machines, in which acceptors may bear each other's names.

    Args:
        names: The acceptors' names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def store(self, machine: object) -> bytes:
        """A copy of a machine, to be revived any number of times."""
        stored = io.BytesIO()
        pickler = pickle.Pickler(stored, pickle.HIGHEST_PROTOCOL)
        # Set on the instance, which both picklers allow; typeshed knows the subclass's way only.
        pickler.persistent_id = self._named  # type: ignore[method-assign]
        pickler.dump(machine)
        return stored.getvalue()

    def revive(self, stored: bytes, names: Mapping[str, str] | None = None) -> Any:
        """A fresh copy of what was stored, with other names for the acceptors if need be."""
        unpickler = pickle.Unpickler(io.BytesIO(stored))
        unpickler.persistent_load = (  # type: ignore[method-assign]
            names.__getitem__ if names is not None else _same
        )
        return unpickler.load()

    def _named(self, value: object) -> str | None:
        return value if isinstance(value, str) and value in self._names else None


def _same(name: str) -> str:
    return name


class Interner(Generic[T]):
    """Numbers things in the order in which they come, the same number for equal keys."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._things: list[T] = []

    def number(self, key: Hashable, thing: T) -> int:
        """The number of `thing`, which is known by `key`."""
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._things)
            self._things.append(thing)
        return number

    def __getitem__(self, number: int) -> T:
        return self._things[number]

    def __len__(self) -> int:
        return len(self._things)
