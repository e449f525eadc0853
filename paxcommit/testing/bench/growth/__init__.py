"""How cost grows: with N, F, what is in doubt, and what acceptors hold (docs/growth.md)."""
