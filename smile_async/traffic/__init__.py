"""Who carries it: a job's pictures, its upload, its polls and callbacks, and the tasks all that runs in.

It may touch all that is below: timing, jobs, protocol, settings, transport and ledger. It does not know the session.
"""
