"""The official Python SDK of V3, unchanged, believes the sandbox: usesmileid 12.1.0 over TLS, in one process.

Skipped without the package, which `make test` puts into .venv-v3-sdk: a venv of its own, with nothing of ours in it.
"""

import base64
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sandbox_support import KEY, jpeg, png, told_by
from v3_client_support import v3_session
from v3_sandbox_support import AMINA, FACE, NIN, Receiver, person, verify

from smile_async import Document, IdInfo, Job, Person
from smile_async.sandbox import RunningSandbox, Sandbox

HOME = Path(__file__).parents[2]
PYTHON = HOME / ".venv-v3-sdk" / "bin" / "python"
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no SDK of V3: make .venv-v3-sdk/.ready")

CONSENT = {"granted_at": "2026-01-02T03:04:05.678Z", "notice_language": "EN"}
USUAL = {"consent": {"granted": True, **CONSENT, "notice_privacy_policy_url": "https://shop.test/privacy"}}
FACES = {"selfie_image": "@face", "liveness_images": ["@face"] * 6}
CARD = {**FACES, "document": "@card", "country": "NG"}

Call = tuple[str, dict[str, Any]]


@pytest.fixture
async def running() -> AsyncIterator[RunningSandbox]:
    """A sandbox over TLS, of partner "001"."""
    async with Sandbox.serve(api_key=KEY) as running:
        yield running


async def run(running: RunningSandbox, calls: list[Call]) -> list[dict[str, Any]]:
    """What the SDK made of each call."""
    whole = {
        "client": {"partner_id": "1", "api_key": KEY, "base_url": running.base_url_v3.removesuffix("/v3")},
        "pictures": {name: base64.b64encode(content).decode() for name, content in PICTURES.items()},
        "calls": calls,
    }
    command = [str(PYTHON), str(HOME / "tests" / "official_v3_sdk.py")]
    return await told_by(command, whole, {"SSL_CERT_FILE": running.ca_file}, len(calls))


PICTURES = {"face": jpeg(), "card": png(), "no_picture": b"not a picture", "huge": jpeg() + b"\x00" * 4_500_000}


def about(who: dict[str, str] = AMINA, **more: Any) -> dict[str, Any]:
    """The arguments of every submission."""
    return {**USUAL, "user_details": who, **more}


SUBMISSIONS: list[tuple[Call, str]] = [
    (("biometric.enroll", about(**FACES, user_id="ada", partner_params={"ref": "r-1"})), "clear"),
    (("biometric.authenticate", about(**FACES, user_id="ada")), "clear"),
    (("biometric.authenticate", about(user_id="ada", use_enrolled_image=True)), "clear"),
    (("biometric.authenticate", about(**FACES, user_id="ada", sandbox_result=1222)), "block:spoof_detected"),
    (("biometric.authenticate", about(person("?", "Lockhart"), **FACES, user_id="ada")), "block:account_locked_fraud"),
    (
        (
            "biometric.compare",
            about(
                person("Obinna Chukwu", "Twinley"),
                selfie_image="@face",
                comparison_image="@face",
                comparison_image_type="PORTRAIT",
            ),
        ),
        "block:face_verification_failed",
    ),
    (
        ("biometric_kyc.verify", about(person("Fatima Bello", "Ghostwell"), **FACES, **NIN)),
        "block:identifier_not_found",
    ),
    (("enhanced_kyc.verify", about(person("Ngozi Ifeoma", "Downsworth"), **NIN)), "error:service_unavailable"),
    (("enhanced_kyc.verify", about(**NIN, user_id="kofi", metadata=[{"name": "a", "value": "b"}])), "clear"),
    (
        ("documents.verify", about(person("Tunde Bakare", "Oldfield"), **CARD, document_back="@card")),
        "attention:document_expired",
    ),
    (
        ("documents.verify_enhanced", about(person("Wale Oladipo", "Badnumber"), **CARD, id_type="PASSPORT")),
        "error:invalid_id_number",
    ),
    (("documents.verify_residency", about(**CARD, visa="@face")), "clear"),
]


async def test_every_job_comes_to_its_word(running: RunningSandbox) -> None:
    """Each submission the SDK has, its wait and its retrieval: the word is that of the test identity, in 8 s of CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    waits: list[Call] = [
        (f"verifications.{how}", {"args": [f"${number}.job_id"]})
        for number in range(len(SUBMISSIONS))
        for how in ("wait_until_complete", "retrieve")
    ]
    answers = await run(running, [call for call, _ in SUBMISSIONS] + waits)
    for (call, code), accepted in zip(SUBMISSIONS, answers, strict=False):
        job = running.sandbox.jobs[accepted["answer"]["job_id"]]
        assert (job.code, job.api, accepted["answer"]["status"]) == (code, "v3", "accepted"), (call, accepted)
    waited = [answer["answer"]["status"] for answer in answers[len(SUBMISSIONS) :]]
    assert waited == [code.partition(":")[0] for _, code in SUBMISSIONS for _ in range(2)]
    first = running.sandbox.jobs[answers[0]["answer"]["job_id"]]
    assert (first.user_id, first.partner_params, len(first.images)) == ("ada", {"ref": "r-1"}, 7)
    assert answers[5]["answer"]["user_id"].startswith("user_")
    assert running.sandbox.tokens.issued.total() == 1
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 8


REFUSALS: list[tuple[Call, str, int]] = [
    (("biometric.authenticate", about(**FACES, user_id="nobody")), "InvalidRequestError", 400),
    (("biometric.enroll", about(**FACES, user_id="ada")), "InvalidRequestError", 400),
    (("biometric.enroll", about({**AMINA, "email": "a@b.c"}, **FACES)), "InvalidRequestError", 400),
    (("biometric.enroll", about(selfie_image="@face", liveness_images=["@face"] * 5)), "InvalidRequestError", 400),
    (("biometric.enroll", about(selfie_image="@card", liveness_images=["@face"] * 6)), "InvalidRequestError", 400),
    (("documents.verify", about(**{**CARD, "document": "@no_picture"})), "InvalidRequestError", 400),
    (("biometric.enroll", about(selfie_image="@huge", liveness_images=["@face"] * 6)), "PayloadTooLargeError", 413),
    (("enhanced_kyc.verify", about(**{**NIN, "id_number": "1"})), "InvalidRequestError", 400),
    (("enhanced_kyc.verify", {"client": {"api_key": "wrong"}, **about(**NIN)}), "AuthenticationError", 401),
    (("enhanced_kyc.verify", {"client": {"partner_id": "2"}, **about(**NIN)}), "AuthenticationError", 401),
    (("verifications.retrieve", {"args": ["job_1"]}), "InvalidRequestError", 400),
    (("verifications.replay", {"args": ["job_" + "0" * 26]}), "NotFoundError", 404),
    (
        ("users.flag_fraud", {"args": ["nobody"], "reason": "OTHER", "reported_by": "a@b.c", "notes": "n"}),
        *("NotFoundError", 404),
    ),
    (("services.bank_codes", {"country": "NGA"}), "InvalidRequestError", 400),
    (("services.id_status", {"country": "NG", "id_type": "NONE"}), "InvalidRequestError", 400),
]


async def test_refusals_have_the_kind_the_sdk_knows(running: RunningSandbox) -> None:
    """What the real one refuses is refused: by the class the SDK has for it, and with a sentence."""
    running.sandbox.enroll("ada")
    answers = await run(running, [call for call, _, _ in REFUSALS])
    for (call, kind, status), said in zip(REFUSALS, answers, strict=True):
        assert (said.get("refused"), said.get("status")) == (kind, status), (call, said)
        assert said["said"]
    assert [said["code"] for said in answers if said["code"]] == ["2413"]
    assert not running.sandbox.jobs


async def test_accounts_may_lack_money_and_rights(running: RunningSandbox) -> None:
    """402, 403 and both kinds of 429 arrive as what they are."""
    settings = running.sandbox.settings
    settings.submissions_per_number, settings.forbidden = 1, ("compare",)
    compare = about(selfie_image="@face", comparison_image="@face", comparison_image_type="PORTRAIT")
    kyc: Call = ("enhanced_kyc.verify", about(**NIN))
    answers = await run(running, [kyc, kyc, ("biometric.compare", compare)])
    assert [said.get("refused") for said in answers] == [None, "RateLimitError", "PermissionError"]
    settings.empty_wallet = True
    running.sandbox.fault("status", status=429, headers={"retry-after": "0"}, times=3)
    answers = await run(running, [kyc, ("verifications.retrieve", {"args": ["job_" + "0" * 26]})])
    assert [said["refused"] for said in answers] == ["PaymentRequiredError", "RateLimitError"]


async def test_waiting_losing_and_replaying(running: RunningSandbox) -> None:
    """A wait through review, a token that ends in mid-flight, a 202 that is lost, a wait in vain, and a replay."""
    sandbox, receiver = running.sandbox, Receiver()
    sandbox.script("slow", code="processing", after=0, then=[(1, "clear")])
    sandbox.script("never", code="processing")
    sandbox.fault("submit", cut=True, effect=True, user_id="lost")
    sandbox.fault("status", status=404, body={"status": "not_found", "user_id": "unknown"})
    patient = {"interval": 0.05, "timeout": 30}
    webhook = {"callback_url": "https://shop.test/hook"}
    async with sandbox.sending_callbacks(receiver):
        answers = await run(
            running,
            [
                ("enhanced_kyc.verify", about(**NIN, user_id="slow", **webhook)),
                ("verifications.replay", {"args": ["$0.job_id"]}),
                ("verifications.wait_until_complete", {"args": ["$0.job_id"], **patient}),
                ("enhanced_kyc.verify", about(**NIN, user_id="lost")),
                ("enhanced_kyc.verify", about(**NIN, user_id="never")),
                ("verifications.wait_until_complete", {"args": ["$4.job_id"], "interval": 0.01, "timeout": 0.05}),
                ("verifications.replay", {"args": ["$0.job_id"]}),
                ("verifications.replay", {"args": ["$0.job_id"], "callback_url": "https://shop.test/again"}),
                ("verifications.retrieve", {"args": ["job_" + "0" * 26]}),
            ],
        )
        await receiver.heard(4)
    kinds = [said.get("refused") for said in answers]
    assert kinds == [None, "ConflictError", None, "ConnectionError", None, "TimeoutError", None, None, None]
    assert [answers[number]["answer"]["status"] for number in (2, 6, 7, 8)] == [
        *("clear", "accepted", "accepted"),
        "not_found",
    ]
    assert sum(job.user_id == "lost" for job in sandbox.jobs.values()) == 1
    assert receiver.words == ["processing", "clear", "clear", "clear"]
    assert sorted(str(request.url) for request in receiver.got[2:]) == [
        "https://shop.test/again",
        "https://shop.test/hook",
    ]
    for request in receiver.got:
        verify(request)


async def test_a_token_ends_in_mid_flight(running: RunningSandbox) -> None:
    """A token that the server has forgotten is 401 once; the SDK fetches another, and the call succeeds."""
    running.sandbox.fault("submit", tamper=lambda _: running.sandbox.tokens.expire())
    answers = await run(running, [("enhanced_kyc.verify", about(**NIN))] * 2)
    assert [said["answer"]["status"] for said in answers] == ["accepted"] * 2
    assert running.sandbox.tokens.issued.total() == 2


async def test_users_and_services(running: RunningSandbox) -> None:
    """Flagged users are locked until cleared; the four lists and the state of an id authority are readable."""
    running.sandbox.enroll("ada")
    reported = {"args": ["ada"], "reported_by": "risk@shop.test"}
    authenticate: Call = ("biometric.authenticate", about(**FACES, user_id="ada"))
    answers = await run(
        running,
        [
            ("users.flag_fraud", {**reported, "reason": "MULE_ACCOUNT"}),
            authenticate,
            ("users.clear_fraud", {**reported, "notes": "was nothing"}),
            authenticate,
            ("users.report_fraud", {**reported, "is_fraud": False, "notes": "indeed"}),
            ("services.bank_codes", {}),
            ("services.supported_id_types", {"country": "KE"}),
            ("services.supported_documents", {"continent": "AFRICA", "country_code": "GH", "locale": "en-GB"}),
            ("services.id_status", {"country": "NG", "id_type": "NIN_V2"}),
        ],
    )
    said = [each["answer"] for each in answers]
    codes = [job.code for job in running.sandbox.jobs.values()]
    assert codes == ["block:account_locked_fraud", "clear"]
    assert {bank["country"] for bank in said[5]["bank_codes"]} == {"NG"}
    assert {each["country"] for each in said[6]["id_types"]} == {"KE"}
    assert [each["country"]["code"] for each in said[7]["valid_documents"]] == ["GH"]
    assert said[8]["last_known_status"] == "online"


#: Test identities that come to different ends, and which of the four products below know them.
NAMES = (
    ("Amina Fatou", "Clearwater", slice(4)),
    ("Chidinma Obi", "Glitchford", slice(2)),
    ("Rashid Omar", "Dangerfield", slice(2)),
    ("Fatima Bello", "Ghostwell", slice(1, 3)),
    ("Tunde Bakare", "Oldfield", slice(3, 4)),
)


async def test_both_clients_get_the_same_words(running: RunningSandbox) -> None:
    """The same jobs by the official SDK and by smile_async, of each identity: the same status, and the same record."""
    calls: list[Call] = []
    jobs: list[Job] = []
    faces: dict[str, Any] = {"liveness": [FACE] * 6}
    kyc = IdInfo(NIN["country"], NIN["id_type"], NIN["id_number"])
    for number, (given, last, known) in enumerate(NAMES):
        who, user = person(given, last), f"user-{number}"
        me: dict[str, Any] = {"person": Person(given, last, who["email"])}
        card = Document("NG", PICTURES["card"], id_type="PASSPORT")
        theirs = [
            ("biometric.enroll", about(who, **FACES, user_id=f"sdk-{user}")),
            ("biometric_kyc.verify", about(who, **FACES, **NIN, user_id=f"sdk-{user}")),
            ("enhanced_kyc.verify", about(who, **NIN, user_id=f"sdk-{user}")),
            ("documents.verify_enhanced", about(who, **CARD, id_type="PASSPORT", user_id=f"sdk-{user}")),
        ]
        ours = [
            Job.register(user, FACE, **faces, **me),
            Job.biometric_kyc(user, FACE, kyc, **faces, **me),
            Job.enhanced_kyc(user, kyc, **me),
            Job.enhanced_document_verification(user, FACE, card, **faces, **me),
        ]
        calls += theirs[known]
        jobs += ours[known]
    waits: list[Call] = [
        ("verifications.wait_until_complete", {"args": [f"${number}.job_id"], "interval": 0.1})
        for number in range(len(calls))
    ]
    answers = (await run(running, [*calls, *waits]))[len(calls) :]
    async with v3_session(running) as session:
        verdicts = [await session.verify(job) for job in jobs]
    told = [answer["answer"] for answer in answers]
    assert [verdict.code for verdict in verdicts] == [said["status"] for said in told]
    assert {verdict.code for verdict in verdicts} == {"clear", "block", "attention", "error"}
    records = [
        [running.sandbox.jobs[name].code for name in names]
        for names in ([v.ticket.smile_job_id or "" for v in verdicts], [said["job_id"] for said in told])
    ]
    assert records[0] == records[1]
