"""Jobs, tickets and verdicts are values: they may be copied, and sent to another process."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from ground_support import CANARY, jpeg, png

from smile_async import Failed, Finished
from smile_async.errors import Unavailable
from smile_async.jobs.codes import Decision
from smile_async.jobs.image import Image
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import JobType, Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.protocol.signature import Secret
from smile_async.session import SmileSession

COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    *(lambda value, way=way: pickle.loads(pickle.dumps(value, way)) for way in range(pickle.HIGHEST_PROTOCOL + 1)),
]
TICKET = Ticket("ada", "7f3e", JobType.SMART_SELFIE_AUTHENTICATION, "123")
PAST = Verdict(Decision.PROVISIONAL, False, "0822", "", TICKET)
VERDICT = Verdict(
    *(Decision.APPROVED, True, "1220", "Approved", TICKET, "callback"),
    confirmed=True,
    confidence=99.5,
    actions={"Liveness_Check": "Passed"},
    image_links={"selfie_image": "https://x"},
    history=(PAST,),
    raw={"FullName": "Ada L"},
)


@pytest.mark.parametrize("again", COPIES)
@pytest.mark.parametrize(
    "value",
    [
        TICKET,
        VERDICT,
        JobStatus(TICKET, "2302", complete=True, verdict=VERDICT, history=(PAST,), raw={"code": "2302"}),
        Image.from_path("ada.jpg"),
        Image.from_bytes(jpeg(), inline=True),
        Image.from_bytes(jpeg()).spent(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_survives_copies_and_pickles(again: Callable[[Any], Any], value: Any) -> None:
    """Each comes back equal, what does not count in a comparison included, under every protocol of pickle."""
    copied = again(value)
    assert copied == value
    assert type(copied) is type(value)
    assert getattr(copied, "raw", None) == getattr(value, "raw", None)


@pytest.mark.parametrize("again", COPIES)
def test_a_job_survives_with_its_pictures(again: Callable[[Any], Any]) -> None:
    """A job keeps its pictures, its type and its parameters, is as immutable as it was, and still shows no picture."""
    face = jpeg()
    job = Job.register("ada", face, liveness=[png(), "f.jpg"], partner_params={"shop": "9"}, allow_new_enroll=True)
    copied = again(job)
    for name in Job.__dataclass_fields__:
        assert getattr(copied, name) == getattr(job, name)
    assert copied.job_type is JobType.SMART_SELFIE_REGISTRATION
    assert copied.selfie.content == face
    for change, given in (
        ("__setitem__", ("shop", "8")),
        ("pop", ("shop",)),
        ("update", ({"shop": "8"},)),
        ("clear", ()),
    ):
        with pytest.raises(TypeError, match="make another job"):
            getattr(copied.partner_params, change)(*given)
    assert CANARY not in repr(copied)
    assert [image.content for image in copied.spent().images] == [None] * 3


def test_a_job_comes_apart() -> None:
    """`dataclasses.asdict` takes a job apart into what JSON can hold, its parameters too; `replace` makes another."""
    job = Job.authenticate("ada", "ada.jpg", job_id="7f3e", partner_params={"shop": "9"})
    found = json.loads(json.dumps(dataclasses.asdict(job)))
    assert (found["user_id"], found["partner_params"], found["selfie"]["path"]) == ("ada", {"shop": "9"}, "ada.jpg")
    assert dataclasses.replace(job, user_id="bob").partner_params == {"shop": "9"}


@pytest.mark.parametrize("again", COPIES)
def test_outcomes_survive(again: Callable[[Any], Any]) -> None:
    """The outcomes of a stream come through with job, ticket and verdict, or error."""
    job = Job.authenticate("ada", jpeg()).spent()
    finished, failed = again(Finished(job, TICKET, VERDICT)), again(Failed(job, None, Unavailable("no answer")))
    assert (finished.job.ticket, finished.ticket, finished.verdict) == (job.ticket, TICKET, VERDICT)
    assert (failed.job.images, failed.ticket, str(failed.error)) == (job.images, None, "no answer")


@pytest.mark.parametrize("again", COPIES)
def test_secrets_and_sessions_stay_where_they_are(again: Callable[[Any], Any]) -> None:
    """A key and a session belong to one process: neither a copy nor a pickle is made of them."""
    for value in (Secret("key"), SmileSession("085", "key")):
        with pytest.raises(TypeError, match="can not be pickled"):
            again(value)
