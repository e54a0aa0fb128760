"""Troubles come in pairs: whichever two, a job ends with one outcome and one provider job."""

import itertools
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from crash_support import perform
from street import Pictures

from smile_async.ledger.failpoints import POINTS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

TROUBLES = ("a double click", "the share is away", "a handler dies", "the database is silent")
#: What a job passes; the others belong to batches.
MOMENTS = [point for point in POINTS if not point.startswith("plan")]
#: Each moment with one of the troubles, or, for `make soak`, with all.
WHOLE = "SMILE_RANDOM_KILLS" in os.environ


async def test_any_two_troubles_end_in_one_outcome_and_one_job(tmp_path: Path, pictures: Pictures) -> None:
    """Any two troubles in one life, or one of them and a kill at each moment; then, all being well, every verdict."""
    (tmp_path / "selfie.jpg").write_bytes(pictures.selfie)
    lives: list[dict[str, object]] = []
    for number, pair in enumerate(itertools.combinations(TROUBLES, 2)):
        lives.append({"jobs": [f"pair-{number}"], "troubles": pair})
    killed = [
        (point, trouble)
        for number, point in enumerate(MOMENTS)
        for trouble in (TROUBLES if WHOLE else (TROUBLES[number % len(TROUBLES)],))
    ]
    for number, (point, trouble) in enumerate(killed):
        job = [f"killed-{number}"]
        # Who has no pictures passes no moment: they are away when the next life looks for them.
        away = trouble == "the share is away"
        lives.append({"jobs": job, "troubles": [] if away else [trouble], "point": point})
        if away:
            lives.append({"jobs": job, "troubles": [trouble]})
    ids = list(dict.fromkeys(job for life in lives for job in life["jobs"]))  # type: ignore[attr-defined]
    statuses, created = await perform([*lives, {"jobs": ids, "troubles": []}], tmp_path, 0.05, runs="pair_runs")
    assert [status for life, status in zip(lives, statuses, strict=False) if "point" in life] == [-9] * len(killed)
    assert set(statuses) <= {-9, 0, 3}
    assert statuses[-1] == 0
    assert created == dict.fromkeys(ids, 1)
    with closing(sqlite3.connect(tmp_path / "ledger")) as ledger:
        rows = ledger.execute("SELECT job_id, state, decision FROM smile_jobs").fetchall()
    assert sorted(rows) == sorted((job, "final", "approved") for job in ids)
