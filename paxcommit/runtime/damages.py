"""Writing damage down where `paxcommit status` finds it: in the participant's database (R19)."""

from __future__ import annotations

import dataclasses
import logging

from paxcommit.ids import TxId
from paxcommit.protocol.finishing import Damage
from paxcommit.runtime.plan import Call, Plan, standing
from paxcommit.sql.participant import record_damage

__all__ = ["write_down"]

_log = logging.getLogger("paxcommit.damage")


def write_down(txid: TxId, participant: str, damage: Damage) -> Plan[Damage]:
    """Write damage down, and say it aloud; return it, and whether it stands there now."""
    _log.error("damage at %s, transaction %s: %s", participant, txid, damage.detail)
    statements = record_damage(txid, participant, damage.what, damage.detail)
    (problem,) = yield [Call(standing(participant), statements)]
    if problem is None:
        return damage
    _log.error("it could not be written down at %s: %s", participant, problem)
    return dataclasses.replace(damage, written=False)
