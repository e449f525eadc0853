"""``python -m paxcommit.testing.bank``: ends at SIGTERM, and was true to its word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.ids import TxId
from paxcommit.settings import Settings
from paxcommit.testing import Layout
from paxcommit.testing.bank import judge
from paxcommit.testing.bank.reports import Answered, Opened, Stopped, read_report, write_report
from paxcommit.testing.demo.books import Books

ENOUGH = 20


@pytest.fixture
async def layout(make_layout: Callable[..., Layout]) -> Layout:
    """A cluster with three banks, made but without accounts."""
    layout = make_layout(participants=("bank_a", "bank_b", "bank_c"))
    await initialise(Settings.load(layout.settings), choose_async())
    return layout


def environment(layout: Layout) -> dict[str, str]:
    """The settings as variables, the way containers get them."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PAXCOMMIT_")}
    return {
        **inherited,
        "PAXCOMMIT_CLUSTER": layout.cluster,
        **{f"PAXCOMMIT_ACCEPTORS__{n.upper()}": dsn for n, dsn in layout.acceptors.items()},
        **{f"PAXCOMMIT_PARTICIPANTS__{n.upper()}": dsn for n, dsn in layout.participants.items()},
    }


@pytest.mark.parametrize("options", [[], ["--two-phase"]], ids=["paxos commit", "two-phase"])
def test_clients_tell_what_the_banks_show(layout: Layout, options: list[str]) -> None:
    books, opened = Books(), []
    with subprocess.Popen(
        [sys.executable, "-m", "paxcommit.testing.bank", "--seed", "5", *options],
        env=environment(layout),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            match read_report(line):
                case Answered(kind=kind, txid=txid):
                    books.note(kind, txid)
                case Opened(coordinator=incarnation):
                    opened.append(incarnation)
            if len(books.committed) == ENOUGH:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert not books.unanswered  # the last ones were waited for
    verdict = judge(layout)
    assert verdict.clean
    assert verdict.committed == books.committed
    assert verdict.money_before == 96_000
    if not options:
        assert opened == list({f"{TxId.parse(txid).coordinator:016x}" for txid in books.begun})


@pytest.mark.parametrize(
    "report",
    [Opened("00c0ffee00c0ffee"), Answered("aborted", "1-00c0ffee00c0ffee-4"), Stopped("x")],
)
def test_reports_survive_the_pipe(
    report: Opened | Answered | Stopped, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    write_report(report)
    assert read_report(capfdbinary.readouterr().out) == report
