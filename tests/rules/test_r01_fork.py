"""R1 and R3: an id has one owner, and ids and gids are spelt and parsed strictly."""

from __future__ import annotations

import os
import string
import threading
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxcommit import ForkedProcessError, InvalidTxId, TxId
from paxcommit.errors import InvalidName, InvariantViolation
from paxcommit.ids import MAX_DEADLINE, MAX_GID_BYTES, Gid, Incarnation

TXIDS = st.builds(
    TxId,
    epoch=st.integers(1, 10**9 - 1),
    coordinator=st.integers(0, 2**63 - 1),
    seq=st.integers(1, 10**18 - 1),
)
_REST = st.text(string.ascii_lowercase + string.digits + "_-", max_size=39)
NAMES = st.builds(str.__add__, st.sampled_from(string.ascii_lowercase), _REST)
GIDS = st.builds(
    Gid,
    digest=st.text("0123456789abcdef", min_size=32, max_size=32),
    txid=TXIDS,
    participant=NAMES,
    deadline=st.integers(1, MAX_DEADLINE),
)
ALPHABET = string.ascii_lowercase + string.digits + ":_-"


def says_in_a_fork(question) -> str:
    """What the question's answer is in a forked child."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later: we have threads
        pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, str(question()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as child:
        said = child.read()
    os.waitpid(pid, 0)
    return said


def refusal(incarnation: Incarnation) -> str:
    try:
        return str(incarnation.next_txid())
    except ForkedProcessError:
        return "refused"


def test_r1_a_forked_child_draws_no_id_of_its_parents_incarnation():
    """Both would count on from the same place, and own ballot 0 of the same transaction."""
    incarnation = Incarnation(1)
    before = incarnation.next_txid()
    assert says_in_a_fork(lambda: refusal(incarnation)) == "refused"
    assert says_in_a_fork(lambda: says_in_a_fork(lambda: refusal(incarnation))) == "refused"
    after = incarnation.next_txid()
    assert (after.coordinator, after.seq) == (before.coordinator, before.seq + 1)


def test_r1_two_forks_that_draw_anew_have_nothing_in_common():
    def draw() -> TxId:
        return Incarnation(1).next_txid()

    ids = [draw(), *(TxId.parse(says_in_a_fork(draw)) for _ in range(2))]
    assert len({each.coordinator for each in ids}) == 3
    assert [each.seq for each in ids] == [1, 1, 1]


def test_r1_ids_are_distinct_whichever_thread_draws_them():
    incarnation = Incarnation(1)
    drawn: list[TxId] = []
    threads = [
        threading.Thread(target=lambda: drawn.extend([incarnation.next_txid() for _ in range(250)]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == 1000
    assert sorted(each.seq for each in drawn) == list(range(1, 1001))
    assert {(each.epoch, each.coordinator) for each in drawn} == {(1, incarnation.coordinator)}
    assert len({Incarnation(1).coordinator for _ in range(1000)}) == 1000


@given(TXIDS)
def test_r1_an_id_is_read_back_as_it_was_spelt(txid):
    assert TxId.parse(str(txid)) == txid


NEAR_MISSES = [
    "",
    "1-00c0ffee00c0ffee",
    "1-00c0ffee00c0ffee-",
    "0-00c0ffee00c0ffee-42",
    "01-00c0ffee00c0ffee-42",
    "1-00C0FFEE00C0FFEE-42",
    "1-c0ffee00c0ffee-42",
    "1-000c0ffee00c0ffee-42",
    "1-80c0ffee00c0ffee-42",
    "1-00c0ffee00c0ffee-0",
    "1-00c0ffee00c0ffee-042",
    "1-00c0ffee00c0ffee-+42",
    "1-00c0ffee00c0ffee-4_2",
    "1-00c0ffee00c0ffee-1000000000000000000",
    "1000000000-00c0ffee00c0ffee-42",
    " 1-00c0ffee00c0ffee-42",
    "1-00c0ffee00c0ffee-42\n",
    "1-00c0ffee00c0ffee-\N{ARABIC-INDIC DIGIT FOUR}2",
    "1-00c0ffee00c0ffee-42-1",
]


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_r1_what_only_looks_like_an_id_is_refused(text):
    with pytest.raises(InvalidTxId):
        TxId.parse(text)


@given(st.text(string.hexdigits + "-+_ \n", max_size=40))
def test_r1_what_parses_is_spelt_exactly_so(text):
    try:
        txid = TxId.parse(text)
    except InvalidTxId:
        return
    assert str(txid) == text


@given(GIDS)
def test_r3_a_gid_is_read_back_fits_and_needs_no_escape(gid):
    text = str(gid)
    assert Gid.parse(text) == gid
    assert len(text.encode()) <= MAX_GID_BYTES
    assert set(text) <= set(ALPHABET)
    assert gid.quoted == f"'{text}'"


def test_r3_the_longest_gid_fits():
    txid = TxId(10**9 - 1, 2**63 - 1, 10**18 - 1)
    assert len(str(Gid("f" * 32, txid, "z" * 40, MAX_DEADLINE))) <= MAX_GID_BYTES


@given(GIDS, st.data())
def test_r3_a_gid_changed_anywhere_is_another_one_or_none(gid, data):
    """Never the same: two spellings of one branch would be two branches."""
    text = str(gid)
    at = data.draw(st.integers(0, len(text)))
    kept = data.draw(st.sampled_from([text[at:], text[at + 1 :]]))
    changed = text[:at] + data.draw(st.text(max_size=2)) + kept
    parsed = Gid.parse(changed)
    assert parsed is None or str(parsed) == changed
    assert (parsed == gid) == (changed == text)


@pytest.mark.parametrize("name", ["", "Orders", "1st", "or:ders", "o'rders", "a" * 41, "b\n", "é"])
def test_r3_a_participant_with_a_name_that_no_gid_can_spell_is_refused(name):
    with pytest.raises(InvalidName):
        Gid("0" * 32, TxId(1, 1, 1), name, 1)


@pytest.mark.parametrize("deadline", [0, -1, MAX_DEADLINE + 1])
def test_r3_a_deadline_that_no_gid_can_spell_is_refused(deadline):
    with pytest.raises(InvariantViolation):
        Gid("0" * 32, TxId(1, 1, 1), "orders", deadline)
