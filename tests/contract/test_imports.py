"""One driver is enough, and none is enough to import; adapters are found by entry point."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {absent!r}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Absent())

    from importlib.metadata import entry_points

    import paxcommit, paxcommit.ports, paxcommit.errors, paxcommit.sql.statement

    points = {{point.name: point for point in entry_points(group="paxcommit.drivers")}}
    assert set(points) >= {{"asyncpg", "psycopg"}}
    for name in ("asyncpg", "psycopg"):
        try:
            driver = points[name].load()
        except ModuleNotFoundError as exc:
            assert exc.name in {absent!r}
            print(name, "absent")
        else:
            assert isinstance(driver, paxcommit.ports.Driver) and driver.name == name
            print(name, driver.aio is not None, driver.sync is not None)
"""


@pytest.mark.parametrize(
    ("absent", "told"),
    [
        (set(), ["asyncpg True False", "psycopg True True"]),
        ({"asyncpg"}, ["asyncpg absent", "psycopg True True"]),
        ({"psycopg", "psycopg_pool"}, ["asyncpg True False", "psycopg absent"]),
        ({"asyncpg", "psycopg", "psycopg_pool"}, ["asyncpg absent", "psycopg absent"]),
    ],
)
def test_paxcommit_imports_with_one_driver_or_none(absent: set[str], told: list[str]):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM).format(absent=absent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (told, "")
