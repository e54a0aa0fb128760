"""Workers and V3: a batch that waits in PostgreSQL is its API's, and what nobody can tell is not sent by them."""

import asyncio
import json
from pathlib import Path

import pytest
from batch_support import command
from postgres import Postgres
from street import Pictures
from v3_batch_support import CONSENT, SECRETS, lose_answers, manifest_v3, row_v3, session_v3, taken
from workers_support import all_done, fresh

from smile_async.batch import job_id_of
from smile_async.cli import main
from smile_async.ledger import Ledger
from smile_async.sandbox import RunningSandbox
from smile_async.workers import Queue, Worker


async def test_from_enqueue_to_accepted_duplicates(
    server: Postgres,
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who enqueues says the API; a worker of the other is refused, ours sends each row once, and again when told to."""
    url = fresh(server)
    rows = [row_v3("smartselfie", number, pictures, allow_new_enroll=True) for number in range(4)]
    manifest = manifest_v3(tmp_path / "m.jsonl", rows)
    tell = (running, capsys, monkeypatch)
    v3 = ("--api", "v3", "--base-url", running.base_url_v3)
    agreed = ("--consent-url", CONSENT.privacy_policy_url)
    code, said, _ = await command(*tell, "run", manifest, "--ledger", url, "--enqueue", *v3, *agreed)
    assert (code, said["pending"]) == (2, 4)
    refused = await asyncio.to_thread(main, ["worker", "--ledger", url, "--until-empty", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (refused, "belongs to batches that wait by api 'v3', and this is api 'v1'" in told["message"]) == (4, True)
    code, said, _ = await command(*tell, "run", manifest, "--ledger", url, "--enqueue")
    assert (code, "by api 'v3', and this is api 'v1'" in said["message"]) == (4, True)
    lose_answers(running, user_id="u3")
    lost = job_id_of("m", "k3")
    async with (
        Ledger(url, delay=0.002) as ledger,
        Queue(ledger) as queue,
        session_v3(running, ledger=ledger, consent=None) as session,
    ):
        worker = Worker(session, ledger, queue, drain=5.0)
        working = asyncio.create_task(worker.work())
        try:
            await all_done(ledger)
            assert (await command(*tell, "status", "--ledger", url))[1]["unknown"] == 1
            assert [ticket.job_id async for ticket in session.pending()] == [lost]
            code, said, _ = await command(*tell, "retry-failed", "--ledger", url, *v3)
            assert (code, said["done"], said["unknown"], len(taken(running, lost))) == (3, 3, 1, 1)
            # By whichever of the two workers, one of which has lost the answer itself.
            code, said, _ = await command(*tell, "retry-failed", "--ledger", url, "--accept-duplicates", *v3)
            assert (code, said["done"], said["unknown"], len(taken(running, lost))) == (0, 4, 0, 2)
        finally:
            worker.stop()
            await working
    assert len(running.sandbox.jobs) == 5
    async with Ledger(url) as ledger, ledger.reading() as connection:
        found = await connection.exec_driver_sql(
            "SELECT j::text FROM smile_jobs j UNION SELECT i::text FROM smile_id_info i"
        )
        left = "\n".join(found.scalars()).encode()
    assert not [secret for secret in SECRETS if secret in left]
