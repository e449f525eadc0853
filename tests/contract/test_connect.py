"""Connecting: refused, not reached, or impossible; and no secret leaves (trap 34)."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable

import pytest

from paxcommit.errors import DriverError
from paxcommit.ports import AsyncDriver
from paxcommit.sql.statement import DatabaseError, Sql, Unanswered
from paxcommit.testing import Place

from .conftest import Kit

SECRET = "s3cret"


def told(exc: BaseException) -> str:
    """Everything that a traceback of it, causes included, would print."""
    return "".join(traceback.format_exception(exc)) + repr(exc)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
async def test_a_session_is_named_paxcommit_unless_the_dsn_says_otherwise(
    connect, dsn: str, scheme: str
):
    dsn = dsn.replace("postgresql", scheme, 1)
    asked = Sql("SELECT current_setting('application_name')")
    assert (await (await connect(dsn)).execute(asked)).rows == [("paxcommit",)]
    named = await connect(f"{dsn}?application_name=mine&target_session_attrs=read-write")
    assert (await named.execute(asked)).rows == [("mine",)]


async def test_pooled_sessions_are_named_alike(open_pool, dsn: str):
    asked = Sql("SELECT current_setting('application_name')")
    for given, name in (("", "paxcommit"), ("?application_name=mine", "mine")):
        session = await open_pool(dsn + given).acquire(10)
        assert (await session.execute(asked)).rows == [(name,)]


async def test_a_server_that_refuses(driver: AsyncDriver, place: Place):
    with pytest.raises(DatabaseError) as caught:
        await driver.connect(place.server.dsn("no_such_database"), timeout=10)
    assert caught.value.sqlstate in ("3D000", "08004")  # libpq does not tell the SQLSTATE
    assert caught.value.message == 'database "no_such_database" does not exist'


async def test_a_port_where_nobody_listens(driver: AsyncDriver, closed_port: int):
    with pytest.raises(Unanswered) as caught:
        await driver.connect(f"postgresql://u:{SECRET}@127.0.0.1:{closed_port}/d", timeout=10)
    assert SECRET not in told(caught.value)


async def test_a_server_that_never_says_a_word(driver: AsyncDriver, silent: int):
    """The time-out bounds the whole connect, not only TCP's part of it."""
    with pytest.raises(Unanswered, match=r"within 0\.3 s"):
        await driver.connect(f"postgresql://u:{SECRET}@127.0.0.1:{silent}/d", timeout=0.3)


async def test_several_hosts(connect, place: Place, closed_port: int):
    server = place.server
    dsn = place.dsn.replace(
        f"{server.host}:{server.port}",
        f"{server.host}:{closed_port},{server.host}:{server.port}",
    )
    assert (await (await connect(dsn)).execute(Sql("SELECT 1"))).rows == [(1,)]


def attempts(kit: Kit) -> list[Callable[[str], Awaitable[object]]]:
    """Every way to a connection."""

    async def connect(dsn: str) -> object:
        return await kit.driver.connect(dsn, timeout=0.5)

    async def acquire(dsn: str) -> object:
        return await kit.driver.open_pool(dsn, max_size=1, timeout=0.5).acquire(0.5)

    return [connect, acquire]


UNKNOWN = {
    "asyncpg": ["connect_timeout=3", "keepalives_idle=1", "channel_binding=prefer", "hostaddr=1"],
    "psycopg": ["sslmod=require", "statement_timeout=1", "aplication_name=x"],
}


@pytest.mark.parametrize("number", range(3))
async def test_an_option_that_the_driver_does_not_know_is_named(kit: Kit, dsn: str, number: int):
    """Trap 34a: the DSN works with the other driver, so say which option it is."""
    option = UNKNOWN[kit.name.split("-", maxsplit=1)[0]][number]
    name = option.partition("=")[0]
    for attempt in attempts(kit):
        with pytest.raises(DriverError) as caught:
            await attempt(f"{dsn}?password={SECRET}&{option}")
        assert repr(name) in str(caught.value)
        assert SECRET not in told(caught.value)


@pytest.mark.parametrize(
    "malformed",
    [
        f"postgresql://u:{SECRET}@[::1/d",
        f"postgresql://u:{SECRET}@h:99999999/d",
        f"postgresql://u:{SECRET}@h:port/d",
        f"postgresql://u:x/{SECRET}@h/d",
        f"postgresql://u:{SECRET}/x@h/d",
        f"postgresql://u:x@{SECRET}@h.invalid/d",
        f"postgresql://u:x?{SECRET}@h/d",
        f"postgresql://u:x#{SECRET}@h/d",
        f"mysql://u:{SECRET}@h/d",
        f"host=h password={SECRET}",
        SECRET,
        "",
        f"postgresql://u:{SECRET}@h/d?sslmode={SECRET}",
        f"postgresql://u:{SECRET}@h/d?{SECRET}",
        f"postgresql://u:{SECRET}@h/d?sslmode=verify-full&sslrootcert=/no/{SECRET}",
        f"postgresql://u:{SECRET}%zz@h.invalid/d",
    ],
)
async def test_a_malformed_dsn_is_never_echoed(
    kit: Kit, malformed: str, caplog: pytest.LogCaptureFixture
):
    """Trap 34: libpq and asyncpg both quote it, password and all, and so would a chained cause."""
    caplog.set_level(logging.DEBUG)
    for attempt in attempts(kit):
        with pytest.raises((DriverError, Unanswered)) as caught:
            await attempt(malformed)
        assert SECRET not in told(caught.value)
    assert SECRET not in caplog.text


async def test_no_secret_in_any_repr_or_log(
    connect, open_pool, driver: AsyncDriver, place: Place, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    place.execute(f"create role keeper login superuser password '{SECRET}'")
    try:
        with_secret = place.server.dsn(place.database, user="keeper", password=SECRET)
        session = await connect(with_secret)
        pool = open_pool(with_secret)
        pooled = await pool.acquire(10)
        pooled.discard()
        await pool.release(pooled)
        for thing in (driver, session, session.raw, pool, pooled):
            assert SECRET not in repr(thing)
        assert SECRET not in caplog.text
    finally:
        place.execute("drop role keeper")
