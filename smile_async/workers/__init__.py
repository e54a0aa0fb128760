"""Batches on many machines: chunks of jobs, handed out by Procrastinate, owned by the ledger (extra `workers`).

Procrastinate delivers the number of a chunk; whether the chunk may be driven, and by whom, is a row of the ledger. A
delivery that comes twice, late or to two workers is harmless, because a claim is one statement that only one of them
wins. A delivery that never comes is made up for by the sweep, which every worker does twice in a lease: a chunk that is
open, due and in nobody's hands is queued again if the queue does not hold it. So nothing depends on the queue's rows:
they can be lost, doubled or deleted at any moment.
"""

from smile_async.batch.worker import Worker, WorkerStats
from smile_async.workers.queue import Queue

__all__ = ["Queue", "Worker", "WorkerStats"]
