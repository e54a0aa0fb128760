"""Many jobs from a manifest, through a ledger: stopped, crashed or deployed over, a batch goes on where it was.

`smile-async batch` is its command line; programs use `Planner` and `Run` with a session and a ledger of their own.
"""

from smile_async.batch.manifest import Flaw, Row, job_of, read_manifest
from smile_async.batch.output import render
from smile_async.batch.planning import Planner, job_id_of
from smile_async.batch.running import Run, Tally

__all__ = ["Flaw", "Planner", "Row", "Run", "Tally", "job_id_of", "job_of", "read_manifest", "render"]
