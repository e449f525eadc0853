"""Mutants of recovery: who may be resolved, how an outcome is forced, how a decision is applied."""

from __future__ import annotations

from tests.proof.mutants.mutant import model, mutant, simulate, test

__all__ = ["MUTANTS"]

RECOVERY = "paxcommit/protocol/recovery.py"
FENCING = "paxcommit/protocol/fencing.py"
APPLYING = "paxcommit/protocol/applying.py"
WATCHING = "paxcommit/protocol/watching.py"
ACCEPTOR = "paxcommit/protocol/acceptor.py"
OPERATE = "paxcommit/runtime/recovering.py"
COMMITTING = "paxcommit/runtime/committing.py"
_RULES = "tests/protocol/test_rules.py::"
_R23 = "tests/rules/test_r23_forced_outcome.py::"
_RECOVERY = "tests/recovery/test_recovery.py::"

MUTANTS = (
    mutant(
        "branch-outside-j-committed",
        "R7",
        "work that the root never heard of is committed beside what it did commit",
        (
            RECOVERY,
            "verdicts[name] = Verdict.ROLL_BACK  # R7: a branch",
            "verdicts[name] = Verdict.COMMIT  # R7: a branch",
        ),
        by=[
            model("stranger"),
            test(
                f"{_RULES}test_r7_a_branch_outside_the_chosen_j_is_rolled_back_although_it_committed"
            ),
        ],
    ),
    mutant(
        "no-fence",
        "R20, trap 5",
        "a late PREPARE of an aborted transaction stays, and holds its locks for ever",
        (
            RECOVERY,
            "dict.fromkeys(self._served, Verdict.ROLL_BACK_AND_FENCE)",
            "dict.fromkeys(self._served, Verdict.ROLL_BACK)",
        ),
        by=[
            model("late-prepare"),
            test(f"{_RULES}test_r20_who_applies_an_abort_fences_every_participant_it_serves"),
        ],
    ),
    mutant(
        "fence-only-where-a-branch-was-seen",
        "R20",
        "J is unknown: the branch that comes late comes where nobody looked",
        (
            RECOVERY,
            "dict.fromkeys(self._served, Verdict.ROLL_BACK_AND_FENCE)",
            "dict.fromkeys(self._served & self._seen, Verdict.ROLL_BACK_AND_FENCE)",
        ),
        by=[
            model("late-prepare"),
            test(f"{_RULES}test_r20_who_applies_an_abort_fences_every_participant_it_serves"),
            test(f"{_RECOVERY}test_r20_after_an_abort_every_served_participant_is_fenced"),
        ],
    ),
    mutant(
        "fence-not-repeated",
        "R20",
        "a row in flight holds the fence up, and is prepared behind its back",
        (
            APPLYING,
            "                    case Applied():\n",
            "                    case Applied() | Busy():\n",
        ),
        (APPLYING, "case Busy(reason=reason) | NotApplied(", "case NotApplied("),
        by=[
            model("late-prepare"),
            test(f"{_RULES}test_r20_a_fence_that_has_to_wait_is_tried_again_and_holds_up_nobody"),
        ],
    ),
    mutant(
        "unapplied-reported-as-applied",
        "R24",
        "the user reads his writes and does not find them; nobody is told to finish",
        (
            APPLYING,
            "                        self._open.discard(name)\n            case",
            "                        self._close(name)\n            case",
        ),
        by=[
            simulate(100),
            test(
                "tests/proof/killers/test_surroundings.py::"
                "test_r24_what_was_never_applied_is_not_called_applied"
            ),
        ],
    ),
    mutant(
        "damage-taken-for-success",
        "R19",
        "half of a transaction is lost, and no alarm goes off",
        (APPLYING, "                        self.damage[name] = answer\n", ""),
        by=[simulate(100), test(f"{_RULES}test_r19_damage_is_an_alarm_and_never_a_success")],
    ),
    mutant(
        "forced-without-fences",
        "R23",
        "forced to abort while its one-phase COMMIT is under way: told both ways",
        (
            RECOVERY,
            "return self._fencing.start() or self._after_fencing()",
            "return self._lead()",
        ),
        by=[
            model("force-one-phase"),
            test(
                f"{_RULES}test_r23_an_outcome_nobody_knows_is_not_forced_before_every_participant"
                "_is_fenced"
            ),
        ],
    ),
    mutant(
        "forced-although-one-cannot-be-asked",
        "R23",
        "the one that was away has committed it in one phase: told both ways",
        (FENCING, "self._found(Finding.OPEN, why)", "self._found(Finding.LEAD, why)"),
        by=[
            test(
                f"{_RULES}test_r23_one_that_cannot_be_asked_leaves_it_open_only_if_no_other"
                "_settles_it"
            )
        ],
    ),
    mutant(
        "forced-against-a-one-phase-commit",
        "R17, R23",
        "a committed transaction is forced to abort: told both ways",
        (
            FENCING,
            'self._found(Finding.COMMITTED, f"{name} committed it in one phase")',
            'self._found(Finding.LEAD, f"{name} committed it in one phase")',
        ),
        by=[
            model("force-one-phase"),
            test(f"{_RULES}test_r23_what_stands_in_the_fences_place_decides"),
        ],
    ),
    mutant(
        "forced-against-a-committed-branch",
        "R23",
        "a branch that somebody committed by hand is made an aborted transaction's",
        (
            RECOVERY,
            "case Mandate.FORCE if self._committed_branch and not self._registrar_known:",
            "case Mandate.FORCE if self._committed_branch and self._registrar_known:",
        ),
        by=[
            model("force-two-phase"),
            test(
                f"{_RULES}test_r23_a_committed_branch_without_a_registrar_is_damage_and_nothing"
                "_is_proposed"
            ),
        ],
    ),
    mutant(
        "forced-on-an-answer-from-before-the-fences",
        "R23",
        "J was queued meanwhile: a committed transaction is called damaged",
        (RECOVERY, "self._stale = set(self._under_way)", "self._stale = set()"),
        by=[test(f"{_RULES}test_r23_an_answer_from_before_the_fences_is_no_evidence_of_damage")],
    ),
    mutant(
        "gid-rolled-back-before-the-decision",
        "R23",
        "a prepared branch of a transaction that is about to commit is rolled back",
        (
            FENCING,
            '                self._found(Finding.LEAD, f"{name} has a prepared branch")\n',
            "                return [Apply(name, Verdict.ROLL_BACK), Fence(name)]\n",
        ),
        (FENCING, "import (\n    Backoff,\n", "import (\n    Apply,\n    Backoff,\n"),
        (FENCING, "    Terminate,\n)", "    Terminate,\n    Verdict,\n)"),
        by=[
            model("force-two-phase"),
            test(f"{_RULES}test_r23_a_gid_ends_the_fencing_and_nothing_is_rolled_back"),
        ],
    ),
    mutant(
        "learner-with-half-the-answers-decides",
        "R25, trap 28",
        "silence is taken for an answer: a ballot is led, and then another, against nobody",
        (
            RECOVERY,
            "        if everybody - len(self._silent) < quorum:\n",
            "        if everybody < quorum:\n",
        ),
        by=[test(f"{_RULES}test_r25_without_f_plus_1_acceptors_it_reports_and_waits")],
    ),
    mutant(
        "who-may-only-learn-leads",
        "R25, R26",
        "every commit that takes a second is aborted by whoever looks",
        (
            RECOVERY,
            "        match self._mandate:\n            case Mandate.LEARN:\n",
            "        match Mandate.FORCE if self._mandate is Mandate.FORCE else Mandate.LEAD:\n"
            "            case Mandate.LEARN:\n",
        ),
        by=[test(f"{_RULES}test_r25_who_may_only_learn_leads_no_ballot")],
    ),
    mutant(
        "dead-with-f-acceptors",
        "R26",
        "one acceptor's restart makes every coordinator look dead: all commits abort",
        (
            WATCHING,
            "for held in holders.values()) >= quorum",
            "for held in holders.values()) >= quorum - 1",
        ),
        by=[test(f"{_RULES}test_r26_dead_means_f_plus_1_answered_without_its_lock")],
    ),
    mutant(
        "silence-is-death",
        "R26",
        "acceptors that do not answer count as without the lock: a partition aborts everything",
        (
            WATCHING,
            "return sum(coordinator not in held for held in holders.values()) >= quorum",
            "return sum(coordinator in held for held in holders.values()) < quorum",
        ),
        by=[test(f"{_RULES}test_r26_dead_means_f_plus_1_answered_without_its_lock")],
    ),
    mutant(
        "living-coordinator-ignored-and-its-late-vote-accepted",
        "R10, R26",
        "recovery aborts what a living coordinator commits a moment later",
        (
            WATCHING,
            "return sum(coordinator not in held for held in holders.values()) >= quorum",
            "return bool(quorum)",
        ),
        (ACCEPTOR, "            if ballot < row.promised:\n", "            if ballot < 0:\n"),
        (
            ACCEPTOR,
            "Row(promised=ballot, accepted=",
            "Row(promised=max(ballot, row.promised), accepted=",
        ),
        by=[
            model("leaders"),
            test(
                "tests/protocol/test_paper_claims.py::test_an_acceptor_never_accepts_below_its_promise"
            ),
        ],
    ),
    mutant(
        "deadline-ignored",
        "R25, R26",
        "a coordinator that hangs but lives keeps its locks for ever",
        (
            WATCHING,
            "late = any(branch.age >= branch.deadline for branch in seen)",
            "late = any(branch.age < 0 for branch in seen)",
        ),
        by=[simulate(100), test(f"{_RULES}test_r26_the_deadline_is_the_fallback")],
    ),
    mutant(
        "a-clock-that-is-set-back-is-believed",
        "R25, R26",
        "a branch stays young until its server's clock has caught up: locks for an hour",
        (
            WATCHING,
            "age=max(branch.age, now - self._since[key])",
            "age=min(branch.age, now - self._since[key] + branch.age)",
        ),
        by=[test(f"{_RULES}test_r26_a_server_whose_clock_was_set_back_blocks_nobody")],
    ),
    mutant(
        "foreign-digest-touched",
        "R2, trap 10",
        "another cluster's branch is resolved by acceptors that never heard of it",
        (
            OPERATE,
            "if branch.gid.digest != members.record.digest or branch.gid.participant != name:",
            "if branch.gid.participant != name:",
        ),
        by=[
            test(f"{_RECOVERY}test_r2_gids_of_others_are_never_touched[another cluster's]"),
        ],
    ),
    mutant(
        "foreign-digest-finished",
        "R2, trap 10",
        "forcing a txid rolls back the branch of another cluster that happens to spell it",
        (
            OPERATE,
            "        and (branch.gid.digest, branch.gid.txid, branch.gid.participant)\n"
            "        == (members.record.digest, txid, name)",
            "        and (branch.gid.txid, branch.gid.participant) == (txid, name)",
        ),
        by=[
            test("tests/traps/test_finish.py::test_trap_10_gids_of_others_are_left_alone[asyncpg]")
        ],
    ),
    mutant(
        "fence-before-rollback",
        "R20, trap 24c",
        "the fence waits for the prepared row it is to follow: nobody gets anywhere",
        (
            OPERATE,
            "    (answer,) = yield [Call(standing(name, lane), finish())]\n",
            "    if fence is not None:\n"
            "        (answer,) = yield [Call(fencing(name), fence())]\n"
            "        if not isinstance(answer, Applied):\n"
            "            return NotApplied(str(answer))\n"
            "    (answer,) = yield [Call(standing(name, lane), finish())]\n",
        ),
        by=[
            simulate(100),
            test(f"{_RECOVERY}test_r20_after_an_abort_every_served_participant_is_fenced"),
        ],
    ),
    mutant(
        "stuck-prepare-left-alone",
        "R20, trap 3",
        "a PREPARE that waits for a standby keeps its locks, whatever was decided",
        (
            OPERATE,
            "            yield from terminate_preparer(gid)\n",
            '            yield Sql("SELECT 1")\n',
        ),
        by=[
            test(
                "tests/proof/killers/test_stuck_prepare.py::"
                "test_r20_whoever_applies_an_abort_ends_a_prepare_that_hangs"
            )
        ],
    ),
    mutant(
        "standing-connection-not-tried",
        "R27, trap 8",
        "a branch whose connection broke after the decision waits for recovery",
        (
            COMMITTING,
            "    for session in (branch, standing):\n",
            "    for session in (branch,):\n",
        ),
        by=[
            test(
                "tests/traps/test_finish.py::"
                "test_trap_8_a_connection_killed_before_commit_prepared_is_not_finished[asyncpg]"
            )
        ],
    ),
    mutant(
        "unanswered-prepare-is-a-yes",
        "R16, trap 4",
        "the connection broke before PREPARE arrived; the others commit",
        (COMMITTING, "        answer = Unknown(str(answer))\n", "        answer = Prepared()\n"),
        (
            COMMITTING,
            "    OnlyCommitted,\n    Unknown,",
            "    OnlyCommitted,\n    Prepared,\n    Unknown,",
        ),
        by=[
            simulate(100),
            test(
                "tests/coordinator/test_lost.py::"
                "test_a_branch_whose_backend_was_terminated_aborts_all[asyncpg-orders]"
            ),
        ],
    ),
)
