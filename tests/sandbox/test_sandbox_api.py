"""The sandbox's API checks what the documentation says the real one checks."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sandbox_support import KEY, HandClock, Partner, in_process, iso, sign, zipped

from smile_async.sandbox import Sandbox


@pytest.fixture
def partner() -> Any:
    """A partner whose user ada is enrolled."""
    with in_process() as partner:
        partner.sandbox.enroll("ada")
        yield partner


async def refused(partner: Partner, path: str, payload: object, status: int = 400) -> str:
    """The code *payload* is refused with."""
    reply = await partner.post(path, payload)
    body = reply.json()
    assert reply.status_code == status, body
    assert body.keys() == {"error", "code"}
    return str(body["code"])


def changed(payload: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """*payload* with other fields."""
    return {**payload, **changes}


def with_params(payload: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """*payload* with other partner_params."""
    return {**payload, "partner_params": {**payload["partner_params"], **changes}}


async def test_an_upload_is_prepared_as_documented(partner: Partner) -> None:
    """The reply to /upload has the five documented fields, a ten-digit job id and the documented URL form."""
    reply = await partner.post("upload", partner.prep("ada", "j1", 2, order="A-19"))
    body = reply.json()
    url = httpx.URL(body["upload_url"])
    assert body.keys() == {"upload_url", "ref_id", "smile_job_id", "camera_config", "code"}
    assert (body["smile_job_id"], body["camera_config"], body["code"]) == ("0000000001", None, "2202")
    assert body["ref_id"].startswith("001-0000000001-")
    assert set(url.params) == {"AWSAccessKeyId", "Content-Type", "Expires", "Signature", "x-amz-server-side-encryption"}
    assert url.params["Content-Type"] == "application/zip"
    assert url.path == f"/videos/001/{body['ref_id']}/selfie.zip"
    assert "Content-Type=application%2Fzip" in body["upload_url"]
    assert reply.headers["date"] == "Fri, 02 Jan 2026 03:04:05 GMT"
    assert partner.sandbox.jobs["j1"].partner_params["order"] == "A-19"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b'{"a": NaN}', b"[" * 3000, b"\xff\xfe", b'{"a": "\\ud800"}']
)
async def test_malformed_json_is_2203(partner: Partner, body: bytes) -> None:
    """What is no JSON object is refused as malformed on both routes."""
    assert await refused(partner, "upload", body) == "2203"
    assert await refused(partner, "job_status", body) == "2203"


async def test_a_request_of_megabytes_is_refused(partner: Partner) -> None:
    """A JSON body over the cap is refused instead of read into memory, however large it is."""
    assert await refused(partner, "upload", b" " * 1_000_001, 413) == "2203"
    assert await refused(partner, "upload", b" " * 3_000_000, 413) == "2203"


@pytest.mark.parametrize("name", ["smile_client_id", "partner_params", "timestamp", "signature"])
@pytest.mark.parametrize("value", [None, ""])
async def test_a_missing_field_of_upload_is_2213(partner: Partner, name: str, value: object) -> None:
    """Required fields must be there and not empty."""
    payload = partner.prep("ada", "j1")
    assert await refused(partner, "upload", changed(payload, **{name: value})) == "2213"
    del payload[name]
    assert await refused(partner, "upload", payload) == "2213"
    assert not partner.sandbox.jobs


@pytest.mark.parametrize("name", ["user_id", "job_id", "job_type"])
async def test_a_missing_partner_param_is_2213(partner: Partner, name: str) -> None:
    """partner_params must name the user, the job and the job type."""
    payload = partner.prep("ada", "j1")
    assert await refused(partner, "upload", with_params(payload, **{name: ""})) == "2213"
    del payload["partner_params"][name]
    assert await refused(partner, "upload", payload) == "2213"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smile_client_id", 1),
        ("timestamp", 1767323045678),
        ("signature", ["x"]),
        ("partner_params", "user"),
        ("partner_params", ["user"]),
        ("file_name", 7),
        ("callback_url", {"url": "x"}),
        ("use_enrolled_image", "false"),
        ("use_enrolled_image", 0),
        ("retry", 1),
        ("allow_new_enroll", "yes"),
    ],
)
async def test_a_mistyped_field_of_upload_is_2204(partner: Partner, name: str, value: object) -> None:
    """Types are checked before anything is believed."""
    assert await refused(partner, "upload", changed(partner.prep("ada", "j1"), **{name: value})) == "2204"
    assert not partner.sandbox.jobs


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_id", 7),
        ("user_id", []),
        ("user_id", 0),
        ("job_id", ["x"]),
        ("job_id", {}),
        ("job_type", True),
        ("job_type", 2.0),
        ("job_type", "two"),
        ("job_type", "²"),
        ("job_type", "-2"),
        ("job_type", "99999"),
        ("sandbox_result", 1),
        ("sandbox_result", "3"),
    ],
)
async def test_a_mistyped_partner_param_is_2204(partner: Partner, name: str, value: object) -> None:
    """A user or job id that is no text and a job type that is no whole number are refused as mistyped."""
    assert await refused(partner, "upload", with_params(partner.prep("ada", "j1"), **{name: value})) == "2204"


@pytest.mark.parametrize("job_type", [0, 3, 5, 7, 9, 10, 12, "5"])
async def test_a_job_type_that_does_not_travel_by_upload_is_2212(partner: Partner, job_type: object) -> None:
    """Job types without a documented three-step upload are refused."""
    assert await refused(partner, "upload", partner.prep("ada", "j1", job_type)) == "2212"


async def test_a_job_type_may_be_text(partner: Partner) -> None:
    """Smile's own replies carry the job type as text, so "2" is accepted and echoed as it came."""
    await partner.submit("ada", "j1", "2")
    assert (await partner.status("ada", "j1"))["result"]["PartnerParams"]["job_type"] == "2"


async def test_what_is_not_signed_by_the_account_is_2205(partner: Partner) -> None:
    """Another partner, another key, another timestamp and hostile text are all not authorized, on both routes."""
    prep = partner.prep("ada", "j1")
    asked = partner.signed(partner_id="001", user_id="ada", job_id="j1")
    stamp = prep["timestamp"]
    forged: list[dict[str, Any]] = [
        {"signature": sign(stamp, key="other")},
        {"signature": "é"},
        {"signature": prep["signature"] + "="},
        {"timestamp": iso(partner.sandbox.settings.clock.time() + 1)},
    ]
    for changes in forged:
        assert await refused(partner, "upload", changed(prep, **changes)) == "2205"
        assert await refused(partner, "job_status", changed(asked, **changes)) == "2205"
    other = {"signature": sign(stamp, partner_id="1")}
    assert await refused(partner, "upload", changed(prep, smile_client_id="1", **other)) == "2205"
    assert await refused(partner, "job_status", changed(asked, partner_id="1", **other)) == "2205"
    assert not partner.sandbox.jobs


async def test_every_timestamp_an_official_sdk_sends_is_accepted(partner: Partner) -> None:
    """Python's, JavaScript's, Java's, PHP's, Ruby's and other offsets are one moment to the sandbox."""
    accepted = [
        "2026-01-02T03:04:05.678901+00:00",  # Python
        "2026-01-02T03:04:05.678Z",  # JavaScript, Android
        "2026-01-02T03:04:05Z",  # Java Instant, no fraction
        "2026-01-02T03:04:05.678901234Z",  # Java Instant, nanoseconds
        "2026-01-02T03:04:05+00:00",  # PHP ATOM
        "2026-01-02 03:04:05 +0000",  # Ruby Time#to_s
        "2026-01-02T04:04:05+01:00",
        "2026-01-01T22:04:05.6-05:00",
    ]
    for number, stamp in enumerate(accepted):
        payload = changed(partner.prep("ada", f"j{number}"), timestamp=stamp, signature=sign(stamp))
        reply = await partner.post("upload", payload)
        assert reply.status_code == 200, (stamp, reply.text)


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-01-02T03:04:05.678901",  # the naive local time of smile-id-core 3.0.0
        "2026-01-02T03:09:06.678Z",
        "2026-01-02T02:59:04.678Z",
        "2026-01-02T03:04:05+01:00",
        "2026-13-02T03:04:05Z",
        "1767323045678",
        "2026-01-02T03:04:05.6789012345Z",
        "٢٠٢٦-01-02T03:04:05Z",
        "12026-01-02T03:04:05Z",
        "2026-01-02T03:04:05+25:00",
    ],
)
async def test_a_timestamp_without_zone_or_outside_the_window_is_2205(partner: Partner, stamp: str) -> None:
    """A well signed timestamp is still refused when it is no moment, or one too far from the sandbox's clock."""
    payload = changed(partner.prep("ada", "j1"), timestamp=stamp, signature=sign(stamp))
    assert await refused(partner, "upload", payload) == "2205"


async def test_the_window_is_a_setting() -> None:
    """A wider window accepts what a narrower one refuses."""
    stamp = "2026-01-02T02:59:04.678Z"
    with in_process(window=302) as partner:
        payload = changed(partner.prep("ada", "j1", 4), timestamp=stamp, signature=sign(stamp))
        assert (await partner.post("upload", payload)).status_code == 200


async def test_a_job_id_is_good_for_one_job(partner: Partner) -> None:
    """The second /upload for a job_id is 2215 with Smile's own text, and no second job comes to be."""
    await partner.upload("ada", "j1")
    reply = await partner.post("upload", partner.prep("ada", "j1"))
    assert reply.json() == {
        "error": "Job already exists. Did you mean to set the retry flag to true?",
        "code": "2215",
    }
    assert partner.sandbox.count("j1") == 1
    assert partner.sandbox.count("j2") == 0
    assert partner.sandbox.jobs["j1"].refusals == ["2215"]


@pytest.mark.parametrize("retry", [True, "true"])
async def test_retry_gives_a_fresh_url_for_the_same_job(partner: Partner, retry: object) -> None:
    """`retry: true` revives a job whose URL expired; the job and its id stay the same."""
    first = await partner.upload("ada", "j1")
    clock = partner.sandbox.settings.clock
    assert isinstance(clock, HandClock)
    clock.now += 1000
    reply = await partner.post("upload", changed(partner.prep("ada", "j1"), retry=retry))
    second = reply.json()
    assert second["smile_job_id"] == first["smile_job_id"]
    assert second["upload_url"] != first["upload_url"]
    assert (await partner.put(first["upload_url"], zipped())).status_code == 403
    assert (await partner.put(second["upload_url"], zipped())).status_code == 200
    job = partner.sandbox.jobs["j1"]
    assert (job.submissions, job.prep_uploads, job.uploads) == (1, 2, 1)


async def test_retry_does_not_reopen_a_job(partner: Partner) -> None:
    """Once a zip has landed, or for another user or type, even `retry: true` is 2215."""
    partner.sandbox.enroll("bob")
    await partner.upload("ada", "j1")
    assert await refused(partner, "upload", changed(partner.prep("bob", "j1"), retry=True)) == "2215"
    assert await refused(partner, "upload", changed(partner.prep("ada", "j1", 4), retry=True)) == "2215"
    assert await refused(partner, "upload", changed(partner.prep("ada", "j1"), retry="false")) == "2215"
    await partner.submit("ada", "j2")
    assert await refused(partner, "upload", changed(partner.prep("ada", "j2"), retry=True)) == "2215"


async def test_users_must_exist_to_authenticate_and_must_not_to_register(partner: Partner) -> None:
    """2210 for a stranger's selfie, 2209 for a second registration, unless a new enrolment is allowed."""
    assert await refused(partner, "upload", partner.prep("eve", "j1")) == "2210"
    for job_type in (1, 4, 6, 11):
        assert await refused(partner, "upload", partner.prep("ada", "j1", job_type)) == "2209"
    assert not partner.sandbox.jobs
    again = changed(partner.prep("ada", "j1", 4), allow_new_enroll=True)
    assert (await partner.post("upload", again)).status_code == 200


async def test_a_registration_enrols_its_user(partner: Partner) -> None:
    """A user registered over the wire can authenticate, one whose registration was rejected cannot."""
    await partner.submit("bob", "r1", 4)
    await partner.submit("bob", "a1", 2)
    await partner.submit("eve", "r2", 4, sandbox_result="1")
    assert await refused(partner, "upload", partner.prep("eve", "a2")) == "2210"
    await partner.submit("kim", "r3", 4, sandbox_result="2")
    await partner.submit("kim", "a3", 2)


@pytest.mark.parametrize("name", ["partner_id", "user_id", "job_id", "timestamp", "signature"])
async def test_a_missing_field_of_job_status_is_2213(partner: Partner, name: str) -> None:
    """All five fields of a status query are required."""
    payload = partner.signed(partner_id="001", user_id="ada", job_id="j1")
    del payload[name]
    assert await refused(partner, "job_status", payload) == "2213"


@pytest.mark.parametrize(("name", "value"), [("user_id", 1), ("image_links", "true"), ("history", 1)])
async def test_a_mistyped_field_of_job_status_is_2204(partner: Partner, name: str, value: object) -> None:
    """Ids are text, flags are true or false."""
    payload = partner.signed(partner_id="001", user_id="ada", job_id="j1")
    assert await refused(partner, "job_status", changed(payload, **{name: value})) == "2204"


async def test_an_unknown_job_is_2304_with_the_chosen_http_status() -> None:
    """Only "not 2xx" is known of the status of 2304, so it can be chosen; another user's job is unknown, too."""
    for settings, status in [({}, 404), ({"not_found_status": 400}, 400)]:
        with in_process(**settings) as partner:
            await partner.submit("bob", "j1", 4)
            nobody = partner.signed(partner_id="001", user_id="bob", job_id="j2")
            assert await refused(partner, "job_status", nobody, status) == "2304"
            other = partner.signed(partner_id="001", user_id="eve", job_id="j1", history=None)
            assert await refused(partner, "job_status", other, status) == "2304"


async def test_before_its_zip_a_job_is_2314(partner: Partner) -> None:
    """Between /upload and PUT the reply is signed, HTTP 200, code 2314, and `result` is a plain text."""
    await partner.upload("ada", "j1")
    body = await partner.status("ada", "j1")
    assert (body["code"], body["result"]) == ("2314", "No zip file received")
    assert (body["job_complete"], body["job_success"]) == (False, False)
    assert partner.sandbox.jobs["j1"].state == "awaiting_zip"


async def test_a_fault_without_effect_does_nothing_else(partner: Partner) -> None:
    """A refused /upload leaves no job behind, and the next one is served."""
    partner.sandbox.fault("upload", status=503, body="<html>busy</html>", headers={"retry-after": "2"})
    reply = await partner.post("upload", partner.prep("ada", "j1"))
    assert (reply.status_code, reply.text, reply.headers["retry-after"]) == (503, "<html>busy</html>", "2")
    assert not partner.sandbox.jobs
    await partner.upload("ada", "j1")


async def test_a_fault_with_effect_loses_only_the_reply(partner: Partner) -> None:
    """The ambiguous failure: the job exists although the client was told otherwise."""
    partner.sandbox.fault("upload", status=500, effect=True)
    assert (await partner.post("upload", partner.prep("ada", "j1"))).content == b""
    assert partner.sandbox.count("j1") == 1
    assert await refused(partner, "upload", partner.prep("ada", "j1")) == "2215"


async def test_a_fault_chooses_its_victim_and_its_times(partner: Partner) -> None:
    """Faults for one user or job spare the others; `times` counts, None lasts until it is mended."""
    partner.sandbox.enroll("bob")
    partner.sandbox.fault("upload", status=500, user_id="bob", times=None)
    partner.sandbox.fault("upload", status=502, job_id="j9", times=2)
    for _ in range(3):
        assert (await partner.post("upload", partner.prep("bob", "b1"))).status_code == 500
    await partner.upload("ada", "j1")
    assert [(await partner.post("upload", partner.prep("ada", "j9"))).status_code for _ in range(3)] == [502, 502, 200]
    assert (await partner.post("upload", b"no json")).status_code == 400
    partner.sandbox.mend("upload")
    await partner.upload("bob", "b1")
    with pytest.raises(ValueError, match="no leg is called"):
        partner.sandbox.fault("download", status=500)  # type: ignore[arg-type]


async def test_a_fault_can_be_late_decorated_or_tampered_with(partner: Partner) -> None:
    """Delay, headers and tampering keep the true reply, a mapping is sent as JSON, and effect keeps the work."""
    await partner.submit("ada", "j1")
    faults: list[dict[str, Any]] = [
        {"delay": 0.001},
        {"headers": {"x-late": "1"}, "effect": True},
        {"tamper": lambda reply: reply.update(signature="forged")},
        {"body": {"job_complete": True}},
        {"body": b"{", "effect": True},
        {"status": 418, "tamper": lambda reply: reply.clear()},
    ]
    for fault in faults:
        partner.sandbox.fault("job_status", **fault)
    asked = partner.signed(partner_id="001", user_id="ada", job_id="j1")
    replies = [await partner.post("job_status", asked) for _ in faults]
    true, decorated, tampered, invented, torn, empty = replies
    assert true.json()["code"] == "2302"
    assert (decorated.json()["code"], decorated.headers["x-late"]) == ("2302", "1")
    assert (tampered.json()["signature"], tampered.json()["code"]) == ("forged", "2302")
    assert invented.json() == {"job_complete": True}
    assert (torn.status_code, torn.content) == (200, b"{")
    assert (empty.status_code, empty.json()) == (418, {})


async def test_a_cut_reply_ends_in_the_middle(partner: Partner) -> None:
    """With `cut` the reply promises more than it delivers, with or without effect."""
    partner.sandbox.fault("upload", cut=True, effect=True)
    with pytest.raises(ConnectionError):
        await partner.post("upload", partner.prep("ada", "j1"))
    assert partner.sandbox.count("j1") == 1
    partner.sandbox.fault("upload", cut=True)
    with pytest.raises(ConnectionError):
        await partner.post("upload", partner.prep("ada", "j2"))
    assert partner.sandbox.count("j2") == 0


def test_settings_are_checked() -> None:
    """Impossible settings are refused when the sandbox is made, and a key is made where none is given."""
    for wrong in [{"latency": -1}, {"review": -1}, {"window": float("nan")}, {"partner_id": "a/b"}, {"partner_id": ""}]:
        with pytest.raises(ValueError):
            Sandbox(**wrong)
    assert len(Sandbox().api_key) == 36
    assert Sandbox().api_key != Sandbox().api_key
    assert Sandbox("002", "k").partner_id == "002"


def test_secrets_stay_out_of_reprs() -> None:
    """No repr of the sandbox or its parts shows the key."""
    sandbox = Sandbox(api_key=KEY)
    assert KEY not in f"{sandbox!r} {sandbox.settings!r} {sandbox.keys!r} {sandbox.registry!r}"


def test_the_signature_is_the_documented_one() -> None:
    """The sandbox signs the test vector of wire.md §2.1."""
    sandbox = Sandbox("001", "test-api-key")
    assert sandbox.keys.sign("2026-01-02T03:04:05.678Z") == "CgtmbFRbL8BzLma5PuAs7p+2SLAm1n7SE4LY5RCIgRw="
    assert datetime.fromtimestamp(1_767_323_045, UTC).year == 2026
