"""Which installed driver the commands use."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from paxcommit.errors import DriverError
from paxcommit.ports import AsyncDriver, Driver

__all__ = ["choose_driver"]

_GROUP = "paxcommit.drivers"
_INSTALL = "pip install 'paxcommit[asyncpg]' or 'paxcommit[psycopg]'"


def choose_driver(name: str | None) -> AsyncDriver:
    """Return the async driver `name`, or the first that is installed.

    Args:
        name: As in ``--driver``; None takes asyncpg before psycopg before any other.

    Raises:
        DriverError: It is unknown or not installed, or none is; names the extra to install.
    """
    points = {point.name: point for point in entry_points(group=_GROUP)}
    if name is not None and name not in points:
        known = ", ".join(sorted(points)) or "none"
        raise DriverError(f"there is no driver {name!r} (there is: {known}): use one of these")
    missing = []
    for candidate in [name] if name is not None else sorted(points):
        driver = _load(points[candidate])
        if driver is not None and driver.aio is not None:
            return driver.aio
        missing.append(candidate)
    if name is not None:
        raise DriverError(f"driver {name!r} is not installed: pip install 'paxcommit[{name}]'")
    raise DriverError(f"no driver to talk to PostgreSQL is installed: {_INSTALL}")


def _load(point: EntryPoint) -> Driver | None:
    try:
        driver = point.load()
    except ImportError:
        return None
    if not isinstance(driver, Driver):
        raise DriverError(f"the entry point {point.name!r} of {_GROUP} is no paxcommit driver")
    return driver
