"""errors.py: a tree that says whose job it was, whether anything left, and whether to call again."""

import copy
import multiprocessing
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest
from ground_support import jpeg

from smile_async import errors
from smile_async.errors import InvalidJob, JobNotFound, RateLimited, Refused, SmileError, StaleReply, StillPending
from smile_async.jobs.codes import Decision
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict

LEAVES = [getattr(errors, name) for name in errors.__all__]


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    """The tree drawn at the top of the file names every error below its real bases, and nothing else."""
    drawn = {}
    path: list[str] = []
    for bar, name, others in re.findall(r"^    ([|+x ]*)([A-Z]\w+)(?: \((\w+)\))?", errors.__doc__ or "", re.MULTILINE):
        path[len(bar) // 2 :] = [name]
        drawn[name] = {path[-2] if len(path) > 1 else "Exception", *([others] if others else [])}
    assert drawn == {error.__name__: {base.__name__ for base in error.__bases__} for error in LEAVES}


@pytest.mark.parametrize("kind", LEAVES)
def test_every_error_tells_job_ticket_and_whether_to_call_again(kind: type[SmileError]) -> None:
    """Each leaf is a SmileError, explains itself, carries what it is given, and by default promises nothing."""
    needed = {"status": 400} if issubclass(kind, Refused) else {}
    ticket = Ticket("ada", "7f3e", 2)
    bare = kind("what happened", **needed)
    full = kind("what happened", ticket=ticket, retryable=True, **needed)
    assert isinstance(bare, SmileError)
    assert kind.__doc__
    assert (str(bare), bare.job, bare.ticket, bare.retryable) == ("what happened", None, None, False)
    assert (full.ticket, full.retryable) == (ticket, True)


def test_a_refusal_says_what_the_server_said() -> None:
    """A Refused has the status, the code and the text of the server, which is its message where we add none."""
    told = Refused(status=400, code="2204", message="unauthorized")
    assert (str(told), told.status, told.code, told.message) == ("unauthorized", 400, "2204", "unauthorized")
    assert str(Refused("ours", status=400, message="theirs")) == "ours"
    assert Refused(status=500).code == ""


def test_what_is_filled_in_later_is_none_at_first() -> None:
    """`.retry_after` and `.verdict` are None until somebody knows better."""
    assert RateLimited("slow down", status=429).retry_after is None
    assert StillPending("pending").verdict is None


def test_the_builtin_that_a_caller_would_catch_catches() -> None:
    """Callers who know only ValueError, TimeoutError or RuntimeError catch what is one."""
    for builtin, names in (
        (ValueError, {"BadConfiguration", "InvalidJob"}),
        (TimeoutError, {"StillPending"}),
        (RuntimeError, {"SessionClosed", "WrongLoop"}),
    ):
        assert {kind.__name__ for kind in LEAVES if issubclass(kind, builtin)} == names
    assert issubclass(StaleReply, errors.ForgedReply)


def pickled(error: SmileError) -> SmileError:
    """*error* as another process would get it."""
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, SmileError)
    return again


COPIES = [copy.copy, copy.deepcopy, pickled]


def an_error(kind: type[SmileError]) -> SmileError:
    """An error of *kind* with all that it may know."""
    more = {"status": 429, "code": "2304", "message": "theirs"} if issubclass(kind, Refused) else {}
    ticket = Ticket("ada", "7f3e", 2, "123")
    job = Job.authenticate("ada", jpeg(), job_id="7f3e", partner_params={"shop": "9"})
    error = kind("what happened", job=job, ticket=ticket, retryable=True, **more)
    if isinstance(error, RateLimited):
        error.retry_after = 7.5
    if isinstance(error, StillPending):
        error.verdict = Verdict(Decision.PROVISIONAL, False, "0822", "", ticket, raw={"a": 1})
    error.add_note("seen in a batch")
    return error


@pytest.mark.parametrize("again", COPIES)
@pytest.mark.parametrize("kind", LEAVES)
def test_an_error_travels_with_all_it_knows(kind: type[SmileError], again: Callable[[SmileError], SmileError]) -> None:
    """A copy, a deep copy and a pickle of each leaf say what it said, of the same job, and are errors of their own."""
    error = an_error(kind)
    copied = again(error)
    assert (type(copied), str(copied), copied.args) == (kind, "what happened", ("what happened",))
    assert copied is not error
    told, found = dict(vars(error)), dict(vars(copied))
    was, job = told.pop("job"), found.pop("job")
    assert found == told
    assert (job.ticket, job.partner_params, job.images) == (was.ticket, was.partner_params, was.images)


@pytest.mark.parametrize("again", COPIES)
def test_the_error_about_a_job_that_was_refused_travels_too(again: Callable[[SmileError], SmileError]) -> None:
    """What Job itself refused is not judged a second time on the way, and its odd parameters stay as they are."""
    for params in ({"job_id": "x"}, ["a", "list"], {"n": 1}):
        with pytest.raises(InvalidJob) as caught:
            Job.authenticate("ada", jpeg(), partner_params=params)  # type: ignore[arg-type]
        copied = again(caught.value)
        assert str(copied) == str(caught.value)
        assert copied.job is not None
        assert copied.job.partner_params == params


def refuse(user_id: str) -> None:
    """What a worker of a pool may meet."""
    job = Job.authenticate(user_id, jpeg())
    raise JobNotFound("no such job", status=404, code="2304", job=job, ticket=job.ticket, retryable=True)


def test_a_refusal_leaves_the_pool_it_was_raised_in() -> None:
    """A process pool hands on a refusal that its worker met, and lives: it died of an error it could not unpickle."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for user_id in ("ada", "grace"):
            with pytest.raises(JobNotFound, match="no such job") as caught:
                pool.submit(refuse, user_id).result(60)
            error = caught.value
            assert error.job is not None
            assert (error.job.user_id, error.ticket, error.code) == (user_id, error.job.ticket, "2304")
            assert error.retryable
