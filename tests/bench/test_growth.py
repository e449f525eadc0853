"""How cost grows: a tiny run on real servers, and the arithmetic of the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from paxcommit.errors import ConfigurationError
from paxcommit.testing.bench.growth.model import Costs, Latency, bottleneck, latency
from paxcommit.testing.bench.growth.plots import write_picture
from paxcommit.testing.bench.growth.run import play_growth
from paxcommit.testing.bench.growth.sizes import Sizes
from paxcommit.testing.bench.growth.tables import tabulate
from paxcommit.testing.bench.measuring import Schedule

TINY = Sizes(
    participants=(1, 2),
    failures=(0, 1),
    backlogs=(0, 5),
    rows=(0, 1000),
    counted_participants=(1, 2),
    counted_failures=(0,),
    clients=(1, 2),
)


def test_every_series_is_measured_drawn_and_told(tmp_path: Path) -> None:
    told: list[str] = []
    brief = Schedule(seconds=0.1, warm=0.0, repetitions=1, seed=1)
    document = play_growth("asyncpg", TINY, brief, told.append)
    assert len(document["by_participants"]) == len(document["by_failures"]) == 2 * 2 * 3
    assert len(document["by_backlog"]) == len(document["by_rows"]) == 2 * 3
    assert all(
        point["commit_p50_ms"] > 0
        for series in ("by_participants", "by_failures", "by_backlog", "by_rows")
        for point in document[series]
    )
    recovered = [p["backlog"] for p in document["by_backlog"] if "recovered_in_seconds" in p]
    assert recovered == [5]
    empty, full = (
        p["heap_bytes"] for p in document["by_rows"] if p["system"] == "paxcommit-applied"
    )
    assert full > empty + 1000 * 100

    counts = {(p["participants"], p["failures"]): p for p in document["counts"]}
    # One participant commits in one phase (R17); F+1 acceptors write, whatever N is.
    # A hedge now and then is a flush more.
    flushes = {
        at: (round(p["participant_flushes"]), round(p["acceptor_flushes"]))
        for at, p in counts.items()
    }
    assert flushes == {(1, 1): (1, 0), (2, 1): (4, 2), (2, 0): (4, 1)}

    for name in ("growth.svg", "growth.png"):
        write_picture(tmp_path / name, document)
    again = tmp_path / "again.svg"
    write_picture(again, document)
    assert again.read_bytes() == (tmp_path / "growth.svg").read_bytes()
    with pytest.raises(ConfigurationError, match=r"svg or \.png"):
        write_picture(tmp_path / "growth.docx", document)
    text = tabulate(document)
    assert all(line.count("|") > 4 for line in text.splitlines() if line.startswith("|"))
    assert "| 2 | 1 | 8 + 2 |" in text


def test_the_scarcest_server_is_the_one_with_the_most_to_do() -> None:
    kind, limits = bottleneck(Costs(client=0.001, participant=0.0005, acceptor=0.0001), cores=2)
    assert kind == "participant"
    assert limits == pytest.approx(
        {"client process": 1000, "participant": 4000, "acceptor": 20_000}
    )
    assert bottleneck(Costs(0.001, 0.0001, 0.0005), cores=4)[0] == "acceptor"
    assert bottleneck(Costs(0.01, 0.0005), cores=1)[0] == "participant"


def test_a_decided_commit_waits_as_often_as_a_bare_one() -> None:
    each = Latency(round_trip=0.5e-3, flush=1e-3)
    assert latency("paxcommit-decided", each) == latency("bare", each) == pytest.approx(3e-3)
    assert (
        latency("paxcommit-applied", each) == latency("logged-2pc", each) == pytest.approx(4.5e-3)
    )
