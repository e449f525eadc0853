"""The trace, in words."""

from __future__ import annotations

import re

from paxcommit.ids import TxId

__all__ = ["in_words"]

_TXID = re.compile(r"TxId\(epoch=(\d+), coordinator=(\d+), seq=(\d+)\)")
_ENUM = re.compile(r"<\w+\.(\w+): '[^']*'>")
_J = re.compile(r"ParticipantSet\(names=\(([^)]*)\)\)")
_GID = re.compile(r"paxcommit:([0-9a-f]{6})[0-9a-f]{26}:(\d+)-([0-9a-f]{16})-(\d+):")
_ID = re.compile(r"\b\d+-([0-9a-f]{16})-(\d+)\b")
_NOISE = (
    ("SELECT coordinator, seq, verdict, promised, accepted, mark FROM paxcommit.", ""),
    ("SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8, owner::text"
     " FROM pg_prepared_xacts WHERE database = current_database()"
     " AND (SELECT pg_current_wal_lsn() IS NOT NULL) ORDER BY prepared, gid",
     "SELECT ... FROM pg_prepared_xacts"),
    ("SET LOCAL client_min_messages = error; ", ""),
    ("SET CONSTRAINTS ALL IMMEDIATE; ", ""),
    ('SET LOCAL ROLE "app"; ', ""),
    ("SAVEPOINT paxcommit_branch; ", ""),
)  # fmt: skip
_ARGUMENTS = re.compile(r"\((?:\$\d+::\w+(?:\[\])?(?:, )?)+\)")


def in_words(line: str) -> str:
    """Spell a line of the trace shorter, with the words of the documentation."""
    for text, instead in _NOISE:
        line = line.replace(text, instead)
    line = _TXID.sub(lambda match: str(TxId(*map(int, match.groups()))), line)
    line = _ARGUMENTS.sub("", line)
    line = _J.sub(lambda match: "{" + match[1].replace("'", "").rstrip(",") + "}", line)
    line = _ENUM.sub(lambda match: match[1].lower(), line)
    line = _GID.sub(lambda match: f"{match[2]}-{match[3]}-{match[4]}:", line)
    return _ID.sub(lambda match: f"{match[1][:4]}-{match[2]}", line)
