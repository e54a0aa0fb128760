"""What a session remembers of the jobs that V3 has named."""

import pytest

from smile_async import Ticket
from smile_async.traffic import taken as module
from smile_async.traffic.taken import Taken


def ticket(job_id: str, name: str) -> Ticket:
    """Of ada's job of that id, with the provider's name for it."""
    return Ticket("ada", job_id, 2, name, api="v3")


def test_a_webhook_that_comes_late_does_not_make_a_request_forgotten() -> None:
    """It tells the name a second time, and nothing of what was sent under it."""
    taken = Taken()
    taken.note(ticket("j1", "job_a"), 7)
    taken.note(ticket("j1", "job_a"))
    assert taken.of("ada", "j1") == (ticket("j1", "job_a"), 7)


def test_a_job_that_was_sent_twice_has_its_latest_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The former name finds nothing: not the new ticket, and not one that was forgotten meanwhile."""
    monkeypatch.setattr(module, "REMEMBERED", 1)
    taken = Taken()
    taken.note(ticket("j1", "job_a"), 7)
    taken.note(ticket("j1", "job_b"))
    assert (taken.named("job_a"), taken.named("job_b")) == (None, ticket("j1", "job_b"))
    assert taken.of("ada", "j1") == (ticket("j1", "job_b"), None)
    taken.note(ticket("j2", "job_c"))
    assert [taken.named(name) for name in ("job_a", "job_b", "job_c")] == [None, None, ticket("j2", "job_c")]
