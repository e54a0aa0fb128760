"""pending.py: what several tickets know of one job, and the latest word with the history of the reply it came in."""

from dataclasses import replace

import pytest
from ledger_support import job_of, verdict_of

from smile_async.jobs.codes import Decision
from smile_async.jobs.product import Product
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.timing.pacing import Pace
from smile_async.traffic.pending import PendingJob

BARE = Ticket("ada", "j1", 0)
KNOWN = Ticket("ada", "j1", 5, "1", product=Product.ENHANCED_KYC)
OTHER = Ticket("ada", "j1", 5, "2", product=Product.BASIC_KYC)
LOGIN = Ticket("ada", "j1", 2, "1", product=Product.AUTHENTICATION)


@pytest.mark.parametrize(
    ("mine", "theirs", "asked", "found"),
    [
        (BARE, BARE, False, BARE),
        (BARE, KNOWN, False, KNOWN),
        (KNOWN, BARE, False, KNOWN),
        (KNOWN, KNOWN, True, KNOWN),
        (KNOWN, OTHER, False, Ticket("ada", "j1", 5)),
        (KNOWN, OTHER, True, KNOWN),
        (KNOWN, LOGIN, False, Ticket("ada", "j1", 0, "1")),
        (Ticket("ada", "j1", 2), LOGIN, False, LOGIN),
    ],
)
def test_what_tickets_agree_on_counts(mine: Ticket, theirs: Ticket, asked: bool, found: Ticket) -> None:
    """What one knows counts for both; what they dispute counts for neither, or, after a reply, as that told it."""
    pending_job = PendingJob(mine, 0.0, ours=True)
    if asked:
        pending_job.heard(JobStatus(mine, "2302", False), 1.0, Pace().rhythm())
    pending_job.join(theirs)
    assert pending_job.ticket == found


def test_the_latest_word_has_the_history_of_the_reply() -> None:
    """A reply that tells an older word lends its history to the latest; without any word it is told as it came."""
    final, provisional = verdict_of(job_of()), verdict_of(job_of(), "0822")
    late = JobStatus(provisional.ticket, "2302", True, verdict=provisional, history=(provisional,))
    pending_job = PendingJob(final.ticket, 0.0, ours=True)
    assert pending_job.whole(late) is provisional
    assert pending_job.advance(final)
    whole = pending_job.whole(late)
    assert whole is not None
    assert (whole.code, whole.final, whole.history) == ("0820", True, (provisional,))


def test_a_provisional_word_is_kept_without_what_nobody_reads() -> None:
    """A job under review keeps code, ticket, confidence and time of its word, and shares the rest with the others."""
    said = replace(
        verdict_of(job_of(), "0822"), confidence=98.7, raw={"a": 1}, image_links={"selfie_image": "https://x"}
    )
    pending_job = PendingJob(said.ticket, 0.0, ours=True)
    assert pending_job.advance(said)
    kept = pending_job.verdict
    assert kept is not None
    assert kept == replace(said, claims=kept.claims)
    assert (kept.raw, kept.image_links, kept.history) == ({}, {}, ())
    assert not pending_job.advance(said)


def test_a_message_on_the_way_is_no_word() -> None:
    """1012 of a Biometric KYC is neither news nor what a reply said, whatever else came with it."""
    ticket = Ticket("ada", "j1", 1, "1")
    message = Verdict(Decision.APPROVED, False, "1012", "said", ticket, confirmed=True)
    pending_job = PendingJob(ticket, 0.0, ours=True)
    assert not pending_job.advance(message)
    assert pending_job.whole(JobStatus(ticket, "2302", False, verdict=message, history=(message,))) is None


def test_a_query_that_fails_puts_the_next_one_off() -> None:
    """Failures stretch the delay, also of a job that was never asked about."""
    pending_job, rhythm = PendingJob(KNOWN, 0.0, ours=False), Pace().rhythm()
    assert pending_job.delay(rhythm, 0.0) == 0.0
    pending_job.missed(2.0)
    assert pending_job.delay(rhythm, 0.0) > 0.0
