"""errors.py: a tree that says whose job it was, whether anything left, and whether to call again."""

import re

import pytest

from smile_async import errors
from smile_async.errors import RateLimited, Refused, SmileError, StaleReply, StillPending
from smile_async.jobs.ticket import Ticket

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
