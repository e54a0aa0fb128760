"""What a refusal says: who was refused by whom, and the thing to do that mends it."""

import pytest

from smile_async.errors import IdNumberBlocked, NotAuthorized, RateLimited, Refused
from smile_async.protocol.steps import Sent
from smile_async.protocol.v1.refusals import refusal
from smile_async.protocol.v1.replies import read_complaint

ABOUT = "/upload for job j1 of user ada"
HTML = b"<html><h1>403 Forbidden</h1>squid/5.7</html>"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (
            400,
            b'{"error":"wrong type","code":"2204"}',
            NotAuthorized,
            "2204 wrong type (HTTP 400): check what the values",
        ),
        (
            403,
            b'{"error":"no","code":"2205"}',
            NotAuthorized,
            "smile id refused /upload for job j1 of user ada: 2205 no",
        ),
        (403, b'{"error":"no","code":"2205"}', NotAuthorized, "check partner id, key, environment and the clock"),
        (400, b'{"error":"odd","code":"2299"}', Refused, "see explain('2299')"),
        (403, HTML, NotAuthorized, "may come from a proxy or firewall on the way: check the network"),
        (407, b"", Refused, "was refused: no reason given (HTTP 407): without a code it may come from a proxy"),
        (403, b'{"message":"Forbidden"}', NotAuthorized, "was refused: Forbidden (HTTP 403): without a code"),
        (429, b"", RateLimited, "slow down and call again"),
        (429, b'{"error":"no","code":"2222"}', IdNumberBlocked, "this id number was looked up too often"),
    ],
)
def test_a_refusal_leads_to_its_cause(status: int, body: bytes, kind: type[Refused], words: str) -> None:
    """The message names what may mend it, and never a code or a key that has nothing to do with it."""
    fault = refusal(status, read_complaint(body), ABOUT)
    assert type(fault.error) is kind
    assert words in str(fault.error)
    assert "explain(error.code)" not in str(fault.error)
    assert ("key" in str(fault.error)) <= (kind is NotAuthorized and body != HTML)
    assert "squid" not in str(fault.error)


@pytest.mark.parametrize(("code", "passing"), [("2222", False), ("2200", True), ("", True)])
def test_one_blocked_id_number_is_no_throttle(code: str, passing: bool) -> None:
    """429 asks everybody to slow down, but for 2222, which is about one id number and is not tried again."""
    fault = refusal(429, read_complaint(b'{"code":"%s"}' % code.encode()), ABOUT, 7.0)
    assert isinstance(fault.error, RateLimited)
    assert (fault.transient, fault.throttled, fault.sent) == (passing, passing, Sent.ANSWERED)
    assert fault.error.retry_after == 7.0
