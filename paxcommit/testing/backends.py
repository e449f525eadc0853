"""Which PostgreSQL the test servers are: embedded in a wheel, this machine's, or in containers."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from paxcommit.errors import ConfigurationError
from paxcommit.testing._account import Account
from paxcommit.testing.binaries import Installation, find_embedded, find_local

__all__ = ["BACKEND_VARIABLE", "Backend", "Choice", "choose_backend"]

Backend: TypeAlias = Literal["embedded", "local", "containers"]

BACKEND_VARIABLE = "PAXCOMMIT_TEST_POSTGRES"
"""The environment variable that names a `Backend`."""

_INSTALL = {
    "embedded": "the embedded one comes with: pip install 'paxcommit[testing]'",
    "local": "install a PostgreSQL server (on Debian: apt install postgresql), or put the folder "
    "with its initdb on PATH",
    "containers": "containers need a Docker engine and: pip install 'paxcommit[testing]'",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend that is there.

    Attributes:
        backend: Its name.
        installation: The programs to run; None for containers.
    """

    backend: Backend
    installation: Installation | None


def choose_backend(wanted: Backend | None, account: Account) -> Choice:
    """Find the backend to use.

    Args:
        wanted: None follows `BACKEND_VARIABLE`, and without that takes the first that is there.
        account: Whom local servers will run as.

    Raises:
        ConfigurationError: It (or every one of them) is missing, or the name is none; says what
            to install.
    """
    name = wanted or os.environ.get(BACKEND_VARIABLE) or None
    if name is None:
        for backend in get_args(Backend):
            if (choice := _find(backend, account)) is not None:
                return choice
        raise ConfigurationError(
            "no PostgreSQL server to test with; " + "; or ".join(_INSTALL.values())
        )
    for backend in get_args(Backend):
        if backend == name:
            if (choice := _find(backend, account)) is not None:
                return choice
            raise ConfigurationError(f"no PostgreSQL of the kind {name!r}: {_INSTALL[name]}")
    raise ConfigurationError(
        f"{BACKEND_VARIABLE}={name!r} is none of {', '.join(get_args(Backend))}"
    )


def _find(backend: Backend, account: Account) -> Choice | None:
    match backend:
        case "embedded":
            installation = find_embedded(account)
        case "local":
            installation = find_local(account)
        case "containers":
            found = importlib.util.find_spec("testcontainers") is not None
            return Choice(backend, None) if found else None
    return None if installation is None else Choice(backend, installation)
