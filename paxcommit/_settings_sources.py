"""Where settings come from: a TOML file and the environment, read strictly and merged."""

from __future__ import annotations

import contextlib
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    SettingsError,
    TomlConfigSettingsSource,
)

from paxcommit.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "PREFIX",
    "did_you_mean",
    "merge",
    "read_environment",
    "read_file",
    "refuse_unknown_variables",
    "spell_out",
]

PREFIX = "PAXCOMMIT_"
_OTHER_VARIABLES = ("CONFIG", "DRIVER", "JSON", "FAILPOINT", "TEST_POSTGRES", "TEST_IMAGE")


class _Environment(EnvSettingsSource):
    """``PAXCOMMIT_*``, with ``…PARTICIPANTS__X=dsn`` spelt out so that ``…__X__ROLE`` fits."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        start = f"{PREFIX}participants__".lower()
        self.env_vars = {
            f"{name}__dsn" if name.startswith(start) and name.count("__") == 1 else name: value
            for name, value in self.env_vars.items()
        }


def read_environment(cls: type[BaseSettings]) -> dict[str, Any]:
    """Read the variables that spell a field's path.

    Raises:
        ConfigurationError: One of them should hold JSON and does not.
    """
    with contextlib.suppress(SettingsError):
        return spell_out(_Environment(cls)())
    # Raised out here, unchained: the suppressed error holds the variable's content (trap 34).
    raise ConfigurationError(
        f"{PREFIX}ACCEPTORS, {PREFIX}PARTICIPANTS and {PREFIX}RECOVERY must hold JSON objects; "
        f"or use one variable per entry, such as {PREFIX}ACCEPTORS__A1"
    )


def read_file(cls: type[BaseSettings], path: Path) -> dict[str, Any]:
    """Read a TOML file; a missing one is empty, so whoever names it looks first (trap 34b).

    Raises:
        ConfigurationError: It is malformed or cannot be read.
    """
    try:
        return spell_out(TomlConfigSettingsSource(cls, path)())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # The decoder's message names line and column; its other attributes hold the document.
        problem = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "not UTF-8"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    raise ConfigurationError(f"{path} is not a readable TOML file: {problem}")


def spell_out(values: Mapping[str, Any]) -> dict[str, Any]:
    """Spell ``name = "dsn"`` as ``name = { dsn = "dsn" }``, so that two sources can be merged."""
    values = dict(values)
    participants = values.get("participants")
    if isinstance(participants, Mapping):
        values["participants"] = {
            name: {"dsn": entry} if isinstance(entry, str | SecretStr) else entry
            for name, entry in participants.items()
        }
    return values


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nest of tables over another, key by key."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        # `both` has narrowed the two, which mypy does not follow through a variable.
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def refuse_unknown_variables(environment: Iterable[str], fields: Iterable[str]) -> None:
    """Refuse misspelt variables, which pydantic-settings ignores silently (trap 34b).

    Raises:
        ConfigurationError: Names the first of them.
    """
    tables = {"acceptors", "participants", "recovery"}
    for variable in sorted(environment):
        if not variable.upper().startswith(PREFIX):
            continue
        name = variable[len(PREFIX) :]
        head, *path = name.lower().split("__")
        known = head in tables if path else head in fields or name.upper() in _OTHER_VARIABLES
        if not known:
            candidates = [*(f.upper() for f in fields), *_OTHER_VARIABLES]
            hint = did_you_mean(head.upper(), candidates, PREFIX, "__…" if path else "")
            raise ConfigurationError(
                f"the environment variable {variable} means nothing to paxcommit{hint}: correct "
                f"or unset it"
            )


def did_you_mean(word: str, known: Iterable[str], before: str = "", after: str = "") -> str:
    """The closest of the `known` words in brackets, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {before}{close[0]}{after}?)" if close else ""
