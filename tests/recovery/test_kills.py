"""A coordinator is killed at every step of a commit: recovery leaves it whole, and nothing prepared."""

from __future__ import annotations

import pytest

from paxcommit import Outcome

from ..coordinator.shop import eventually
from .crew import steps

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = ("orders", "billing")
STEPS = steps(BOTH, ("a1", "a2", "a3"))


@pytest.fixture(scope="module")
def surface():
    from ..coordinator.surfaces import SURFACES

    return SURFACES["asyncpg"]


@pytest.mark.parametrize(
    ("job", "driver"), [("coordinate", "asyncpg"), ("coordinate blocking", "psycopg")]
)
@pytest.mark.parametrize("step", STEPS)
async def test_killed_at(step, job, driver, start, shop, recovery):
    """With a deadline of minutes: it is the lock that tells that it is dead."""
    dead = await start(job, driver=driver, participants=BOTH, arm=[("kill", step)])
    txid = await dead.hear("txid")
    await dead.died()

    async def resolved() -> bool:
        await recovery.run_once()
        return not shop.prepared(txid)

    await eventually(resolved)
    outcome = await recovery.resolve(txid_of(txid))
    assert shop.noted(txid) in (set(), set(BOTH))
    committed = shop.noted(txid) == set(BOTH)
    if committed:
        assert outcome.outcome is Outcome.COMMITTED
    else:
        assert outcome.outcome is not Outcome.COMMITTED
    assert not shop.damages(txid)
    assert committed or not step.startswith(("tell", "commit-prepared"))
    assert not committed or not step.startswith("prepare")


def txid_of(text):
    from paxcommit import TxId

    return TxId.parse(text)
