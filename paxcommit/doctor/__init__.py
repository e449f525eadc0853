"""What `paxcommit doctor` checks, server by server, and what each finding means."""
