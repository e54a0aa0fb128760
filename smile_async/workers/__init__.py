r"""Batches on many machines: chunks of jobs, handed out by Procrastinate, owned by the ledger (extra `workers`).

## Many machines, one batch

`pip install '.[workers]'`, and a PostgreSQL database that all can reach. One machine reads the manifest, and with
`--enqueue` leaves the work to the others; without, it works along. Workers come and go at any time:

```console
$ export LEDGER=postgresql://user@host/database
$ printf 'user_id,selfie\nme-1,me.jpg\nme-2,me.jpg\n' > people.csv
$ smile-async batch run people.csv --register --ledger "$LEDGER" --enqueue || echo "exit code $?"
…
exit code 2
$ smile-async worker --ledger "$LEDGER" --until-empty
…
$ smile-async batch report --ledger "$LEDGER" --out report.html
2 rows in report.html
```

Exit code 2 says that rows are pending: nobody has worked yet. Pictures come from a path that all machines see, or by
URI (`s3://`, `gs://`, `az://`, `https://`, without user name or query, read by
[fsspec](https://filesystem-spec.readthedocs.io/)); in a program by `Image.from_uri`. `--rate` holds for all workers
together.

A worker that dies or is cut off is replaced after its `--lease`, without a job sent twice. Jobs under review are set
aside and cost no worker.

## Why the queue may lose everything

Procrastinate delivers the number of a chunk; whether the chunk may be driven, and by whom, is a row of the ledger. A
delivery that comes twice, late or to two workers is harmless, because a claim is one statement that only one of them
wins. A delivery that never comes is made up for by the sweep, which every worker does twice in a lease: a chunk that is
open, due and in nobody's hands is queued again if the queue does not hold it. So nothing depends on the queue's rows:
they can be lost, doubled or deleted at any moment.
"""

from smile_async.batch.worker import Worker, WorkerStats
from smile_async.workers.queue import Queue

__all__ = ["Queue", "Worker", "WorkerStats"]
