"""Faults of the network, made by the proxy: partitions of five shapes, and four nasty links."""

from __future__ import annotations

from collections.abc import Sequence

from paxcommit.testing.chaos.faults.fault import Kind, NotMade, Occurrence, Proof
from paxcommit.testing.chaos.proxy import Route
from paxcommit.testing.chaos.rules import BlackHole, Cut, Delay, Drop, HalfClose, Rule

__all__ = ["KINDS"]

_LONGEST_DELAY = 0.1
_DROP_CHANCE = 0.05
_HALF_CLOSE_CHANCE = 0.1
_BLACK_HOLE_CHANCE = 0.1


async def _suffer(
    occurrence: Occurrence, target: str, rules: Sequence[tuple[Rule, list[Route]]]
) -> Proof:
    """Have `rules` in force for a while; the proof is what the proxy counted."""
    proxy = occurrence.stage.proxy
    if not any(routes for _, routes in rules):
        raise NotMade("no link of these goes through the proxy")
    occurrence.begin(target)
    try:
        for rule, routes in rules:
            proxy.apply(rule, routes)
        await occurrence.until(lambda: any(rule.counted for rule, _ in rules))
    finally:
        for rule, _ in rules:
            proxy.lift(rule)
    proof: dict[str, int] = {}
    for rule, _ in rules:
        for what, number in rule.counted.items():
            proof[what] = proof.get(what, 0) + number
    return {"count": sum(proof.values()), "known by": "the proxy's own counters", **proof}


def _late(occurrence: Occurrence) -> bool:
    return occurrence.random.random() < 0.5


def _words(*, late: bool) -> str:
    return "what was sent arrives late" if late else "connections are reset in the end"


async def _one_acceptor(occurrence: Occurrence) -> Proof:
    acceptor = occurrence.random.choice(occurrence.stage.acceptors)
    late = _late(occurrence)
    routes = occurrence.stage.proxy.find(sites=[acceptor])
    target = f"everybody from acceptor {acceptor}; {_words(late=late)}"
    return await _suffer(occurrence, target, [(Cut(late=late), routes)])


async def _one_participant(occurrence: Occurrence) -> Proof:
    bank = occurrence.random.choice(occurrence.stage.banks)
    late = _late(occurrence)
    routes = occurrence.stage.proxy.find(sites=[bank])
    target = f"everybody from participant {bank}; {_words(late=late)}"
    return await _suffer(occurrence, target, [(Cut(late=late), routes)])


async def _from_majority(occurrence: Occurrence) -> Proof:
    slot = occurrence.random.choice(occurrence.staff.coordinators)
    acceptors = list(occurrence.stage.acceptors)
    some = sorted(occurrence.random.sample(acceptors, len(acceptors) // 2 + 1))
    late = _late(occurrence)
    routes = occurrence.stage.proxy.find(processes=[slot.name], sites=some)
    target = f"coordinator {slot.name} from {', '.join(some)}; {_words(late=late)}"
    return await _suffer(occurrence, target, [(Cut(late=late), routes)])


async def _one_way(occurrence: Occurrence) -> Proof:
    sites = [*occurrence.stage.acceptors, *occurrence.stage.banks]
    site = occurrence.random.choice(sites)
    late = _late(occurrence)
    routes = occurrence.stage.proxy.find(sites=[site])
    target = f"the answers of {site}, while requests arrive; {_words(late=late)}"
    return await _suffer(occurrence, target, [(Cut(up=False, late=late), routes)])


async def _halves(occurrence: Occurrence) -> Proof:
    """Some processes see some sites only, the others see the others."""
    stage, random = occurrence.stage, occurrence.random
    processes, sites = occurrence.staff.names, [*stage.acceptors, *stage.banks]
    here = random.sample(processes, len(processes) // 2)
    near = random.sample(sites, len(sites) // 2)
    there = [name for name in processes if name not in here]
    far = [site for site in sites if site not in near]
    cut = Cut(late=_late(occurrence))
    routes = stage.proxy.find(processes=here, sites=far)
    routes += stage.proxy.find(processes=there, sites=near)
    target = f"{', '.join(sorted(here))} with {', '.join(sorted(near))} from the others"
    return await _suffer(occurrence, target, [(cut, routes)])


def _process(occurrence: Occurrence) -> tuple[str, list[Route]]:
    """Half of the time all links, else those of one process."""
    proxy = occurrence.stage.proxy
    if occurrence.random.random() < 0.5:
        return "all links", proxy.find()
    name = occurrence.random.choice([slot.name for slot in occurrence.staff.coordinators])
    return f"the links of {name}", proxy.find(processes=[name])


async def _delay(occurrence: Occurrence) -> Proof:
    target, routes = _process(occurrence)
    rule = Delay(occurrence.random, _LONGEST_DELAY)
    return await _suffer(occurrence, f"{target}, up to {_LONGEST_DELAY:g} s", [(rule, routes)])


async def _drop(occurrence: Occurrence) -> Proof:
    target, routes = _process(occurrence)
    return await _suffer(occurrence, target, [(Drop(occurrence.random, _DROP_CHANCE), routes)])


async def _half_close(occurrence: Occurrence) -> Proof:
    target, routes = _process(occurrence)
    requests = HalfClose(occurrence.random, "up", _HALF_CLOSE_CHANCE)
    answers = HalfClose(occurrence.random, "down", _HALF_CLOSE_CHANCE)
    return await _suffer(occurrence, target, [(requests, routes), (answers, routes)])


async def _black_hole(occurrence: Occurrence) -> Proof:
    target, routes = _process(occurrence)
    rule = BlackHole(occurrence.random, _BLACK_HOLE_CHANCE)
    return await _suffer(occurrence, target, [(rule, routes)])


KINDS = (
    Kind(
        "partition-acceptor",
        "One acceptor is cut off from everybody.",
        "links",
        _one_acceptor,
    ),
    Kind(
        "partition-participant",
        "One participant is cut off from everybody.",
        "links",
        _one_participant,
    ),
    Kind(
        "partition-coordinator",
        "One coordinator is cut off from a majority of the acceptors.",
        "links",
        _from_majority,
    ),
    Kind(
        "partition-one-way",
        "Requests reach a server, its answers reach nobody.",
        "links",
        _one_way,
    ),
    Kind(
        "partition-halves",
        "Half of the processes see half of the servers, the others see the others.",
        "links",
        _halves,
    ),
    Kind("delay", "Bytes take up to a tenth of a second longer, each way.", "links", _delay),
    Kind("drop", "Connections are reset amid a message, which is lost.", "links", _drop),
    Kind(
        "half-close",
        "One direction of a connection ends: after a request, or in place of an answer.",
        "links",
        _half_close,
    ),
    Kind(
        "black-hole",
        "A request arrives, then its connection swallows everything, both ways.",
        "links",
        _black_hole,
    ),
)
"""Faults of links."""
