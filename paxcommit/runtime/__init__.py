"""The only loops: `aio` and `threads` drive the same plans, operations and machines.

What is done is written once, without a loop: a *plan* yields steps that run in parallel and is
sent their answers; a protocol machine takes events and asks for effects.  The two packages below
only know how to wait.
"""
