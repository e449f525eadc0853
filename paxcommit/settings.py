"""The settings: ``paxcommit.toml``, with ``PAXCOMMIT_*`` environment variables on top.

    cluster = "shop"
    [acceptors]            # 2F+1 of them, on servers that fail apart from each other
    a1 = "postgresql://…"
    a2 = "postgresql://…"
    a3 = "postgresql://…"
    [participants]
    orders = "postgresql://…"
    billing = { dsn = "postgresql://…", role = "paxcommit_finisher" }

A variable spells the path of a key: ``PAXCOMMIT_CLUSTER``, ``PAXCOMMIT_ACCEPTORS__A1``,
``PAXCOMMIT_PARTICIPANTS__BILLING__ROLE``.  A key or a variable that means nothing is an error, so
that a typo cannot pass for a setting.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from paxcommit._settings_sources import (
    PREFIX,
    did_you_mean,
    merge,
    read_environment,
    read_file,
    refuse_unknown_variables,
    spell_out,
)
from paxcommit.dsn import Address, parse_dsn
from paxcommit.errors import ConfigurationError
from paxcommit.ids import MAX_DEADLINE, check_name, presentable

__all__ = ["Participant", "Recovery", "Settings", "SettingsSource"]

_DEFAULT_FILE = "paxcommit.toml"

_Seconds = Annotated[float, Field(gt=0, le=MAX_DEADLINE, allow_inf_nan=False)]
_Whole = Annotated[int, Field(ge=1, le=10_000)]
_STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Participant(BaseModel):
    """One participant's database.

    Attributes:
        dsn: Where it is, with credentials.
        role: The role that owns prepared transactions (R18), or None for the DSN's own.  The
            application's and the recoverer's logins both need to be members of it.
    """

    model_config = _STRICT

    dsn: SecretStr
    role: str | None = None

    @field_validator("role")
    @classmethod
    def _check_role(cls, role: str | None) -> str | None:
        if role is not None and (
            not role.isprintable() or not 0 < len(role.encode()) < 64 or set(role) & set("\"'\\")
        ):
            raise ValueError("a role's name has 1 to 63 printable bytes and no quotes")
        return role


class Recovery(BaseModel):
    """How recovery watches (``[recovery]``).

    Attributes:
        poll_interval: Seconds between two looks at ``pg_prepared_xacts``.
    """

    model_config = _STRICT

    poll_interval: _Seconds = 0.25


class Settings(BaseSettings):
    """A cluster, its acceptors and participants, and how long things may take.

    Constructed directly it takes exactly the arguments; `load` reads files and the environment.

    Attributes:
        cluster: The cluster's name.
        acceptors: DSN by acceptor; an odd number of different servers.
        participants: By name.
        deadline: Seconds from a branch's PREPARE after which anybody may finish a transaction
            although its coordinator lives; spelt in the gid in whole seconds (R3).
        pool_size: Connections per participant at most.
        connect_timeout: Seconds to connect to a server.
        acceptor_timeout: Seconds to wait for one acceptor's answer.
        recovery: How recovery watches.

    Raises:
        ConfigurationError: Something cannot work as it is; the message says what to change, and
            never shows a DSN.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
    )

    cluster: str
    acceptors: dict[str, SecretStr]
    participants: dict[str, Participant]
    deadline: _Seconds = 5.0
    pool_size: _Whole = 10
    connect_timeout: _Seconds = 5.0
    acceptor_timeout: _Seconds = 3.0
    recovery: Recovery = Recovery()

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**spell_out(values))
        except ValidationError as error:
            # Not chained: pydantic's error holds the input, DSNs and all (trap 34).
            problem = _explain(error)
        else:
            self._check()
            return
        raise ConfigurationError(problem)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is passed and nothing else; `load` merges file and environment before."""
        return (init_settings,)

    @classmethod
    def load(cls, source: SettingsSource = None) -> Settings:
        """Load settings.

        Args:
            source: A file's path.  None: the file that ``PAXCOMMIT_CONFIG`` names, else
                ``paxcommit.toml`` in the working directory if there is one, else only the
                environment.  In these cases the environment overrides the file.  A mapping (as in
                the file) or a `Settings` is taken as it is.

        Raises:
            ConfigurationError: A file is missing or malformed, or see the class.
        """
        if isinstance(source, Settings):
            return source
        if isinstance(source, Mapping):
            return cls(**source)
        refuse_unknown_variables(os.environ, cls.model_fields)
        named = source if source is not None else os.environ.get(f"{PREFIX}CONFIG") or None
        path = Path(named if named is not None else _DEFAULT_FILE)
        if named is not None and not path.is_file():
            raise ConfigurationError(
                f"there is no file {str(path)!r}: create it, or name another one with --config or "
                f"{PREFIX}CONFIG"
            )
        environment = read_environment(cls)
        if named is None and not path.is_file() and not {"acceptors", "cluster"} & set(environment):
            raise ConfigurationError(
                f"there is no {_DEFAULT_FILE} in the working directory: create it, name another "
                f"file with --config or {PREFIX}CONFIG, or set {PREFIX}CLUSTER, "
                f"{PREFIX}ACCEPTORS__… and {PREFIX}PARTICIPANTS__…"
            )
        try:
            return cls(**merge(read_file(cls, path), environment))
        except ConfigurationError as error:
            where = f"{path}: " if path.is_file() else "environment: "
            raise type(error)(f"{where}{error}") from None

    @property
    def f(self) -> int:
        """How many acceptors may fail (F)."""
        return (len(self.acceptors) - 1) // 2

    @property
    def majority(self) -> int:
        """How many acceptors must answer (F+1)."""
        return self.f + 1

    def participant(self, name: str) -> Participant:
        """Look a participant up.

        Raises:
            ConfigurationError: There is none of this name.
        """
        if name in self.participants:
            return self.participants[name]
        raise ConfigurationError(
            f"there is no participant {name!r}{did_you_mean(name, self.participants)}: the "
            f"settings have {', '.join(sorted(self.participants))}"
        )

    def acceptor_address(self, name: str) -> Address:
        """Where an acceptor is, without credentials."""
        return parse_dsn(self.acceptors[name].get_secret_value(), f"acceptor {name}")

    def participant_address(self, name: str) -> Address:
        """Where a participant is, without credentials."""
        return parse_dsn(self.participant(name).dsn.get_secret_value(), f"participant {name}")

    def _check(self) -> None:
        """Check what the fields' types cannot: names, quorum, and that no two things are one."""
        check_name(self.cluster, "cluster")
        for kind, names in (("acceptor", self.acceptors), ("participant", self.participants)):
            if not names:
                raise ConfigurationError(f"[{kind}s] is empty: name at least one {kind}")
            for name in names:
                check_name(name, kind)
        count = len(self.acceptors)
        if count % 2 == 0:
            raise ConfigurationError(
                f"there are {count} acceptors: make it {count - 1} or {count + 1}. An odd number "
                f"2F+1 survives F failures; one more survives no failure more"
            )
        servers: dict[str, str] = {}
        for name in self.acceptors:
            address = self.acceptor_address(name)
            if address.several_hosts:
                raise ConfigurationError(
                    f"the DSN of acceptor {name} names several hosts: an acceptor is one server; "
                    f"after a failover its votes may be lost (R13)"
                )
            if (twin := servers.setdefault(address.server, name)) != name:
                raise ConfigurationError(
                    f"acceptors {twin} and {name} are on the same server ({address.server}), so "
                    f"they fail together: move one of them to another server"
                )
        databases: dict[Address, str] = {}
        for name in self.participants:
            address = self.participant_address(name)
            if (twin := databases.setdefault(address, name)) != name:
                raise ConfigurationError(
                    f"participants {twin} and {name} are the same database ({address}): keep one "
                    f"name for it"
                )


SettingsSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Settings | None"
"""What `Settings.load` takes."""


def _explain(error: ValidationError) -> str:
    """Say what is wrong in words that hold no input."""
    problems = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        path = [str(step) for step in item["loc"]]
        where, key = presentable(".".join(path)), path[-1]
        match item["type"]:
            case "extra_forbidden":
                models: dict[int, type[BaseModel]] = {1: Settings, 3: Participant}
                known = models.get(len(path), Recovery).model_fields
                problems.append(f"unknown key {where}{did_you_mean(key, known)}: remove it")
            case "missing":
                table = f"add a section [{key}]" if key.endswith("s") else f"add {key} = …"
                problems.append(f"{where} is missing: {table}")
            case _:
                problems.append(f"{where}: {item['msg'].removeprefix('Value error, ')}")
    return "; ".join(problems)
