"""The settings that test servers get, and how a setting is spelt for PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Mapping

from paxcommit.errors import ConfigurationError
from paxcommit.testing.server import Setting

__all__ = ["DEFAULTS", "check_setting", "server_settings", "spell"]

DEFAULTS: Mapping[str, Setting] = {
    "max_prepared_transactions": 64,
    "max_connections": 100,
    "shared_buffers": "16MB",
    "log_line_prefix": "%m [%p] ",
}
"""For every test server.  ``fsync`` stays on: an acceptor refuses to run without it (trap 19)."""


def server_settings(version: int, changes: Mapping[str, Setting] | None) -> dict[str, Setting]:
    """Return `DEFAULTS` for a server of major version `version`, with `changes` applied."""
    settings = dict(DEFAULTS)
    if version >= 18:
        settings["io_method"] = "sync"  # three processes less per server
    settings.update({check_setting(name): value for name, value in (changes or {}).items()})
    return settings


def spell(value: Setting) -> str:
    """Spell `value` as ``postgresql.conf`` and ``ALTER SYSTEM`` take it."""
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    return "'" + text.replace("'", "''") + "'"


def check_setting(name: str) -> str:
    """Return `name` if it may be the name of a setting.

    Raises:
        ConfigurationError: It has other characters than ``a-z 0-9 _ .``.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_.]*", name, re.ASCII):
        raise ConfigurationError(f"{name!r} is not the name of a setting")
    return name
