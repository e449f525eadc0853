"""A workload whose truth can be read off the databases: clients move money between banks.

Each participant is a bank.  A transfer takes money from an account at one bank and brings it to an
account at another, in one transaction, and writes its id down at both.  Money is thus neither made
nor lost unless a transaction took effect at one bank only, and `judge` sees that from outside.

``python -m paxcommit.testing.bank`` runs clients in a process of their own.
"""

from paxcommit.testing.bank.carriers import Carrier, Kind, PaxosCommit, Tell, TwoPhaseCommit
from paxcommit.testing.bank.judge import Verdict, judge
from paxcommit.testing.bank.ledger import Account, Transfer, draw, open_accounts

__all__ = [
    "Account",
    "Carrier",
    "Kind",
    "PaxosCommit",
    "Tell",
    "Transfer",
    "TwoPhaseCommit",
    "Verdict",
    "draw",
    "judge",
    "open_accounts",
]
