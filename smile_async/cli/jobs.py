"""`verify`, `submit`, `wait`, `status`, `replay`: one job from a shell, with the account in SMILE_* variables.

The key is read from the environment only: what stands on a command line stands in the process list.
"""
# ruff: noqa: PLR0917 - typer reads the options from the signature

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Annotated, Any, TypeVar

import typer

from smile_async.cli import options
from smile_async.cli.output import (
    ExitCode,
    code_of,
    people,
    plain,
    redrawn,
    show_verdict,
    show_way_back,
    verdict_document,
)
from smile_async.cli.streams import print_document
from smile_async.errors import Refused, SmileError
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.session import SmileSession

__all__ = ["replay", "status", "submit", "verify", "wait"]

_Answer = TypeVar("_Answer")
GivenTicket = Annotated[
    str | None, typer.Argument(help="A ticket as `submit` prints it; '-': read it from standard input.")
]
GivenUser = Annotated[str | None, typer.Option("--user-id", help="Instead of a ticket.", show_default=False)]
GivenJob = Annotated[str | None, typer.Option("--job-id", help="Instead of a ticket.", show_default=False)]
_Work = Callable[[SmileSession], Coroutine[Any, Any, _Answer]]


@options.with_account
@options.with_job
def verify(
    job: Job,
    until: options.UntilWhat = options.Wanted.DECISION,
    patience: options.Patience = 120.0,
    account: options.Account = options.NO_ACCOUNT,
    json: options.Json = False,
) -> int:
    """Submit a job and wait for the verdict."""

    async def wait(session: SmileSession) -> Verdict:
        async with _under_way(session, job.ticket, "verifying", account):
            return await session.verify(job, until.value, patience)

    verdict = _in_session(wait, account)
    print_document(verdict_document(verdict)) if json else show_verdict(verdict, account)
    return code_of(verdict)


@options.with_account
@options.with_job
def submit(
    job: Job,
    patience: options.Patience = 120.0,
    account: options.Account = options.NO_ACCOUNT,
    json: options.Json = False,  # noqa: ARG001 - a ticket is JSON for everybody
) -> int:
    """Submit a job and print its ticket.

    Returns at once; `status` and `wait` take the ticket and ask for the verdict.
    """

    async def send(session: SmileSession) -> Ticket:
        async with _under_way(session, job.ticket, "submitting", account):
            return await session.submit(job, patience)

    ticket = _in_session(send, account)
    # First: it is the way back to the job even where nobody can read standard output.
    show_way_back(ticket, account)
    print_document(ticket.to_dict())
    return ExitCode.DONE


@options.with_account
def status(
    ticket: GivenTicket = None,
    user_id: GivenUser = None,
    job_id: GivenJob = None,
    history: Annotated[bool, typer.Option("--history", help="Every earlier result too.")] = False,
    image_links: Annotated[
        bool, typer.Option("--image-links", help="Links to the pictures: whoever has one sees the face.")
    ] = False,
    account: options.Account = options.NO_ACCOUNT,
    json: options.Json = False,
) -> int:
    """Ask once how far a job is."""
    wanted = _ticket(ticket, user_id, job_id)

    async def ask(session: SmileSession) -> JobStatus:
        return await session.status(_askable(wanted, session), history, image_links)

    found = _in_session(ask, account)
    print_document(_status_document(found, history, image_links)) if json else _show_status(found, account)
    return code_of(found.verdict)


@options.with_account
def wait(
    ticket: GivenTicket = None,
    user_id: GivenUser = None,
    job_id: GivenJob = None,
    until: options.UntilWhat = options.Wanted.DECISION,
    patience: options.Patience = 120.0,
    account: options.Account = options.NO_ACCOUNT,
    json: options.Json = False,
) -> int:
    """Wait for a verdict.

    Of a job that was submitted before, here or elsewhere.
    """
    wanted = _ticket(ticket, user_id, job_id)

    async def ask(session: SmileSession) -> Verdict:
        return await session.wait(_askable(wanted, session), until.value, patience)

    verdict = _in_session(ask, account)
    print_document(verdict_document(verdict)) if json else show_verdict(verdict, account)
    return code_of(verdict)


@options.with_account
def replay(
    ticket: GivenTicket = None,
    callback_url: Annotated[
        str | None, typer.Option(help="Send it there, rather than where the job's webhooks go.", show_default=False)
    ] = None,
    account: options.Account = options.NO_ACCOUNT,
    json: options.Json = False,
) -> int:
    """Have a webhook sent again (V3)."""
    wanted = _ticket(ticket, None, None)

    async def ask(session: SmileSession) -> None:
        await session.replay(wanted, callback_url)

    _in_session(ask, account)
    if json:
        print_document({"replayed": wanted.to_dict()})
    return ExitCode.DONE


def _askable(ticket: Ticket, session: SmileSession) -> Ticket:
    """*ticket*, unless it is made of ids that mean nothing to the API."""
    if session.api != "v1" and ticket.job_type == UNKNOWN_JOB_TYPE and ticket.smile_job_id is None:
        raise typer.BadParameter(f"{session.api} finds a job by its ticket alone: give it as `submit` printed it")
    return ticket


def _ticket(text: str | None, user_id: str | None, job_id: str | None) -> Ticket:
    if user_id and job_id and text is None:
        return Ticket(user_id, job_id, UNKNOWN_JOB_TYPE)
    if user_id or job_id:
        raise typer.BadParameter("give a ticket, or both --user-id and --job-id")
    if text == "-" or (text is None and not sys.stdin.isatty()):
        try:
            # What PowerShell pipes begins with a mark.
            text = sys.stdin.read().removeprefix("\ufeff")
        except UnicodeDecodeError:
            raise typer.BadParameter("standard input is no text: give the ticket as `submit` printed it") from None
    if not text:
        raise typer.BadParameter("give a ticket, or both --user-id and --job-id")
    return Ticket.from_json(text)


def _in_session(work: _Work[_Answer], account: options.Account) -> _Answer:
    async def inside() -> _Answer:
        async with options.session_of(account) as session:
            return await work(session)

    return asyncio.run(inside())


@contextlib.asynccontextmanager
async def _under_way(
    session: SmileSession, ticket: Ticket, doing: str, account: options.Account
) -> AsyncIterator[None]:
    """Tell on standard error how far the one job of *session* is, and where it is left, how to find it again."""
    try:
        with _progress(session, f"{doing} {plain(ticket.user_id)}"):
            yield
    except asyncio.CancelledError:
        show_way_back(session.sender.known(ticket), account)
        raise
    except SmileError as error:
        # A refused one is not on its way.
        if error.ticket is not None and not isinstance(error, Refused):
            show_way_back(error.ticket, account)
        raise


@contextlib.contextmanager
def _progress(session: SmileSession, what: str) -> Iterator[None]:
    with redrawn().status(f"{what}: uploading") as line:

        async def watch() -> None:
            while True:
                stats = session.stats
                if stats.submitted:
                    line.update(f"{what}: uploaded, asked {stats.polls} times for the verdict")
                await asyncio.sleep(0.2)

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()


def _status_document(found: JobStatus, history: bool, image_links: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ticket": found.ticket.to_dict(),
        "code": found.code,
        "complete": found.complete,
        "verdict": verdict_document(found.verdict) if found.verdict else None,
    }
    if history:
        document["history"] = [verdict_document(past) for past in found.history]
    if image_links:
        document["image_links"] = dict(found.image_links)
    return document


def _show_status(found: JobStatus, account: options.Account) -> None:
    if found.verdict is not None:
        show_verdict(found.verdict, account)
    elif found.waiting_for_zip:
        people().print("no pictures have arrived for this job yet")
    else:
        people().print("no verdict yet")
    for past in found.history:
        said = plain(f"{past.decision}  {past.code} {past.text} {past.timestamp}")
        people().print(f"[dim]earlier[/dim]  {said}")
    for name, link in found.image_links.items():
        people().print(f"{plain(name)}  {plain(link)}")
