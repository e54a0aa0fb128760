"""needs.py, endpoints.py, requests.py, apis.py, callback_urls.py: what goes out, and what never does."""

import email
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from ground_support import KEY, NOW, jpeg, png
from v3_support import ABOUT, CONSENT, FRAMES, INFO, JOBS, PERSON, RULES, SIGNER, TYPE_ID, contents

from smile_async import Consent, Document, IdInfo, Image, Job, Product, Ticket
from smile_async.errors import BadConfiguration, InvalidJob, SubmissionUnknown
from smile_async.jobs.catalogue import Bank, IdType
from smile_async.protocol.apis import product_flaw, ticket_flaw
from smile_async.protocol.callback_urls import Address, address_in, callback_url_of, fits, webhook_url_of
from smile_async.protocol.signature import Secret, Signer
from smile_async.protocol.v3 import services
from smile_async.protocol.v3.endpoints import ENDPOINTS
from smile_async.protocol.v3.needs import Rules, check, check_contents, check_length
from smile_async.protocol.v3.requests import (
    Call,
    idempotency_key,
    lookup_call,
    partner_id_as_sent,
    replay_call,
    status_call,
    submission_call,
    token_call,
    token_headers,
)
from smile_async.protocol.v3.tokens import UNBOUND, Scope

LIVE: dict[str, Any] = {**ABOUT, "liveness": FRAMES}
TICKET = Ticket("ada", "7f3e", 2, TYPE_ID, api="v3")
each_product = pytest.mark.parametrize("product", JOBS, ids=str)


def call_of(job: Job, rules: Rules = RULES, now: float = NOW, **more: Any) -> Call:
    """The submission of *job*."""
    return submission_call(job, contents(job), rules, SIGNER, now, **{"later": False, **more})


def parts_of(call: Call) -> dict[str, list[bytes]]:
    """The parts of its body by name, as the stdlib reads them."""
    assert call.body is not None
    head = f"Content-Type: {call.body.media_type}\r\n\r\n".encode()
    found: dict[str, list[bytes]] = {}
    for part in email.message_from_bytes(head + b"".join(call.body.pieces())).walk():
        if not part.is_multipart():
            name = str(part.get_param("name", header="Content-Disposition"))
            found.setdefault(name, []).append(part.get_payload(decode=True))  # type: ignore[arg-type]
    return found


#: Beside the parts that all have: path, path of the other form, the token's word, parts and pictures.
EXPECTED: dict[Product, tuple[str, str, str, dict[str, str], dict[str, int]]] = {
    Product.AUTHENTICATION: ("/authentication",) * 2 + ("smart_selfie_authentication", {}, {"liveness_images": 6}),
    Product.REGISTRATION: ("/registration",) * 2
    + ("smart_selfie_registration", {"allow_new_enroll": "true"}, {"liveness_images": 6}),
    Product.COMPARE: ("/compare",) * 2
    + ("smart_selfie_compare", {"comparison_image_type": "ID_PHOTO"}, {"comparison_image": 1}),
    Product.BIOMETRIC_KYC: ("/biometric_kyc",) * 2
    + ("biometric_kyc", {"country": "NG", "id_type": "BVN", "id_number": "007"}, {"liveness_images": 6}),
    Product.DOCUMENT_VERIFICATION: ("/document_verification",) * 2
    + ("document_verification", {"country": "NG"}, {"liveness_images": 6, "document": 1, "document_back": 1}),
    Product.ENHANCED_DOCUMENT_VERIFICATION: ("/enhanced_document_verification",) * 2
    + (
        "enhanced_document_verification",
        {"country": "NG", "id_type": "PASSPORT"},
        {"liveness_images": 6, "document": 1},
    ),
    Product.ENHANCED_KYC: (
        *("/enhanced_kyc/sync", "/enhanced_kyc", "enhanced_kyc"),
        {"country": "NG", "id_type": "NIN_V2", "id_number": "00000000000", "bank_code": "058", "operator": "MTN"},
        {},
    ),
    Product.AML_CHECK: (
        *("/aml/sync", "/aml/sync", "one_time_aml"),
        {
            "full_name": "Ada Obi",
            "countries": '["NG","KE"]',
            "birth_year": "1990",
            "strict_match": "true",
            "search_existing_user": "false",
        },
        {},
    ),
}


@each_product
def test_each_product_says_what_it_needs(product: Product) -> None:
    """Path, token scope and parts are those of the provider's file; nothing else is sent."""
    path, later, token, texts, pictures = EXPECTED[product]
    job = JOBS[product]
    call = call_of(job, per_job=True)
    assert (call.method, call.path, call.scope) == ("POST", path, Scope(token, "ada"))
    assert call_of(job, later=True).path == later
    assert call_of(job).scope == UNBOUND
    found = parts_of(call)
    common = {"user_id", "consent", "user_details", "partner_params", "callback_url"}
    faces = {} if not job.selfie else {"selfie_image": 1}
    assert {name: len(sent) for name, sent in found.items()} == dict.fromkeys({*common, *texts}, 1) | pictures | faces
    assert {name: found[name][0].decode() for name in texts} == texts
    assert found["user_id"] == [b"ada"]
    assert json.loads(found["user_details"][0]) == PERSON.fields()
    assert json.loads(found["partner_params"][0]) == {"smile_async_job": "7f3e"}
    assert json.loads(found["consent"][0]) == {
        "granted": True,
        "granted_at": "2026-01-02T03:04:05.678Z",
        "notice_language": "EN",
        "notice_privacy_policy_url": "https://shop.example/privacy",
    }
    assert [len(sent) for name in pictures for sent in found[name]] == [
        len(sent) for name in pictures for sent in found[name] if sent in contents(job)
    ]


def test_equal_jobs_give_equal_bytes() -> None:
    """The same job at the same moment is the same request, whenever it is read; its pictures are not copied."""
    job = JOBS[Product.AUTHENTICATION]
    one, other = call_of(job), call_of(job)
    assert one.body is not None
    assert other.body is not None
    assert b"".join(one.body.pieces()) == b"".join(other.body.pieces())
    assert one.body.length == sum(map(len, one.body.pieces(1_000)))


def test_a_documents_files_are_named_for_what_they_are() -> None:
    """A PNG travels as one, under a name of ours."""
    body = b"".join(call_of(JOBS[Product.DOCUMENT_VERIFICATION]).body.pieces())  # type: ignore[union-attr]
    assert b'name="document"; filename="front.jpg"\r\nContent-Type: image/jpeg\r\n' in body
    assert b'name="document_back"; filename="back.png"\r\nContent-Type: image/png\r\n' in body
    assert b'name="liveness_images"; filename="liveness_5.jpg"' in body


def test_the_job_is_named_in_its_callback_url() -> None:
    """The session's URL gets our job_id, the moment, and a token of these and the user; a job's own goes as it is."""
    job = JOBS[Product.AUTHENTICATION]
    query = urlsplit(parts_of(call_of(job))["callback_url"][0].decode()).query
    assert address_in(query, SIGNER, "ada") == Address("7f3e", int(NOW * 1_000) / 1_000)
    assert [address_in(query, SIGNER, user_id) for user_id in ("", "eve")] == [None, None]
    told = dict(parse_qsl(query))
    for name, other in (("job", "7f3f"), ("at", "0"), ("at", "x"), ("token", ""), ("token", "\udcff")):
        assert address_in(urlencode({**told, name: other}, errors="surrogatepass"), SIGNER, "ada") is None
    assert address_in("", SIGNER, "ada") is None
    told = dict(parse_qsl(urlsplit(webhook_url_of("https://shop.example/", SIGNER, "a b", NOW)).query))
    assert [address_in(urlencode(told), SIGNER, user_id) is None for user_id in ("", "ada")] == [False, False]
    assert address_in(urlencode({**told, "job": "a"}), SIGNER, "b ") is None
    own = Job.authenticate("ada", jpeg(), callback_url="https://shop.example/own?a=b", **LIVE)
    assert parts_of(call_of(own))["callback_url"] == [b"https://shop.example/own?a=b"]
    assert "callback_url" not in parts_of(call_of(job, replace(RULES, callback_url="")))
    two = Signer("001", Secret(KEY), [Secret("older")])
    older = urlsplit(callback_url_of("https://a/b?c=d", Signer("001", Secret("older")), "7f3e")).query
    assert older.startswith("c=d&token=")
    assert fits(older, two, "7f3e")
    assert not fits(older, two, "7f3f")
    assert not fits(older, SIGNER, "7f3e")


def test_a_forced_result_is_sent_where_it_is_taken() -> None:
    """`sandbox_result` of a job's partner_params is a part of its own at four products, if it is a number."""
    forced = {"partner_params": {"sandbox_result": "0840", "ref": "A-19"}}
    found = parts_of(call_of(Job.register("ada", jpeg(), **LIVE, **forced)))
    assert found["sandbox_result"] == [b"840"]
    assert json.loads(found["partner_params"][0])["ref"] == "A-19"
    assert "sandbox_result" not in parts_of(call_of(Job.enhanced_kyc("ada", INFO, **ABOUT, **forced)))
    odd = Job.register("ada", jpeg(), **LIVE, partner_params={"sandbox_result": "clear"})
    assert "sandbox_result" not in parts_of(call_of(odd))


def test_an_enrolled_picture_needs_no_other() -> None:
    """Authentication by the enrolled picture is one request without files."""
    found = parts_of(call_of(Job.authenticate("ada", use_enrolled_image=True, **ABOUT)))
    assert found["use_enrolled_image"] == [b"true"]
    assert not {"selfie_image", "liveness_images"} & {*found}


def test_a_jobs_own_consent_wins() -> None:
    """It may have been granted before; the session's is for jobs that name none."""
    own = Consent("https://shop.example/fr", "FR", "2026-01-01T01:00:00+01:00")
    told = json.loads(parts_of(call_of(Job.authenticate("ada", jpeg(), consent=own, **LIVE)))["consent"][0])
    assert (told["granted_at"], told["notice_language"]) == ("2026-01-01T00:00:00.000Z", "FR")


def about(**changes: Any) -> dict[str, Any]:
    """What a job of V3 says of itself, with *changes*."""
    return {**ABOUT, "liveness": FRAMES, **changes}


PROBLEMS: list[tuple[Callable[[], Job], str]] = [
    (
        lambda: Job.authenticate("ada", jpeg(), **about(liveness=FRAMES[:5])),
        "it has 5 liveness frames: v3 needs 6 to 8",
    ),
    (lambda: Job.authenticate("ada", jpeg(), **about(liveness=[jpeg()] * 9)), "it has 9 liveness frames"),
    (lambda: Job.register("ada", jpeg(), **about(liveness=())), "it has 0 liveness frames"),
    (lambda: Job.compare("ada", jpeg(), jpeg(), "PORTRAIT", **about(liveness=FRAMES[:1])), "it has 1 liveness frames"),
    (lambda: Job.authenticate("ada", png(), **about()), "selfie is no JPEG: v3 takes nothing else"),
    (lambda: Job.register("ada", jpeg(), **about(liveness=[*FRAMES[:5], png()])), "liveness[5] is no JPEG"),
    (lambda: Job.compare("ada", jpeg(), png(), "PORTRAIT", **ABOUT), "comparison is no JPEG"),
    (
        lambda: Job.authenticate("ada", jpeg(body=bytes(4_500_001)), **about()),
        "v3 takes 4,500,000, so shrink its pictures",
    ),
    (lambda: Job.authenticate("ada", jpeg(), **about(person=None)), "there is no person: give person=Person(…)"),
    (lambda: Job.enhanced_kyc("ada", INFO, **{**ABOUT, "consent": {"a": 1}}), "consent is a dict: v3 needs a Consent"),
    (
        lambda: Job.authenticate("ada", jpeg(), **about(consent=Consent("https://a/b", "EN", "2026-01-02T03:05:06Z"))),
        "consent is granted in the future: check granted_at and its zone",
    ),
    (
        lambda: Job.authenticate("ada", jpeg(), **about(callback_url="http://shop.example/")),
        "callback_url is not https",
    ),
    (
        lambda: Job.authenticate("ada", jpeg(), **about(partner_params={"_sandbox_v3": "1"})),
        "partner_params['_sandbox_v3'] is kept for others",
    ),
    (
        lambda: Job.authenticate("ada", jpeg(), **about(partner_params={"smile_async_job": "1"})),
        "partner_params['smile_async_job'] is kept for others",
    ),
    (lambda: Job.basic_kyc("ada", INFO, **ABOUT), "v3 has no basic_kyc: send it with api='v1'"),
    (
        lambda: Job.business_verification("ada", INFO, **ABOUT),
        "v3 has no business_verification: send it with api='v1'",
    ),
    (lambda: Job.update_photo("ada", jpeg(), **about()), "v3 has no update_photo: send it with api='v1'"),
    (lambda: Job("ada", 99, Image.from_bytes(jpeg())), "v3 has no job_type 99: give a Product"),
    (
        lambda: Job.biometric_kyc("ada", jpeg(), IdInfo("NG", "BVN"), id_card=jpeg(), **about()),
        "biometric_kyc of v3 takes no document: leave it out, or send it with api='v1'",
    ),
    (
        lambda: Job.document_verification("ada", None, Document("NG", jpeg()), use_enrolled_image=True, **ABOUT),
        "doc_verification of v3 takes no use_enrolled_image",
    ),
    (lambda: Job.enhanced_kyc("ada", IdInfo("NG", "BVN", session_id="s"), **ABOUT), "there is no id_number"),
    (
        lambda: Job.enhanced_kyc("ada", IdInfo("NG", "BVN", "7", dob="1990-01-31"), **ABOUT),
        "v3 has no part for dob of id_info: give names as person=, or send it with api='v1'",
    ),
]


@pytest.mark.parametrize(("make", "words"), PROBLEMS, ids=[words for _, words in PROBLEMS])
def test_what_v3_would_refuse_is_not_sent(make: Callable[[], Job], words: str) -> None:
    """The message names job, cause and cure; the error carries the job and no ticket."""
    job = make()
    with pytest.raises(InvalidJob) as caught:
        check(job, RULES, NOW)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"job {job.job_id} of user ada: ")
    assert (caught.value.job, caught.value.ticket) == (job, None)
    with pytest.raises(InvalidJob):
        call_of(job)


def test_a_session_may_set_other_bounds() -> None:
    """Consent and callback URL come from the session too; how many frames and bytes there may be is its to say."""
    job = Job.authenticate("ada", jpeg(), **about(liveness=FRAMES[:1]))
    check(job, replace(RULES, frames=range(1, 9)), NOW)
    with pytest.raises(InvalidJob, match="there is no consent"):
        check(JOBS[Product.ENHANCED_KYC], replace(RULES, consent=None), NOW)
    with pytest.raises(InvalidJob, match="callback_url is not https"):
        check(JOBS[Product.ENHANCED_KYC], Rules(CONSENT, "http://shop.example/smile"), NOW)
    length = call_of(JOBS[Product.AUTHENTICATION]).body.length  # type: ignore[union-attr]
    assert call_of(JOBS[Product.AUTHENTICATION], replace(RULES, most_bytes=length)).body is not None
    with pytest.raises(InvalidJob, match="shrink its pictures"):
        call_of(JOBS[Product.AUTHENTICATION], replace(RULES, most_bytes=length - 1))


def test_a_consent_may_lie_a_minute_ahead() -> None:
    """Clocks differ: what the server takes is taken."""
    job = Job.enhanced_kyc("ada", INFO, **{**ABOUT, "consent": Consent("https://a/b", "EN", "2026-01-02T03:05:05Z")})
    assert check(job, RULES, NOW) is ENDPOINTS[Product.ENHANCED_KYC]


def test_files_are_judged_when_they_are_read() -> None:
    """What a path holds is known later: a PNG as selfie, and too many bytes, are refused then."""
    job = Job.authenticate("ada", "selfie.jpg", **about(liveness=["frame.jpg"] * 6))
    check(job, RULES, NOW)
    check_contents(job, [jpeg()] * 7)
    with pytest.raises(InvalidJob, match=re.escape("liveness[1] is no JPEG")):
        check_contents(job, [jpeg(), jpeg(), png(), *[jpeg()] * 4])
    check_length(job, 4_500_000, RULES)
    with pytest.raises(InvalidJob, match="4,500,001 bytes in all"):
        check_length(job, 4_500_001, RULES)


def test_an_aml_check_has_a_key() -> None:
    """The same for the same request, at whatever moment, and another for anything else about it."""
    job = JOBS[Product.AML_CHECK]
    key = dict(call_of(job).extra)["SmileID-Idempotency-Key"]
    assert re.fullmatch("[0-9a-f]{64}", key)
    assert dict(call_of(job, now=NOW + 5).extra)["SmileID-Idempotency-Key"] == key
    assert idempotency_key(job, replace(RULES, callback_url=""), "1") == key
    others = [
        Job.aml_check("bob", "Ada Obi", ["NG", "KE"], birth_year=1990, **ABOUT),
        Job.aml_check("ada", "Ada Obi", ["NG", "KE"], birth_year=1990, **{**ABOUT, "job_id": "8"}),
        Job.aml_check("ada", "Ada Obi", ["NG"], birth_year=1990, **ABOUT),
        Job.aml_check("ada", "Ada Obi", ["NG", "KE"], birth_year=1990, partner_params={"a": "b"}, **ABOUT),
        Job.aml_check("ada", "Ada Obi", ["NG", "KE"], birth_year=1990, consent=Consent("https://a/b"), **ABOUT),
    ]
    keys = {idempotency_key(other, RULES, "001") for other in others} | {idempotency_key(job, RULES, "2"), key}
    assert len(keys) == len(others) + 2
    assert idempotency_key(job, Rules(), "001") not in keys
    assert call_of(JOBS[Product.ENHANCED_KYC]).extra == ()


def test_a_partner_id_is_sent_without_zeros() -> None:
    """The portal shows "002", the API wants "2"."""
    assert [partner_id_as_sent(text) for text in ("002", "2", "20", "2000")] == ["2", "2", "20", "2000"]
    for text in ("", "000", "abc", "2a", "٢"):
        with pytest.raises(BadConfiguration, match="partner_id is no number"):
            partner_id_as_sent(text)


def test_a_call_names_its_headers() -> None:
    """Only /token carries the key, all else a token if it needs one; nothing of either shows in a repr."""
    status = status_call(TICKET)
    assert (status.method, status.path, status.scope) == ("GET", f"/status/{TYPE_ID}", UNBOUND)
    assert dict(status.headers("2", Secret("jwt"))) == {
        "Accept": "application/json",
        "SmileID-Partner-ID": "2",
        "SmileID-Token": "jwt",
    }
    unbound = token_call(UNBOUND, b"")
    assert (unbound.path, unbound.body, unbound.scope) == ("/token", None, None)
    assert dict(token_headers(unbound, "2", Secret(KEY)))["SmileID-API-Key"] == KEY
    bound = token_call(Scope("enhanced_kyc", "ada"), b"")
    assert parts_of(bound) == {"user_id": [b"ada"], "product": [b"enhanced_kyc"]}
    assert dict(bound.headers("2"))["Content-Type"].startswith("multipart/form-data; boundary=")


def test_a_replay_goes_to_the_jobs_own_url() -> None:
    """Without a URL of the caller none is sent: the session's would be the wrong one."""
    assert lookup_call(replay_call(TICKET, None), b"").body is None
    again = lookup_call(replay_call(TICKET, "https://shop.example/again"), b"")
    assert (again.method, again.path, again.scope) == ("POST", f"/replay/{TYPE_ID}", UNBOUND)
    assert parts_of(again) == {"callback_url": [b"https://shop.example/again"]}


def test_lists_need_no_token() -> None:
    """They are open, and a locale is asked for only if it was given."""
    calls = [lookup_call(lookup, b"") for lookup in (*services.SERVICES, *services.documents_call("fr-FR"))]
    assert [(call.method, call.scope, call.body) for call in calls] == [("GET", None, None)] * 3
    assert calls[-1].path == "/services/supported_documents?locale=fr-FR"
    assert services.documents_call(None)[0].path == "services/supported_documents"


def test_lists_are_read() -> None:
    """Kinds of ids with what each needs, and the banks; what is odd in a list costs no other entry."""
    kind = {"country": "NG", "type": "BVN", "label": "BVN", "regex": "^[0-9]{11}$", "required_fields": ["dob", 7]}
    bank = {"name": "First", "code": "011"}
    found = services.read_services({"id_types": [kind, 7, {}], "bank_codes": [bank, {"name": "odd"}]})
    assert found.id_types == (IdType("", "NG", "BVN", "BVN", ("dob",), "^[0-9]{11}$"),)
    assert found.banks == (Bank("First", "011"),)
    assert services.read_services({}).id_types == ()


@pytest.mark.parametrize("call", [status_call, lambda ticket: replay_call(ticket, None)])
def test_a_ticket_must_name_its_job(call: Callable[[Ticket], object]) -> None:
    """Without a TypeID nobody can ask; a ticket of v1, or one that would change the path, is refused."""
    with pytest.raises(SubmissionUnknown, match="only a webhook can tell") as caught:
        call(JOBS[Product.AUTHENTICATION].ticket)
    assert (caught.value.ticket, caught.value.retryable) == (JOBS[Product.AUTHENTICATION].ticket, False)
    with pytest.raises(InvalidJob, match="went to v1: ask with a session of api='v1'"):
        call(Ticket("ada", "7f3e", 2, "0000000123"))
    for name in ("job_/../token", "", "job_ä"):
        with pytest.raises((InvalidJob, SubmissionUnknown)):
            call(replace(TICKET, smile_job_id=name))


@pytest.mark.parametrize(
    ("number", "said", "api", "fits"),
    [
        (None, None, "v1", True),
        (None, None, "v3", True),
        (None, "v3", "v1", False),
        (None, "v1", "v3", False),
        ("0000123", None, "v1", True),
        ("0000123", None, "v3", False),
        (TYPE_ID, None, "v3", True),
        (TYPE_ID, None, "v1", False),
        (TYPE_ID, "v3", "v3", True),
    ],
)
def test_a_ticket_belongs_to_one_api(number: str | None, said: str | None, api: str, fits: bool) -> None:
    """One that was not sent fits both; one that was is refused by the other, which is named."""
    why = ticket_flaw(Ticket("ada", "7f3e", 2, number, api=said), api)
    assert (why == "") is fits
    assert why == "" or why.startswith("job 7f3e of user ada went to v")


def test_each_api_says_what_it_has() -> None:
    """What is known of one alone is refused by the other."""
    assert product_flaw(Product.COMPARE, "v1") == "v1 has no compare: send it with api='v3'"
    assert product_flaw(Product.COMPARE, "v3") == product_flaw(None, "v1") == ""
    assert {product for product in Product if not product_flaw(product, "v3")} == {*ENDPOINTS}
