"""Statements that any link sends, whatever its server hosts."""

from __future__ import annotations

from tests.proof.simulation.postgres import Backend, Handler, Query, Server

__all__ = ["COMMON"]


def _link_settings(server: Server, backend: Backend, query: Query) -> bool:
    query.rows, query.tag = [query.args], "SELECT 1"
    return True


def _schema_version(server: Server, backend: Backend, query: Query) -> bool:
    query.rows, query.tag = [(1, 1)], "SELECT 1"
    return True


def _one(server: Server, backend: Backend, query: Query) -> bool:
    query.rows, query.tag = [(1,)], "SELECT 1"
    return True


COMMON: dict[str, Handler] = {
    "SELECT set_config('tcp_keepalives_idle', $1::text, false),"
    " set_config('tcp_keepalives_interval', $2::text, false),"
    " set_config('tcp_keepalives_count', $3::text, false),"
    " set_config('tcp_user_timeout', $4::text, false),"
    " set_config('default_transaction_isolation', 'read committed', false),"
    " set_config('default_transaction_read_only', 'off', false),"
    " set_config('idle_session_timeout', '0', false)": _link_settings,
    "SELECT version, oldest_code FROM paxcommit.schema_version()": _schema_version,
    "SELECT 1": _one,
}
