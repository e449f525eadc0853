"""Faults prove that they fired, or say why they did not; the seed fixes what is drawn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest

from paxcommit.sql.statement import Unanswered
from paxcommit.testing import Cluster
from paxcommit.testing.chaos.addresses import (
    labelled,
    needs_own_name,
    redirected,
    upstream_of,
)
from paxcommit.testing.chaos.chronicle import Chronicle
from paxcommit.testing.chaos.events import Event, FaultBegun, FaultEnded, FaultSkipped
from paxcommit.testing.chaos.faults import KINDS, SENTENCES, Kind, Occurrence, make
from paxcommit.testing.chaos.faults.fault import Lane, NotMade, Proof
from paxcommit.testing.chaos.faults.tracing import backends, trace
from paxcommit.testing.chaos.lanes import draw_order
from paxcommit.testing.chaos.proxy import Upstream
from paxcommit.testing.chaos.workload import draw_work

BANKS = ["bank_a", "bank_b", "bank_c"]

CLOCK = """
import asyncio, time
from paxcommit.testing.chaos.clock import MovableClock

async def main():
    loop = asyncio.get_running_loop()
    clock = MovableClock(loop)
    hour = asyncio.Event()
    loop.call_later(3600, hour.set)
    wall, monotonic = clock.jump(-86400, 7200)
    assert -86401 < wall < -86399, wall
    assert 7199 < monotonic < 7201, monotonic
    await hour.wait()
    assert clock.jump(0, -50)[1] >= 0  # a monotonic clock never runs backwards

asyncio.run(main())
"""


def occurrence(act: Callable[[Occurrence], Awaitable[Proof]]) -> tuple[Occurrence, list[Event]]:
    history: list[Event] = []
    kind = Kind("some-kind", "Something.", "links", act)
    nowhere: Any = None
    chronicle = Chronicle(history.append, lambda _: None)
    return Occurrence("f1", kind, nowhere, nowhere, Random(1), 0.0, chronicle), history


async def test_a_fault_that_fired_ends_with_its_proof() -> None:
    async def act(one: Occurrence) -> Proof:
        one.begin("somebody")
        return {"count": 3, "known by": "counting"}

    one, history = occurrence(act)
    assert await make(one)
    began, ended = history
    assert isinstance(began, FaultBegun)
    assert isinstance(ended, FaultEnded)
    assert ended.proof["count"] == 3
    assert ended.at >= began.at


@pytest.mark.parametrize("begins", [True, False])
async def test_a_fault_without_proof_counts_for_nothing(begins: bool) -> None:
    async def act(one: Occurrence) -> Proof:
        if begins:
            one.begin("somebody")
        return {"count": 0 if begins else 1}

    one, history = occurrence(act)
    await make(one)
    assert isinstance(history[-1], FaultSkipped)
    assert "nothing to break" in history[-1].reason


@pytest.mark.parametrize("error", [NotMade("no strace here"), Unanswered("gone"), OSError("gone")])
async def test_a_fault_that_could_not_be_made_says_why(error: Exception) -> None:
    async def act(_: Occurrence) -> Proof:
        raise error

    one, history = occurrence(act)
    assert not await make(one)
    (skipped,) = history
    assert isinstance(skipped, FaultSkipped)
    assert skipped.reason == str(error)


def test_there_are_kinds_for_every_lane_each_with_a_sentence() -> None:
    assert len(KINDS) >= 16
    assert {kind.lane for kind in KINDS.values()} == set(get_args(Lane))
    assert all(name == KINDS[name].name for name in KINDS)
    assert all(sentence.endswith(".") for sentence in SENTENCES.values())
    on_a_users_servers = [kind for kind in KINDS.values() if not kind.own_servers]
    assert len(on_a_users_servers) >= 12


def test_the_seed_fixes_what_clients_do() -> None:
    def drawn(seed: str) -> list[Any]:
        random = Random(seed)
        return [draw_work(random, BANKS) for _ in range(300)]

    assert drawn("7:c1") == drawn("7:c1") != drawn("7:c2")
    shapes = {work.shape for work in drawn("7:c1")}
    assert shapes == {"transfer", "local", "reader", "self-abort"}
    for work in drawn("7:c1"):
        places = [(leg.account.bank, leg.account.number) for leg in work.legs]
        assert sum(leg.amount for leg in work.legs) == 0
        assert places == sorted(set(places))  # everybody locks in this order
        banks = {leg.account.bank for leg in work.legs}
        assert {leg.counterpart for leg in work.legs} <= banks
        if work.shape == "local":
            assert len(banks) == 1
    assert {len(work.legs) for work in drawn("7:c1")} == {0, 2, 3}


def test_the_seed_fixes_which_fault_follows_which() -> None:
    def order(seed: int, count: int) -> list[str]:
        kinds = list(KINDS.values())
        return [kind.name for kind in islice(draw_order(Random(seed), kinds), count)]

    assert order(7, 100) == order(7, 100) != order(8, 100)
    assert set(order(7, len(KINDS))) == set(KINDS)  # everybody's turn comes in the first round


def test_a_processs_clocks_jump_and_its_timers_with_them() -> None:
    subprocess.run([sys.executable, "-c", CLOCK], check=True, timeout=60)


def test_a_dsn_keeps_all_but_its_place() -> None:
    dsn = "postgresql://me:s%2Fecret@db.example:5433/shop?sslmode=require&host=x&port=1"
    assert redirected(dsn, 999) == "postgresql://me:s%2Fecret@127.0.0.1:999/shop?sslmode=require"
    assert upstream_of("postgresql://me@db.example:5433/shop") == Upstream("db.example", 5433)
    assert upstream_of("postgresql:///shop?host=/run/pg") == Upstream("/run/pg/.s.PGSQL.5432", 5432)
    assert labelled("postgresql://db/shop?application_name=mine", "ours") == (
        "postgresql://db/shop?application_name=ours"
    )


@pytest.mark.parametrize(
    ("options", "needs"),
    [("sslmode=verify-full", True), ("sslrootcert=system", True), ("sslmode=verify-ca", False)],
)
def test_a_certificate_that_names_the_host_leaves_no_room_for_a_proxy(
    options: str, needs: bool
) -> None:
    assert needs_own_name(f"postgresql://db/shop?{options}") is needs


async def test_without_strace_disks_do_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotMade, match="no strace"):
        async with trace(tmp_path, [1], "fdatasync:error=EIO", children=False):
            pass


async def test_a_trace_that_cannot_attach_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotMade, match=r"no strace|cannot attach|no process"):
        async with trace(tmp_path, [], "fdatasync:error=EIO", children=False):
            pass


def test_backends_are_those_that_serve_clients(cluster: Cluster) -> None:
    server = cluster.servers[0]
    try:
        found = set(backends(server))
    except NotMade:
        pytest.skip("the server's processes are not on this machine")
    known = {
        pid
        for (pid,) in server.execute(
            "select pid from pg_stat_activity where backend_type <> 'client backend'"
        )
    }
    assert not found & {*known, server.pid}
