"""Mutants of learner, leader, resource manager and coordinator: what is chosen, who may say so?"""

from __future__ import annotations

from tests.proof.mutants.mutant import model, mutant, test

__all__ = ["MUTANTS"]

LEARNER = "paxcommit/protocol/learner.py"
LEADER = "paxcommit/protocol/leader.py"
RM = "paxcommit/protocol/resource_manager.py"
COORDINATOR = "paxcommit/protocol/coordinator.py"
_PAPER = "tests/protocol/test_paper_claims.py::"
_RULES = "tests/protocol/test_rules.py::"
_TRAPS = "tests/protocol/test_traps.py::"
_HEDGING = "tests/protocol/test_hedging.py::"

MUTANTS = (
    mutant(
        "quorum-of-f",
        "R5",
        "one acceptor's word commits; the other two decide otherwise",
        (LEARNER, "if len(voters) >= self.quorum:", "if len(voters) >= self.quorum - 1:"),
        by=[
            model("leaders"),
            test(f"{_PAPER}test_a_value_is_chosen_by_f_plus_1_distinct_acceptors_at_one_ballot"),
        ],
    ),
    mutant(
        "2b-counted-across-ballots",
        "trap 26",
        "votes that never were one majority commit: two outcomes",
        (
            LEARNER,
            "self._voters[instance, vote.ballot, vote.value]",
            "self._voters[instance, Ballot(0), vote.value]",
        ),
        by=[model("ballots"), test(f"{_PAPER}test_phase_2b_of_different_ballots_do_not_add_up")],
    ),
    mutant(
        "one-acceptor-counted-twice",
        "trap 26",
        "a repeated answer makes a majority of one",
        (LEARNER, "voters.add(acceptor)", 'voters.add(f"{acceptor}/{len(voters)}")'),
        by=[model("twice"), test(f"{_PAPER}test_an_acceptor_counts_once")],
    ),
    mutant(
        "commit-on-any-prepared",
        "R5, trap 26",
        "one RM's yes commits what another has refused: money is made",
        (LEARNER, "if all(vote is Vote.PREPARED", "if any(vote is Vote.PREPARED"),
        by=[
            model("services"),
            test(
                f"{_PAPER}test_committed_iff_the_registrar_chose_j_and_every_rm_of_j_chose_prepared"
            ),
        ],
    ),
    mutant(
        "the-rest-is-not-asked-after-a-refusal",
        "R21",
        "an acceptor that is away holds up every commit until its hedge",
        (COORDINATOR, "        if not isinstance(event, Phase2b):\n", "        if False:\n"),
        by=[test(f"{_HEDGING}test_a_refusal_makes_it_ask_the_others_at_once")],
    ),
    mutant(
        "late-answers-are-waited-for",
        "R21",
        "an acceptor that hangs turns every commit into OutcomeUnknown",
        (COORDINATOR, "name == _HEDGE and self", "name == _HEDGE * 2 and self"),
        by=[test(f"{_HEDGING}test_late_answers_make_it_ask_the_others_the_same_and_only_once")],
    ),
    mutant(
        "decided-by-whoever-was-asked",
        "R5",
        "F+1 are asked, and one answer counts as all of them",
        (
            COORDINATOR,
            "self._learner = Learner(txid, terms.quorum)",
            "self._learner = Learner(txid, 1)",
        ),
        (LEADER, "len(set(acceptors)) == len(acceptors) == 2 * learner.quorum - 1", "acceptors"),
        by=[model("hedge"), model("leaders")],
    ),
    mutant(
        "two-values-chosen-go-unnoticed",
        "R5",
        "if all else failed, the process would go on and apply both outcomes",
        (LEARNER, "chosen == vote.value,\n", "bool(chosen),\n"),
        by=[test(f"{_TRAPS}test_trap_26_two_values_chosen_stop_everything")],
    ),
    mutant(
        "value-of-the-lowest-ballot",
        "R25",
        "recovery proposes what was given up, against what is chosen",
        (
            LEADER,
            "vote.ballot > highest[instance].ballot",
            "vote.ballot < highest[instance].ballot",
        ),
        by=[
            model("ballots"),
            test(f"{_PAPER}test_the_leader_proposes_the_value_of_the_highest_ballot"),
        ],
    ),
    mutant(
        "free-instance-becomes-prepared",
        "R25, trap 26",
        "a branch that never voted, and may never have been prepared, is committed",
        (
            LEADER,
            "highest[name].value if name in highest else Vote.ABORTED\n    return",
            "highest[name].value if name in highest else Vote.PREPARED\n    return",
        ),
        by=[model("services"), test(f"{_PAPER}test_a_free_instance_becomes_aborted")],
    ),
    mutant(
        "recovery-reuses-ballot-0",
        "R6",
        "recovery's Aborted stands beside the coordinator's J at one ballot: two outcomes",
        (
            LEADER,
            "return self._to_all(Phase1a(self.txid, self.ballot))",
            "return self._to_all(\n"
            "            Phase2a(self.txid, Ballot(0), proposal([]))\n"
            "            if self.attempts == 1\n"
            "            else Phase1a(self.txid, self.ballot)\n"
            "        )",
        ),
        by=[model("restart"), test(f"{_TRAPS}test_trap_25_ballot_0_is_sent_once")],
    ),
    mutant(
        "leader-counts-promises-of-another-ballot",
        "R25",
        "a late promise of an older ballot hides what was accepted since",
        (
            LEADER,
            "if ballot == self.ballot and self._values is None and not self.done:",
            "if self._values is None and not self.done:",
        ),
        by=[test(f"{_PAPER}test_a_leader_does_not_count_promises_of_another_ballot")],
    ),
    mutant(
        "leader-does-not-wait-for-f-plus-1-promises",
        "R25",
        "one acceptor that knows nothing is taken for a majority: a commit is aborted",
        (
            LEADER,
            "if len(self._promises) < self.learner.quorum:",
            "if len(self._promises) < self.learner.quorum - 1:",
        ),
        by=[model("leaders"), test(f"{_PAPER}test_a_leader_waits_for_f_plus_1_promises")],
    ),
    mutant(
        "leader-does-not-go-above-what-it-heard",
        "R25",
        "it is outbid for ever: nobody finishes, locks stay",
        (
            LEADER,
            "self._promised = max(self._promised, promised)",
            "self._promised = min(self._promised, promised)",
        ),
        by=[test(f"{_PAPER}test_a_leader_goes_above_every_ballot_it_heard_of")],
    ),
    mutant(
        "registrar-not-settled-first",
        "R25, trap 27",
        "the votes that happen to be there are taken for J: a partial J commits too early",
        (
            LEADER,
            "highest[REGISTRAR].value if REGISTRAR in highest else Vote.ABORTED\n",
            "Vote.ABORTED if not highest else (\n"
            "        highest[REGISTRAR].value\n"
            "        if REGISTRAR in highest\n"
            "        else ParticipantSet.of(highest)\n"
            "    )\n",
        ),
        by=[model("services"), test(f"{_TRAPS}test_trap_27_a_partial_j_commits_too_early")],
    ),
    mutant(
        "tag-not-checked",
        "R16, trap 1",
        "PREPARE in a failed transaction answers ROLLBACK: half of it is committed",
        (RM, 'if tag != "PREPARE TRANSACTION":', "if not tag:"),
        by=[test(f"{_RULES}test_r16_only_the_tag_without_a_warning_is_a_yes")],
    ),
    mutant(
        "warning-01000-ignored",
        "R16, trap 2",
        "a branch that is prepared here and maybe not on the standby votes yes",
        (RM, "    if warned:\n", "    if warned and not tag:\n"),
        by=[test(f"{_RULES}test_r16_only_the_tag_without_a_warning_is_a_yes")],
    ),
    mutant(
        "one-phase-tag-not-checked",
        "R17, trap 1",
        "a COMMIT that answered ROLLBACK is told as committed",
        (RM, 'if tag == "COMMIT":', "if tag:"),
        by=[test(f"{_RULES}test_r22_a_commit_that_answers_rollback_is_a_no")],
    ),
    mutant(
        "an-fsync-error-is-a-no",
        "R22, trap 4",
        "told as aborted, and the gid is there after the restart",
        (RM, '{"08", "53", "57", "58", "XX"}', '{"08"}'),
        by=[test(f"{_RULES}test_r22_only_an_ordinary_sqlstate_is_a_no")],
    ),
    mutant(
        "second-vote-at-ballot-0",
        "R6, trap 25",
        "an RM that votes twice: two outcomes in six steps",
        (RM, "        self._state = _State.VOTED\n", ""),
        by=[test(f"{_TRAPS}test_trap_25_an_rm_votes_once")],
    ),
    mutant(
        "vote-without-proof",
        "R16, trap 4",
        "an unanswered PREPARE votes yes, and its branch never comes",
        (
            COORDINATOR,
            "            rm.answered(event.answer)\n",
            "            rm.answered(\n"
            "                Prepared() if isinstance(event.answer, Unknown) else event.answer\n"
            "            )\n",
        ),
        (
            COORDINATOR,
            "        match event.answer:\n"
            "            case No(reason=reason, retryable=retryable):\n"
            '                return self._abort_for(f"{rm.participant}: {reason}", retryable)\n'
            "            case Unknown",
            "        match rm.answer:\n"
            "            case No(reason=reason, retryable=retryable):\n"
            '                return self._abort_for(f"{rm.participant}: {reason}", retryable)\n'
            "            case Unknown",
        ),
        by=[model("rollback"), test(f"{_RULES}test_r16_everything_else_is_not_a_vote")],
    ),
    mutant(
        "acknowledged-before-the-quorum",
        "R21",
        "told as committed on one acceptor's word; recovery aborts it",
        (
            COORDINATOR,
            "        effects = self._leader.handle(event)\n",
            "        effects = self._leader.handle(event)\n"
            "        if isinstance(event, Phase2b):\n"
            "            self._learner._chosen.update(event.values)\n",
        ),
        by=[
            model("leaders"),
            test(f"{_PAPER}test_it_claims_nothing_with_more_than_f_acceptors_silent"),
        ],
    ),
    mutant(
        "a-majority-of-refusals-is-an-abort",
        "R21, trap 28",
        "told as aborted; the one acceptor that has it makes somebody commit it",
        (COORDINATOR, "import AcceptorName, Phase2a,", "import AcceptorName, Outbid, Phase2a,"),
        (
            COORDINATOR,
            "        effects = self._leader.handle(event)\n",
            "        effects = self._leader.handle(event)\n"
            "        if isinstance(event, Outbid):\n"
            "            rollback = dict.fromkeys(self._rms, Verdict.ROLL_BACK)\n"
            '            return self._decided(Outcome.ABORTED, rollback, "refused")\n',
        ),
        by=[model("leaders"), test(f"{_TRAPS}test_trap_28_a_majority_of_refusals_is_not_an_abort")],
    ),
    mutant(
        "timeout-reported-as-abort",
        "R21, R22",
        "told as aborted and rolled back; the acceptors have it committed",
        (
            COORDINATOR,
            '                return self._unknown(\n                    f"no F+1',
            "                return self._decided(\n"
            "                    Outcome.ABORTED,\n"
            "                    dict.fromkeys(self._rms, Verdict.ROLL_BACK),\n"
            '                    f"no F+1',
        ),
        by=[model("deadline"), test(f"{_RULES}test_r6_who_has_voted_never_rolls_back_by_itself")],
    ),
    mutant(
        "unanswered-one-phase-commit-reported-as-abort",
        "R22",
        "the user runs it again, and pays twice",
        (
            COORDINATOR,
            '                return self._unknown(f"{rm.participant}: {reason}")\n',
            "                return self._decided(\n"
            '                    Outcome.ABORTED, {}, f"{rm.participant}: {reason}"\n'
            "                )\n",
        ),
        by=[
            model("force-one-phase"),
            test(f"{_RULES}test_r22_a_one_phase_commit_without_an_answer_is_unknown"),
        ],
    ),
    mutant(
        "late-one-phase-commit-reported-as-abort",
        "R22",
        "the deadline cuts the connection; the COMMIT had arrived",
        (
            COORDINATOR,
            "                if not self._one_phase:  # a lone",
            "                if self._one_phase:\n"
            '                    cut += self._decided(Outcome.ABORTED, {}, "late")\n'
            "                else:  # a lone",
        ),
        by=[
            model("force-one-phase"),
            test(f"{_RULES}test_r22_a_one_phase_commit_that_is_late_is_unknown_not_aborted"),
        ],
    ),
    mutant(
        "reader-not-committed-before-the-first-2a",
        "R15",
        "the others commit, and the SERIALIZABLE reader that they relied on fails",
        (COORDINATOR, "        if not serializable:\n", "        if serializable is not None:\n"),
        by=[
            model("reader-conflict"),
            test(f"{_RULES}test_r15_a_serializable_reader_commits_before_the_first_phase_2a"),
        ],
    ),
    mutant(
        "one-phase-although-nobody-would-fence-it",
        "R17, R23",
        "registered after the id was drawn: forced to abort elsewhere, committed here",
        (
            COORDINATOR,
            "one_phase and len(participants) == 1\n",
            "len(participants) == 1\n",
        ),
        by=[
            test(
                f"{_RULES}test_r23_a_participant_registered_after_the_id_was_drawn_never_commits"
                "_in_one_phase"
            )
        ],
    ),
    mutant(
        "abort-leaves-the-prepared-branch",
        "R21",
        "the block aborts, and its prepared branch keeps its locks",
        (
            COORDINATOR,
            "            name: Verdict.ROLL_BACK\n            if isinstance",
            "            name: Verdict.ROLL_BACK_OPEN\n            if isinstance",
        ),
        by=[test(f"{_RULES}test_r6_a_no_is_told_and_never_voted")],
    ),
)
