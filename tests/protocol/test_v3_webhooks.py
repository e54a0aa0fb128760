"""signature.py, webhooks.py, type_id.py of V3: what a webhook proves, and what an impostor can not do with one."""

import json
from dataclasses import replace
from typing import Any

import pytest
from ground_support import KEY, NOW, PARTNER, signature_of, stamp_of
from hypothesis import given
from hypothesis import strategies as st
from v3_support import HEADERS, TYPE_ID, said, signed_headers

from smile_async import Decision, JobStatus, Ticket
from smile_async.errors import ForgedReply, SmileError, StaleReply, UnreadableReply
from smile_async.protocol.callback_urls import Address
from smile_async.protocol.signature import Secret
from smile_async.protocol.v3.judging import judge_status
from smile_async.protocol.v3.signature import HeaderSigner
from smile_async.protocol.v3.type_id import is_type_id, made_at
from smile_async.protocol.v3.webhooks import Webhook, completion_flaw, judge_webhook

TICKET = Ticket("ada", "7f3e", 2, api="v3")
BODY: dict[str, Any] = {
    "status": "block",
    "message": "Verification failed.",
    "reason": "spoof_detected",
    "partner_params": {"smile_async_job": "7f3e"},
    "image_links": {"selfie_image": "https://x.example/presigned"},
    "id_fields": {"full_name": "Amina"},
}
NAMES = {"job_id": TYPE_ID, "user_id": "ada", "api_version": "v3"}


def heard(body: dict[str, Any] | None = None, **names: str) -> Webhook:
    """A good webhook, with other headers by *names*."""
    return judge_webhook(signed_headers(**{**NAMES, **names}), json.dumps(body or BODY).encode(), HEADERS, NOW)


def test_a_webhook_is_a_claim() -> None:
    """Ids come from the headers; its verdict is unconfirmed, with a reason, and its person and links are claims."""
    hook = heard()
    assert (hook.type_id, hook.user_id, hook.job_id, hook.word) == (TYPE_ID, "ada", "7f3e", "block")
    verdict = hook.verdict(TICKET)
    assert verdict is not None
    assert (verdict.decision, verdict.code, verdict.reason) == (Decision.REJECTED, "block", "spoof_detected")
    assert (verdict.confirmed, verdict.source, verdict.ticket.smile_job_id) == (False, "callback", TYPE_ID)
    assert verdict.claims["id_fields"] == {"full_name": "Amina"}
    assert verdict.claims["image_links"] == BODY["image_links"]
    assert (verdict.record, verdict.image_links) == ({}, {})
    assert "Amina" not in f"{hook!r} {verdict!r}"
    assert "presigned" not in f"{hook!r} {verdict!r}"
    clear = heard({"status": "clear"}).verdict(TICKET)
    assert clear is not None
    assert not clear.approved


@pytest.mark.parametrize("word", ["processing", "queued"])
def test_progress_is_no_verdict(word: str) -> None:
    """`processing`, before or after the end, and a word of tomorrow say nothing."""
    hook = heard({"status": word})
    assert not hook.decided
    assert hook.verdict(TICKET) is None


def test_a_version_of_tomorrow_is_shown() -> None:
    """It is read as far as it can be."""
    assert heard(api_version="v4" * 50).api_version == ("v4" * 50)[:40]


@pytest.mark.parametrize("partner_id", ["002", "2", "0002"])
@pytest.mark.parametrize("signed_as", ["002", "2"])
def test_both_forms_of_the_partner_id_are_known(partner_id: str, signed_as: str) -> None:
    """Nobody knows which of them is signed; other partners' are not ours."""
    headers = signed_headers(partner_id=signed_as, **NAMES)
    assert judge_webhook(headers, said(status="clear"), HeaderSigner(partner_id, Secret(KEY)), NOW).word == "clear"
    with pytest.raises(ForgedReply):
        judge_webhook(headers, said(status="clear"), HeaderSigner("020", Secret(KEY)), NOW)


def test_a_key_may_be_changed() -> None:
    """The previous key is good for checking."""
    older = HeaderSigner(PARTNER, Secret("new"), [Secret(KEY)])
    assert judge_webhook(signed_headers(**NAMES), said(status="clear"), older, NOW).word == "clear"


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, ForgedReply),
        ({"response-timestamp": stamp_of(NOW)}, ForgedReply),
        (signed_headers(key="another"), ForgedReply),
        ({**signed_headers(), "response-timestamp": stamp_of(NOW + 1)}, ForgedReply),
        ({**signed_headers(), "response-signature": "\ud800é"}, ForgedReply),
        (signed_headers(NOW - 301), StaleReply),
        (signed_headers(NOW + 301), StaleReply),
    ],
)
def test_what_is_not_signed_lately_is_not_read(headers: dict[str, str], kind: type[SmileError]) -> None:
    """Whoever has no key can not even make us read."""
    with pytest.raises(ForgedReply) as caught:
        judge_webhook(headers, b"not JSON", HEADERS, NOW)
    assert type(caught.value) is kind


def test_a_timestamp_without_a_date_is_stale() -> None:
    """A signature over what can not be dated would be good for ever."""
    text = "1767323045"
    signature = signature_of(text)
    with pytest.raises(StaleReply, match="no zone or no date"):
        judge_webhook({"response-timestamp": text, "response-signature": signature}, b"{}", HEADERS, NOW)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", {}),
        (b"[]", {}),
        (b'{"a":[' + b"1," * 10_001 + b"1]}", {}),
        (said(status=None), {}),
        (said(status="clear!"), {}),
        (said(status="clear"), {"job_id": ""}),
        (said(status="clear"), {"job_id": "../token"}),
        (said(status="clear"), {"user_id": ""}),
        (said(status="clear"), {"user_id": "a\nb"}),
        (said(status="clear", partner_params=[]), {"user_id": ""}),
    ],
)
def test_a_webhook_must_name_a_job(body: bytes, names: dict[str, str]) -> None:
    """What is signed may still be odd, and what stands in logs is bounded."""
    with pytest.raises(UnreadableReply):
        judge_webhook(signed_headers(**{**NAMES, **names}), body, HEADERS, NOW)


def test_ids_may_stand_in_the_body() -> None:
    """One reading of the docs has them in partner_params: they count where the headers have none."""
    params = {"job_id": TYPE_ID, "user_id": 42, "smile_async_job": "a\nb"}
    hook = judge_webhook(signed_headers(), said(status="clear", partner_params=params), HEADERS, NOW)
    assert (hook.type_id, hook.user_id, hook.job_id) == (TYPE_ID, "42", None)
    assert heard({"status": "clear", "reason": None}).reason is None
    assert heard({"status": "error", "reason": "Not A Word!"}).reason is None


def status(user_id: str = "ada", type_id: str = TYPE_ID) -> JobStatus:
    """What /status says of *type_id*."""
    body = said(status="clear", job_id=type_id, user_id=user_id)
    return judge_status(200, body, Ticket(user_id, "7f3e", 2, type_id, api="v3"), "it")


GOOD: dict[str, Any] = {"address": Address("7f3e", NOW), "bound_to": None}
OLDER = "job_01kdyak3sd" + TYPE_ID[14:]


def test_a_webhook_may_complete_its_ticket() -> None:
    """With the token, the same user, a job of its own, and one that is not older: also when told twice."""
    assert completion_flaw(heard(), TICKET, status(), **GOOD) == ""
    assert completion_flaw(heard(), TICKET, status(), **{**GOOD, "address": Address("7f3e", NOW - 5)}) == ""
    known = replace(TICKET, smile_job_id=TYPE_ID)
    assert completion_flaw(heard(), known, status(), **{**GOOD, "bound_to": known}) == ""


@pytest.mark.parametrize(
    ("hook", "ticket", "found", "changes", "words"),
    [
        (heard(), TICKET, status(), {"address": None}, "did not come to the URL"),
        (heard(), TICKET, status("bob"), {}, "status names another user"),
        (heard(), TICKET, status(type_id=OLDER), {}, "status was asked about another job"),
        (heard(), TICKET, status(), {"bound_to": Ticket("ada", "other", 2, TYPE_ID)}, "belongs to another ticket"),
        (heard(), TICKET, status(), {"bound_to": Ticket("bob", "7f3e", 2, TYPE_ID)}, "belongs to another ticket"),
        (heard(), replace(TICKET, smile_job_id=OLDER), status(), {}, "the ticket belongs to another job"),
        (heard(), TICKET, status(), {"address": Address("other", NOW)}, "did not come to the URL"),
        (heard(), TICKET, status(), {"address": Address("7f3e", NOW + 0.002)}, "that job is older"),
        (heard(job_id=OLDER), TICKET, status(type_id=OLDER), {}, "that job is older"),
        (heard(job_id="not-a-type-id"), TICKET, status(type_id="not-a-type-id"), {}, "that job is older"),
    ],
)
def test_an_impostor_completes_nothing(
    hook: Webhook, ticket: Ticket, found: JobStatus, changes: dict[str, Any], words: str
) -> None:
    """Each of the conditions is needed: a captured signature and an older job that was cleared open no door."""
    assert words in completion_flaw(hook, ticket, found, **{**GOOD, **changes})


def test_a_type_id_tells_its_time() -> None:
    """The first ten letters are milliseconds since 1970; what is no TypeID tells nothing."""
    assert is_type_id(TYPE_ID)
    assert made_at(TYPE_ID) == pytest.approx(NOW, abs=0.001)
    # The example of github.com/ulid/spec, in lower case.
    assert made_at("job_01arz3ndektsv4rrffq69g5fav") == 1_469_922_850.259
    for odd in (None, "", "job_", TYPE_ID.upper(), TYPE_ID + "0", "job_8" + TYPE_ID[5:], "job_i" + TYPE_ID[5:], 7):
        assert (is_type_id(odd), made_at(odd)) == (False, None)


@given(st.dictionaries(st.sampled_from([*signed_headers(**NAMES)]), st.text(max_size=40)), st.binary(max_size=120))
def test_no_webhook_is_too_odd(headers: dict[str, str], body: bytes) -> None:
    """Whatever comes is a webhook without approval, or refused as unsigned or unreadable."""
    for given_headers in (headers, {**headers, **signed_headers(**NAMES)}):
        try:
            hook = judge_webhook(given_headers, body, HEADERS, NOW)
        except (ForgedReply, UnreadableReply):
            continue
        verdict = hook.verdict(TICKET)
        assert verdict is None or not verdict.approved
