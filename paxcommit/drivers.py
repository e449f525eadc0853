"""Which of the installed drivers is used; adapters are found by their entry point, not imported."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from paxcommit.errors import DriverError
from paxcommit.ports import AsyncDriver, Driver, SyncDriver

__all__ = ["choose_async", "choose_sync"]

_GROUP = "paxcommit.drivers"


def choose_async(name: str | None = None) -> AsyncDriver:
    """Return the asyncio driver `name`, or the first that is installed (asyncpg before psycopg).

    Raises:
        DriverError: It is unknown, not installed or has no asyncio surface, or none is installed;
            names the extra to install.
    """
    for driver in _candidates(name):
        if driver.aio is not None:
            return driver.aio
    raise DriverError(_none_fits(name, "asyncio", "asyncpg"))


def choose_sync(name: str | None = None) -> SyncDriver:
    """Return the blocking driver `name`, or the first that is installed.

    Raises:
        DriverError: As in `choose_async`.
    """
    for driver in _candidates(name):
        if driver.sync is not None:
            return driver.sync
    raise DriverError(_none_fits(name, "blocking", "psycopg"))


def _candidates(name: str | None) -> list[Driver]:
    points = {point.name: point for point in entry_points(group=_GROUP)}
    if name is not None and name not in points:
        known = ", ".join(sorted(points)) or "none"
        raise DriverError(f"there is no driver {name!r} (there is: {known}): use one of these")
    names = [name] if name is not None else sorted(points)
    return [driver for each in names if (driver := _load(points[each])) is not None]


def _load(point: EntryPoint) -> Driver | None:
    try:
        driver = point.load()
    except ImportError:
        return None
    if not isinstance(driver, Driver):
        raise DriverError(f"the entry point {point.name!r} of {_GROUP} is no paxcommit driver")
    return driver


def _none_fits(name: str | None, surface: str, extra: str) -> str:
    what = f"driver {name!r} is" if name is not None else "no driver for PostgreSQL is"
    return (
        f"{what} not installed, or has no {surface} surface: install an extra that has one, e.g. "
        f"pip install 'paxcommit[{extra}]'"
    )
