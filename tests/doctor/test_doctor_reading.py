"""What observations mean: pure functions from what was seen to findings."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smile_async.doctor import State
from smile_async.doctor.answers import Answer, Presigned, answer_of, presigned
from smile_async.doctor.lookups import claims_of
from smile_async.doctor.reading import (
    Tls,
    of_catalogue,
    of_clock,
    of_key,
    of_lists,
    of_no_lists,
    of_settings,
    of_silence,
    of_tcp,
    of_tls,
    of_version,
)
from smile_async.doctor.reading_jobs import (
    of_duplicate,
    of_expired,
    of_history,
    of_links,
    of_lookup,
    of_no_photo,
    of_photo,
    of_prepared,
    of_provisional,
    of_put,
    of_record,
    of_refused,
    of_repeated,
    of_result,
    of_review,
    of_second_lookup,
    of_short_info,
    of_signed,
    of_slot,
    of_token,
    of_waiting,
    of_window,
)
from smile_async.doctor.reading_v3 import (
    of_enrolled_again,
    of_forced,
    of_frames,
    of_fresh,
    of_lists_v3,
    of_no_lookup,
    of_nobody_v3,
    of_reuse,
    of_submitted,
    of_token_v3,
    of_word,
)
from smile_async.errors import Refused
from smile_async.jobs.catalogue import IdType, Products, Services
from smile_async.jobs.codes import Decision
from smile_async.jobs.product import Product
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict
from smile_async.protocol.signature import Secret, Signer
from smile_async.transport.engine import Reply

SIGNER = Signer("001", Secret("test-api-key"))
STAMP = "2026-01-02T03:04:05.678Z"
SIGNED = {"timestamp": STAMP, "signature": SIGNER.sign(STAMP)}
V2 = "https://bucket.s3.amazonaws.com/videos/selfie.zip?AWSAccessKeyId=A&Signature=S&Expires="
V4 = "https://bucket.s3.example:8444/x?X-Amz-Signature=S&X-Amz-Algorithm=AWS4-HMAC-SHA256"


def answer(status: int = 200, code: str = "", /, **found: Any) -> Answer:
    """A reply that holds what was *found*."""
    return Answer(status, code, "", found=found)


def verdict(code: str = "0820", decision: Decision = Decision.APPROVED, **more: Any) -> Verdict:
    """A verdict about an authentication."""
    return Verdict(decision, True, code, "", Ticket("ada", "j1", 2), **more)


def states(found: Any) -> list[State]:
    """The states of one finding, or of several."""
    return [each.state for each in (found if isinstance(found, list) else [found])]


def test_a_reply_is_read() -> None:
    """Status, code, text, date, caching and HTTP version are kept; a body that is no JSON costs nothing."""
    body = json.dumps({"error": "no", "code": 2205}).encode()
    seen = answer_of(Reply(400, {"date": "D", "etag": '"1"', "cache-control": "private"}, body, "HTTP/2"))
    assert (seen.said, seen.date, seen.http_version) == ("HTTP 400 2205 no", "D", "HTTP/2")
    assert seen.caching == 'cache-control: private, etag: "1"'
    assert seen.refused_us
    blank = answer_of(Reply(502, {}, b"<html>", "HTTP/1.1"))
    assert (blank.said, blank.found, blank.refused_us) == ("HTTP 502", {}, False)
    assert "no" not in repr(blank.found)


@pytest.mark.parametrize(
    ("fields", "flaw"),
    [
        (SIGNED, ""),
        ({"timestamp": STAMP}, "carries no signature"),
        ({"signature": 1, "timestamp": STAMP}, "carries no signature"),
        ({**SIGNED, "signature": "AAAA"}, "is signed with another key"),
    ],
)
def test_signatures(fields: dict[str, Any], flaw: str) -> None:
    """A reply is signed with our key, with another, or not at all."""
    assert answer(**fields).signature_flaw(SIGNER) == flaw
    expected = State.FAILURE if flaw else State.OK
    assert of_signed(answer(**fields), SIGNER).state is expected


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (V2 + "1767326645", Presigned("bucket.s3.amazonaws.com", 443, "AWS version 2 (query string)", 1_767_326_645.0)),
        (V2 + "never", Presigned("bucket.s3.amazonaws.com", 443, "AWS version 2 (query string)", None)),
        (
            V4 + "&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900",
            Presigned("bucket.s3.example", 8444, "AWS version 4 (AWS4-HMAC-SHA256)", 1_767_323_945.0),
        ),
        (V4 + "&X-Amz-Date=soon", Presigned("bucket.s3.example", 8444, "AWS version 4 (AWS4-HMAC-SHA256)", None)),
        (
            V4 + "&X-Amz-Date=20260102T030405Z&X-Amz-Expires=x",
            Presigned("bucket.s3.example", 8444, "AWS version 4 (AWS4-HMAC-SHA256)", None),
        ),
        ("https://elsewhere.example/x?sig=1", Presigned("elsewhere.example", 443, "", None)),
        ("nothing", Presigned("", 443, "", None)),
        ("https://[::1/x", Presigned("", 443, "", None)),
        ("https://a.example:99999999/x", Presigned("", 443, "", None)),
    ],
)
def test_presigned_urls(url: str, told: Presigned) -> None:
    """Both of AWS's ways tell when they end; what is in no known way tells its host alone."""
    assert presigned(url) == told


def test_settings() -> None:
    """Each says where it is from, a variable that has no effect is named, and neither key nor callback path shows."""
    used = {
        "partner_id": "001",
        "api_key": "the-key",
        "base_url": "https://a.example/v1",
        "callback_url": "https://u:p@shop.example/secret-path",
        "http": "httpx",
        "ca_file": None,
        "upload_hosts": ("a.example", "b.example"),
    }
    told, taken = {"base_url"}, {"partner_id", "api_key", "base_url", "callback_url"}
    found = of_settings(used, told, taken, {"partner_id", "base_url", "ca_file"})
    texts = {each.name.removeprefix("setting "): (each.text, each.cure) for each in found}
    assert texts["partner_id"] == ("001, from SMILE_PARTNER_ID", "")
    assert texts["api_key"] == ("a key, from SMILE_API_KEY", "")
    assert texts["callback_url"] == ("a URL at shop.example, from SMILE_CALLBACK_URL", "")
    assert texts["base_url"][0] == "https://a.example/v1, from --base-url"
    assert "put out of force" in texts["base_url"][1]
    assert texts["ca_file"][0] == "none, by default"
    assert "SMILE_CA_FILE" in texts["ca_file"][1]
    assert texts["http"] == ("httpx, by default", "")
    assert texts["upload_hosts"][0] == "a.example b.example, by default"
    swapped = of_settings({"partner_id": "the-key", "api_key": "001"}, set(), set(), set())
    assert "the-key" not in str(swapped)


@pytest.mark.parametrize(
    ("leg", "why", "cure"),
    [
        ("dns", "gaierror: Name or service not known", "resolver"),
        ("tcp", "port 443 of 192.0.2.1: refused", "firewall"),
        ("tls", "SSLError: wrong version number", "no TLS"),
        ("tls", "certificate verify failed: unable to get local issuer certificate", "SMILE_CA_FILE"),
        ("tls", "certificate verify failed: certificate has expired", "renew"),
        ("tls", "certificate verify failed: certificate is not yet valid", "clock"),
        ("tls", "certificate verify failed: Hostname mismatch", "another name"),
        ("tls", "certificate is not valid for 'a.example'", "another name"),
        ("http", "RemoteProtocolError", "try again"),
    ],
)
def test_silence(leg: str, why: str, cure: str) -> None:
    """What kept a request from an answer has a cure of its own."""
    found = of_silence("tls API", leg, why)
    assert (found.state, found.text) == (State.FAILURE, why)
    assert cure in found.cure


def test_connections() -> None:
    """An address that does not answer is warned of, where another does."""
    assert of_tcp("API", "port 443 of 192.0.2.1", []).state is State.OK
    found = of_tcp("API", "port 443 of 192.0.2.1", ["2001:db8::1: unreachable"])
    assert found.state is State.WARNING
    assert found.text == "port 443 of 192.0.2.1, and not 2001:db8::1: unreachable"


def test_handshakes() -> None:
    """HTTP/2 is hoped for from the API and not from the storage; a certificate that ends soon is warned of."""
    good = Tls("TLSv1.3", "h2", "A", 90)
    assert states(of_tls("API", good, wanted="h2")) == [State.OK, State.OK]
    assert states(of_tls("API", Tls("TLSv1.2", "http/1.1", "A", 5), wanted="h2")) == [State.WARNING, State.WARNING]
    assert states(of_tls("storage", Tls("TLSv1.2", "", "A", 90), wanted="http/1.1")) == [State.OK, State.OK]
    assert "chose nothing" in of_tls("API", Tls("TLSv1.2", "", "A", 90), wanted="h2")[1].text
    assert of_version("API", "HTTP/2", wanted="HTTP/2").state is State.OK
    assert of_version("API", "", wanted="HTTP/2").text == "the engine does not tell"
    assert of_version("API", "HTTP/1.1", wanted="HTTP/2").state is State.WARNING


@pytest.mark.parametrize(
    ("skew", "state", "word"),
    [
        (None, State.WARNING, "no Date"),
        (-5.0, State.OK, "within"),
        (60.0, State.WARNING, "60 s behind"),
        (-60.0, State.WARNING, "60 s ahead of"),
        (301.0, State.FAILURE, "301 s behind"),
    ],
)
def test_clocks(skew: float | None, state: State, word: str) -> None:
    """A few seconds are no matter, a minute is borne, and beyond five no callback is believed."""
    found = of_clock(skew)
    assert found.state is state
    assert word in found.text


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (answer(404, "2304"), [State.OK, State.EXPECTED]),
        (answer(200, "2304"), [State.OK, State.DIFFERENT]),
        (answer(400, "2205"), [State.FAILURE]),
        (answer(403), [State.FAILURE]),
        (answer(429), [State.FAILURE]),
        (answer(503), [State.FAILURE]),
        (answer(200, "2302"), [State.FAILURE]),
    ],
)
def test_keys(seen: Answer, expected: list[State]) -> None:
    """2304 is the answer to whoever may ask; anything else is a failure with a cure."""
    found = of_key(seen)
    assert states(found) == expected
    assert found[0].state is State.OK or found[0].cure


def test_catalogues() -> None:
    """An account without products is warned of; the generation of lists, and caching, are news or not."""
    kinds = (IdType("enhanced_kyc", "NG", "BVN"), IdType("enhanced_kyc", "GH", "SSNIT"))
    some = of_catalogue(Services(kinds, (), {}), Products({"enhanced_kyc": {}, "basic_kyc": {}}, {}, {}), ())
    assert some.state is State.OK
    assert some.text.startswith("2 kinds of id in 2 countries, 0 banks, 0 documents; the account may use basic_kyc, ")
    nothing = of_catalogue(Services((), (), {}), Products({}, {}, {}), ())
    assert (nothing.state, "may use nothing" in nothing.text) == (State.WARNING, True)
    assert of_no_lists(["/services: HTTP 500"]).text == "not served: /services: HTTP 500"
    assert of_lists(answer(hosted_web={})).state is State.EXPECTED
    assert of_lists(answer(id_types={})).state is State.DIFFERENT
    assert of_lists(Answer(200, "", "", caching="etag: 1", found={"hosted_web": {}})).state is State.DIFFERENT


def test_uploads() -> None:
    """A slot, where it leads and for how long; what zips and duplicates are answered with."""
    well = answer(200, "2202", upload_url=V2 + "1000", code="2202", smile_job_id="1")
    assert of_prepared(well).state is State.OK
    assert states([of_prepared(answer(200, "2202")), of_prepared(answer(400, "2213"))]) == [State.FAILURE] * 2
    found = of_slot(V2 + "1000", "", ["*.amazonaws.com"], 100.0)
    assert states(found) == [State.EXPECTED] * 3
    assert found[0].cure == "pin it: export SMILE_UPLOAD_HOSTS=bucket.s3.amazonaws.com"
    assert found[2].text == "900 s by the server's clock"
    assert of_slot(V2 + "1000", "", ["bucket.s3.amazonaws.com"], 100.0)[0].cure == ""
    assert states(of_slot(V2 + "1000", "", [], 990.0))[2] is State.DIFFERENT
    assert states(of_slot(V4, "", [], 0.0)) == [State.EXPECTED, State.DIFFERENT, State.UNKNOWN]
    assert "no way of AWS's" in of_slot("https://x.example/y", "", [], 0.0)[1].text
    refused = of_slot(V2 + "1000", "the upload URL names the host bucket", [], 0.0)
    assert states(refused) == [State.FAILURE]
    assert "SMILE_UPLOAD_HOSTS=bucket.s3.amazonaws.com" in refused[0].cure
    assert of_slot("x", "the upload URL is not a URL", [], 0.0)[0].cure == "ask Smile ID"
    assert states([of_waiting(answer(200, "2314")), of_waiting(answer(200, "2302"))]) == [
        State.EXPECTED,
        State.DIFFERENT,
    ]
    assert states([of_put(200), of_put(403)]) == [State.OK, State.FAILURE]
    assert states([of_repeated(200), of_repeated(403)]) == [State.EXPECTED, State.DIFFERENT]
    assert states([of_duplicate(answer(400, "2215")), of_duplicate(answer(200, "2202"))]) == [
        State.EXPECTED,
        State.DIFFERENT,
    ]


def test_results() -> None:
    """sandbox_result comes to what it stands for or not; production has no expectation."""
    passed = verdict(actions={"Selfie_Provided": "Passed", "Verify_ID_Number": "Not Applicable"})
    result, actions = of_result("0", passed, 1.25)
    assert (result.name, result.state) == ("sandbox_result: SmartSelfie Authentication with 0", State.EXPECTED)
    assert result.text == "approved, code 0820, after 1.2 s"
    assert actions.text == "0820: Selfie_Provided=Passed"
    assert states(of_result("1", verdict(), 1.0)) == [State.DIFFERENT, State.DIFFERENT]
    assert of_result("", verdict(), 1.0)[0].state is State.OK
    untyped = Verdict(Decision.APPROVED, True, "0820", "", Ticket("ada", "j1", 77))
    assert of_result("", untyped, 1.0)[0].name == "verdict: job type 77"
    assert states([of_photo(verdict()), of_photo(verdict("0880", Decision.UNKNOWN))]) == [
        State.EXPECTED,
        State.DIFFERENT,
    ]
    assert states([of_short_info(verdict()), of_short_info(verdict("0001", Decision.ERROR))]) == [
        State.EXPECTED,
        State.DIFFERENT,
    ]
    assert of_short_info(None).state is State.DIFFERENT
    refused = of_no_photo(Refused("refused", status=400, code="2212", message="invalid job type"))
    assert (refused.state, refused.text) == (State.DIFFERENT, "refused: HTTP 400 2212 invalid job type")
    assert states([of_provisional(answer(job_complete=False)), of_provisional(answer(job_complete=True))]) == [
        State.EXPECTED,
        State.DIFFERENT,
    ]
    assert states([of_review(2.0, None), of_review(2.0, verdict("1220"))]) == [State.UNKNOWN, State.EXPECTED]


def test_history_and_links() -> None:
    """A history is of this user's results; links lead to pictures, and tell when they end."""
    ours = {"ResultCode": "0820", "PartnerParams": {"user_id": "ada", "job_id": "j1"}}
    assert of_history(answer(history=[ours]), "ada").state is State.EXPECTED
    assert of_history(answer(history=[ours]), "ada").text == "1 results of 1 jobs: 0820"
    others: list[Any] = [
        [],
        None,
        [{**ours, "PartnerParams": None}],
        [ours, {**ours, "PartnerParams": {"user_id": "b"}}],
    ]
    assert [of_history(answer(history=past), "ada").state for past in others] == [State.DIFFERENT] * 4
    links = {"selfie_image": V2 + "1000", "id_card_image": "https://x.example/y?z", "error": "none"}
    found = of_links(answer(image_links=links), 100.0)
    assert found.state is State.EXPECTED
    assert (
        found.text
        == "id_card_image at x.example, good for ? s; selfie_image at bucket.s3.amazonaws.com, good for 900 s"
    )
    assert of_links(answer(image_links={"error": "No image found"}), 0.0).state is State.DIFFERENT
    assert of_links(answer(), 0.0).text == "none"


def test_lookups() -> None:
    """Signed or not, found by status or not, refused the second time or looked up again."""
    product = Product.ENHANCED_KYC
    assert states(of_lookup(product, answer(ResultCode="1012", **SIGNED), SIGNER)) == [State.EXPECTED, State.EXPECTED]
    assert states(of_lookup(product, answer(ResultCode="1013"), SIGNER)) == [State.DIFFERENT, State.DIFFERENT]
    forged = answer(ResultCode="1012", timestamp=STAMP, signature="AAAA")
    assert states(of_lookup(product, forged, SIGNER)) == [State.FAILURE, State.EXPECTED]
    assert states(of_lookup(product, answer(403), SIGNER)) == [State.UNKNOWN, State.UNKNOWN]
    assert states(of_record(product, answer(result={}), 0.5)) == [State.EXPECTED, State.EXPECTED]
    assert states(of_record(product, answer(result={}), 2.0)) == [State.EXPECTED, State.DIFFERENT]
    assert states(of_record(product, answer(404, "2304"), 2.0)) == [State.DIFFERENT]
    assert states(of_second_lookup(product, answer(ResultCode="1012"))) == [State.DIFFERENT]
    assert states(of_second_lookup(product, answer(400, "2215"))) == [State.EXPECTED, State.EXPECTED]
    assert states(of_second_lookup(product, answer(409, "2415"))) == [State.DIFFERENT, State.DIFFERENT]


def test_web_tokens() -> None:
    """A token without a callback URL is given or refused, and tells its end or not."""
    assert states(of_token(answer(400, "2213"), {})) == [State.DIFFERENT]
    assert states(of_token(answer(token="opaque"), {})) == [State.EXPECTED, State.UNKNOWN]
    assert states(of_token(answer(token="x"), {"iat": 0, "exp": 900})) == [State.EXPECTED, State.EXPECTED]
    assert states(of_token(answer(token="x"), {"iat": 0, "exp": 1})) == [State.EXPECTED, State.DIFFERENT]


def test_what_is_refused() -> None:
    """The window by both its ends, the end of a URL, the status of a refusal."""
    found = of_window({-1: [240], 1: [240]}, {-1: 330, 1: 330})
    assert (found.state, found.text) == (
        State.EXPECTED,
        "old: accepted at 240 s, refused at 330 s; ahead: accepted at 240 s, refused at 330 s",
    )
    assert of_window({-1: [], 1: [240]}, {-1: 240, 1: 330}).state is State.DIFFERENT
    assert "no end was met" in of_window({-1: [90_000], 1: [240]}, {1: 330}).text
    fresh = answer(200, "2202")
    assert of_expired(403, fresh, 200).state is State.EXPECTED
    assert [of_expired(*seen).state for seen in ((200, fresh, 200), (403, answer(400), 0), (403, fresh, 403))] == [
        State.DIFFERENT
    ] * 3
    assert states([of_refused("2209", answer(400, "2209")), of_refused("2209", answer(200, "2202"))]) == [
        State.EXPECTED,
        State.DIFFERENT,
    ]


def test_v3() -> None:
    """A token is given or not, for this environment or another; a job of nobody's, and lists, are there or not."""
    good = {"iat": 0, "exp": 900, "api_url": "https://a.example/v3"}
    made = answer(token="t")
    assert states(of_token_v3(made, good, "a.example")) == [State.OK, State.EXPECTED]
    assert states(of_token_v3(made, {}, "a.example")) == [State.OK, State.DIFFERENT]
    assert states(of_token_v3(made, {**good, "exp": 60}, "b.example")) == [State.OK, State.DIFFERENT, State.FAILURE]
    assert states(of_token_v3(answer(401), {}, "a.example")) == [State.FAILURE]
    assert of_nobody_v3(answer(404, status="not_found")).state is State.EXPECTED
    assert of_nobody_v3(answer(200, status="clear")).state is State.DIFFERENT
    assert of_nobody_v3(answer(401)).state is State.FAILURE
    lists = {"bank_codes": ("bank_codes", answer(bank_codes=[1]))}
    assert of_lists_v3(lists).state is State.OK
    assert of_lists_v3({**lists, "config": ("idSelection", answer(404))}).state is State.WARNING


def test_v3_jobs() -> None:
    """What submissions and statuses of V3 mean, as known or not."""
    assert of_submitted(answer(202, job_id="job_1")).state is State.OK
    assert states([of_submitted(answer(202)), of_submitted(answer(402))]) == [State.FAILURE] * 2
    assert of_no_lookup("aml_check", Refused("refused", status=403, message="not allowed")).state is State.UNKNOWN
    pairs = [
        (of_fresh(answer(202, status="processing")), of_fresh(answer(404, status="not_found"))),
        (of_word("registration", "clear", 1.0), of_word("registration", "block", 1.0)),
        (of_reuse(answer(202)), of_reuse(answer(401))),
        (of_forced("block"), of_forced("clear")),
        (of_forced("block"), of_forced("error")),
        (of_enrolled_again(answer(400), ""), of_enrolled_again(answer(202), "block")),
        (of_enrolled_again(answer(400), ""), of_enrolled_again(answer(500), "")),
        (of_frames(answer(400)), of_frames(answer(202))),
    ]
    assert [[each.state for each in pair] for pair in pairs] == [[State.EXPECTED, State.DIFFERENT]] * len(pairs)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("https://[::1/x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_NAMES = (
    "upload_url",
    "code",
    "timestamp",
    "signature",
    "job_complete",
    "history",
    "image_links",
    "ResultCode",
    "token",
)
_SHAPES = st.dictionaries(st.sampled_from((*_NAMES, "result", "status", "hosted_web", "bank_codes")), _JSON)


@given(_SHAPES, st.sampled_from(["", "2202", "2215", "2304"]), st.sampled_from([200, 400, 500]))
def test_nothing_is_too_odd(found: dict[str, Any], code: str, status: int) -> None:
    """Whatever JSON a server sends, it is a finding and not a crash."""
    seen = answer(status, code, **found)
    said = [
        *of_key(seen),
        of_lists(seen),
        of_prepared(seen),
        of_waiting(seen),
        of_duplicate(seen),
        of_signed(seen, SIGNER),
        of_provisional(seen),
        of_history(seen, "ada"),
        of_links(seen, 0.0),
        *of_lookup(Product.AML_CHECK, seen, SIGNER),
        *of_record(Product.AML_CHECK, seen, 0.0),
        *of_second_lookup(Product.AML_CHECK, seen),
        *of_token(seen, found),
        *of_token_v3(seen, found, "a.example"),
        of_nobody_v3(seen),
        of_lists_v3({"bank_codes": ("bank_codes", seen)}),
    ]
    assert all(each.name and each.text for each in said)


def test_claims() -> None:
    """What a JWT claims is read unchecked; what is none claims nothing."""

    def made(claims: str) -> str:
        return f"e.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.s"

    assert claims_of(made('{"iat": 1}')) == {"iat": 1}
    assert [claims_of(token) for token in (None, "opaque", made("[1]"), made("{"), "a.b.c")] == [{}] * 5
