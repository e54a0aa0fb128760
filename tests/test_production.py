"""Least surprise in production, where no other module looks."""

import copy
import logging
import pickle
import traceback
import warnings

import pytest
from scripted import KEY, Authority, ScriptedSmile
from street import ENGINES, Pictures, session_of

from smile_async import Ticket
from smile_async.errors import Unavailable, UnreadableReply
from smile_async.protocol.v1.replies import read_result, read_status


@pytest.mark.parametrize("http", ENGINES)
async def test_a_server_of_yesterday_is_refused(
    http: str, smile: ScriptedSmile, authority: Authority, pictures: Pictures
) -> None:
    """A server that speaks only TLS 1.1 gets nothing: Unavailable, nothing sent, and calling again is allowed."""
    import ssl  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        authority.context.minimum_version = authority.context.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        async with session_of(smile, http=http) as session:
            with pytest.raises(Unavailable) as caught:
                await session.verify(pictures.job(), patience=5)
        assert (caught.value.ticket, caught.value.retryable) == (None, True)
        assert not smile.requests
    finally:
        authority.context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
        authority.context.minimum_version = ssl.TLSVersion.TLSv1_2


async def test_a_session_does_not_travel(smile: ScriptedSmile) -> None:
    """A session can be neither pickled nor copied, and the refusal holds no key."""
    async with session_of(smile) as session:
        for travel in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="make one in each process") as caught:
                travel(session)
            assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("read", [read_status, read_result])
def test_a_validation_error_hides_what_it_judged(read: object) -> None:
    """What is wrong with a reply is told by field names; the values stay out of message, traceback and context."""
    body = {"result": {"ResultText": {"canary-face": 1}}, "ResultText": {"canary-face": 1}, "job_complete": "canary"}
    with pytest.raises(UnreadableReply) as caught:
        read(body)  # type: ignore[operator]
    assert caught.value.__context__ is None
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("http", ENGINES)
async def test_nothing_is_logged_of_keys(
    http: str, smile: ScriptedSmile, pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    """With every logger of the process at DEBUG, neither the key nor a presigned query is written by this library."""
    caplog.set_level(logging.DEBUG, "smile_async")
    caplog.set_level(logging.DEBUG, "httpx")
    async with session_of(smile, http=http) as session:
        await session.verify(pictures.job())
        await session.status(Ticket("ada", next(iter(smile.jobs)), 2))
    assert KEY not in caplog.text
    assert "presigned-canary" not in caplog.text
