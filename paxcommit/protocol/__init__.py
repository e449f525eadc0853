"""Paxos Commit, pure: events in, effects out; no I/O, no clock, no randomness, no logging.

The protocol is that of J. Gray and L. Lamport, "Consensus on Transaction Commit", ACM TODS 31(1),
2006, with the registrar of its section 6.  In one paragraph: every resource manager's vote is the
value of its own Paxos instance over 2F+1 acceptors, and one more instance, the registrar's, holds
J, the set of resource managers that take part.  The transaction is committed iff the registrar
chose a J and every RM of J chose Prepared.  Since any process that reaches F+1 acceptors can lead
a ballot, anybody can finish any transaction, and nobody has to wait for the coordinator.

Where to look:

=====================  ==========================================================================
`values`, `messages`   what is chosen, and what leaders and acceptors say to each other
`acceptor`             when may an acceptor promise, when may it accept?
`learner`              when is a value chosen, when is a transaction committed?
`resource_manager`     when may a branch vote Prepared?
`leader`               how a ballot of 1 or above is led
`coordinator`          the machine that commits (ballot 0)
`recovery`, `fencing`  the machine that finishes what others began, and how an outcome is forced
`applying`             how a decision reaches the branches
`watching`             whose branches may be resolved now?
`effects`              what machines ask of the world
=====================  ==========================================================================
"""
