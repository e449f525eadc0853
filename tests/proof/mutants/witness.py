"""A pytest plugin that writes down which tests failed, in which phase, and by which exception.

``pytest -p tests.proof.mutants.witness``; the file is named by `VARIABLE`.  Servers that are lent
take the place of the fixture ``cluster``; see `servers`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import paxcommit
from paxcommit.testing import Cluster
from tests.proof.mutants import servers

__all__ = ["VARIABLE"]

VARIABLE = "MUTANTS_WITNESS"

_failed: list[dict[str, str]] = []
_passed: list[str] = []


def pytest_exception_interact(
    node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any], report: Any
) -> None:
    """Hear of a failure, also of one to collect."""
    if call.excinfo is None:
        return
    error = call.excinfo.value
    _failed.append(
        {
            "node": node.nodeid,
            "when": getattr(report, "when", None) or "collect",
            "kind": type(error).__name__,
            "sqlstate": str(getattr(error, "sqlstate", "") or ""),
            "said": str(error)[:2000],
        }
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Hear of a test that passed."""
    if report.when == "call" and report.passed:
        _passed.append(report.nodeid)


def pytest_sessionfinish() -> None:
    """Write it down; a run that did not get here says nothing."""
    if path := os.environ.get(VARIABLE):
        saw = {"source": paxcommit.__file__, "failed": _failed, "passed": _passed}
        Path(path).write_text(json.dumps(saw), encoding="utf-8")


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: Any) -> Cluster | None:
    """Lend servers to whoever asks for some; ``fresh_cluster`` and the like start their own."""
    address = os.environ.get(servers.VARIABLE)
    if fixturedef.argname != "cluster" or address is None:
        return None
    cluster = servers.borrow(address)
    fixturedef.cached_result = (cluster, fixturedef.cache_key(request), None)
    return cluster
