"""What a sender says of the jobs that pass through it."""

import pytest
from street import Pictures, session_of

from smile_async import Job
from smile_async.sandbox import RunningSandbox


@pytest.mark.parametrize(("number", "warned"), [(0, False), (6, False), (8, False), (3, True), (9, True)])
async def test_another_number_of_frames_is_warned_of_once(
    number: int, warned: bool, running: RunningSandbox, pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    """Frames by which nobody judges liveness are said to be such in the log, once a session, and sent all the same."""
    frames = [pictures.liveness[n % 8] for n in range(number)]
    jobs = [Job.authenticate("ada", pictures.selfie, liveness=frames) for _ in range(2)]
    async with session_of(running) as session:
        verdicts = [await session.verify(job) for job in jobs]
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    why = f"job {jobs[0].job_id} has {number} liveness frames: liveness is judged by 6 to 8 (said once in a session)"
    assert said == [why] * warned
    assert [verdict.approved for verdict in verdicts] == [True, True]
    assert verdicts[0].actions["Liveness_Check"] == ("Passed" if number in {6, 8} else "Not Applicable")
