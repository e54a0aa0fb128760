"""wire.py: out goes what the official SDK sends; in comes whatever servers really send, or an UnreadableReply."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from ground_support import CANARY, jpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from smile_async.errors import UnreadableReply
from smile_async.jobs.document import Document
from smile_async.jobs.id_info import IdInfo
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.protocol.signature import Secret, SignedStamp
from smile_async.protocol.steps import Slot
from smile_async.protocol.v1.info_json import info_json
from smile_async.protocol.v1.replies import Complaint, read_complaint, read_object, read_result, read_slot, read_status
from smile_async.protocol.v1.requests import prepare_body, status_body

STAMP = SignedStamp("2026-01-02T03:04:05.678Z", "CgtmbFRbL8BzLma5PuAs7p+2SLAm1n7SE4LY5RCIgRw=")
URL = "https://bucket.s3.amazonaws.com/x/selfie.zip?Signature=s3cr3t-of-the-url"
TICKET = Ticket("cust-42", "auth-7f1", 2)


def job(**changes: Any) -> Job:
    """The job of wire.md's samples."""
    return Job.authenticate("cust-42", jpeg(), **{"job_id": "auth-7f1", "partner_params": {"order": "A-19"}, **changes})


def prepared(one: Job, callback_url: str = "", *, retry: bool = False) -> dict[str, Any]:
    """What /upload is sent for *one*."""
    body = prepare_body(one, partner_id="001", stamp=STAMP, callback_url=callback_url, retry=retry)
    return dict(json.loads(body))


def test_the_upload_request_is_the_documented_one() -> None:
    """POST /upload has exactly the fields of wire.md §4, the partner's own parameters among them."""
    assert prepared(job(), "https://shop.example/smile") == {
        "file_name": "selfie.zip",
        "smile_client_id": "001",
        "partner_params": {"user_id": "cust-42", "job_id": "auth-7f1", "job_type": 2, "order": "A-19"},
        "model_parameters": {},
        "callback_url": "https://shop.example/smile",
        "use_enrolled_image": False,
        "source_sdk": "rest_api",
        "source_sdk_version": "0.1.0",
        "timestamp": STAMP.timestamp,
        "signature": STAMP.signature,
    }


def test_options_of_a_job_travel_with_it() -> None:
    """Options are sent where they are asked for, the job's own callback wins, and polling alone sends an empty one."""
    enrolled = Job.register("ada", jpeg(), allow_new_enroll=True, callback_url="https://own.example/cb")
    told = prepared(enrolled, "https://shop.example/smile", retry=True)
    assert (told["allow_new_enroll"], told["retry"], told["callback_url"]) == (True, True, "https://own.example/cb")
    assert told["partner_params"]["job_type"] == 4
    assert prepared(job(use_enrolled_image=True))["use_enrolled_image"] is True
    assert prepared(job())["callback_url"] == ""


@pytest.mark.parametrize(("history", "links"), [(False, False), (True, False), (False, True)])
def test_the_status_request_is_the_documented_one(history: bool, links: bool) -> None:
    """POST /job_status has exactly the fields of wire.md §6."""
    body = status_body(TICKET, partner_id="001", stamp=STAMP, history=history, image_links=links)
    assert json.loads(body) == {
        "partner_id": "001",
        "user_id": "cust-42",
        "job_id": "auth-7f1",
        "timestamp": STAMP.timestamp,
        "signature": STAMP.signature,
        "image_links": links,
        "history": history,
    }


def manifest(one: Job, pictures: list[tuple[str, bytes | None]]) -> dict[str, Any]:
    """The info.json of *one*."""
    slot = Slot(Secret(URL), "0000000123", {"upload_url": URL, "smile_job_id": "0000000123", "code": "2202"})
    return dict(
        json.loads(info_json(one, pictures, slot, partner_id="001", stamp=STAMP, callback_url="https://a.example"))
    )


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (job(), {}),
        (
            Job.biometric_kyc("ada", jpeg(), IdInfo("NG", "BVN", "00000000000")),
            {"country": "NG", "id_type": "BVN", "id_number": "00000000000", "entered": True},
        ),
        (Job.document_verification("ada", jpeg(), Document("NG", jpeg())), {"country": "NG"}),
        (
            Job.document_verification("ada", jpeg(), Document("NG", jpeg(), None, "PASSPORT")),
            {"country": "NG", "id_type": "PASSPORT"},
        ),
    ],
    ids=["none", "a number", "a card", "a card of a kind"],
)
def test_the_manifest_says_what_is_looked_up(one: Job, said: dict[str, Any]) -> None:
    """id_info names a number to look up, or the country and kind of a card (wire.md §13)."""
    assert manifest(one, [(f"{n}.jpg", None) for n in range(len(one.images))])["id_info"] == said


def test_the_manifest_is_the_documented_one() -> None:
    """info.json has the shape of wire.md §5.2, the whole /upload answer included."""
    found = manifest(job(liveness=[jpeg()]), [("selfie.jpg", None), ("liveness_0.jpg", None)])
    assert found.pop("misc_information") == {
        "signature": STAMP.signature,
        "timestamp": STAMP.timestamp,
        "retry": "false",
        "partner_params": {"user_id": "cust-42", "job_id": "auth-7f1", "job_type": 2, "order": "A-19"},
        "file_name": "selfie.zip",
        "smile_client_id": "001",
        "callback_url": "https://a.example",
        "userData": {
            "isVerifiedProcess": False,
            **dict.fromkeys(["name", "fbUserID", "firstName", "lastName", "gender", "email", "phone"], ""),
            "countryName": "",
            "countryCode": "+",
        },
    }
    assert found == {
        "package_information": {
            "apiVersion": {"buildNumber": 0, "majorVersion": 2, "minorVersion": 0},
            "language": "python",
        },
        "id_info": {},
        "images": [
            {"image_type_id": 0, "image": "", "file_name": "selfie.jpg"},
            {"image_type_id": 4, "image": "", "file_name": "liveness_0.jpg"},
        ],
        "server_information": {"upload_url": URL, "smile_job_id": "0000000123", "code": "2202"},
    }


def test_inline_pictures_travel_as_base64() -> None:
    """An inline selfie is image type 2 and an inline frame 6, as base64 without prefix and without a file name."""
    selfie, frame = base64.b64encode(jpeg()).decode(), base64.b64encode(b"frame").decode()
    pictures = [("selfie.jpg", selfie), ("liveness_0.jpg", None), ("liveness_1.jpg", frame)]
    images = manifest(job(liveness=[jpeg()] * 2), pictures)["images"]
    assert [image["image_type_id"] for image in images] == [2, 4, 6]
    assert [base64.b64decode(image["image"]) for image in images] == [jpeg(), b"", b"frame"]
    assert [image["file_name"] for image in images] == ["", "liveness_0.jpg", ""]


def test_frames_alone_are_frames() -> None:
    """Without a selfie of its own the first picture of a job is a liveness frame."""
    one = Job.authenticate("ada", liveness=[jpeg()], use_enrolled_image=True)
    assert [image["image_type_id"] for image in manifest(one, [("liveness_0.jpg", None)])["images"]] == [4]
    assert [image["image_type_id"] for image in manifest(one, [("liveness_0.jpg", "eA==")])["images"]] == [6]


def test_what_must_not_show_does_not() -> None:
    """Neither a signature nor a presigned URL is in a repr."""
    slot = read_slot(json.dumps({"upload_url": URL, "code": "2202"}).encode())
    assert "s3cr3t" not in f"{slot!r} {slot}"
    assert STAMP.signature not in repr(STAMP)


NUMBERS = [("0000000123", "0000000123"), (123, "123"), (None, None), ("", None), ([], None)]


@pytest.mark.parametrize("code", ["2202", 2202, " 2202 ", None, ""])
@pytest.mark.parametrize(("number", "read"), NUMBERS)
def test_a_slot_is_read(code: Any, number: Any, read: str | None) -> None:
    """Code 2202 as text or number, or no code beside a URL, is a slot; its job number is a text or None."""
    body = {"upload_url": URL, "smile_job_id": number, "ref_id": "x", "camera_config": None, "code": code}
    slot = read_slot(json.dumps(body).encode())
    assert isinstance(slot, Slot)
    assert slot.upload_url.reveal() == URL
    assert slot.smile_job_id == read
    assert slot.body == body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": "Job already exists.", "code": "2215"}, Complaint("2215", "Job already exists.")),
        ({"error": "unauthorized", "code": 2204}, Complaint("2204", "unauthorized")),
        ({"message": "slow down", "code": "2201", "upload_url": URL}, Complaint("2201", "slow down")),
        ({"error": "", "message": "second"}, Complaint("", "second")),
        ({"error": {"nested": 1}, "code": "x<script>"}, Complaint("", "")),
        ({"error": "two\nlines\x1b[31m" + "x" * 500}, Complaint("", "twolines[31m" + "x" * 186)),
        ({"code": "123456789"}, Complaint("", "")),
        ({"code": True}, Complaint("", "")),
        ({}, Complaint("", "")),
    ],
)
def test_a_refusal_is_read(body: dict[str, Any], expected: Complaint) -> None:
    """A refusal gives Smile's code and one short printable line, whatever the server wrote, on any status."""
    assert read_complaint(json.dumps(body).encode()) == expected
    assert read_slot(json.dumps(body).encode()) == expected


@pytest.mark.parametrize("body", [b"", b"<html>502 Bad Gateway</html>", b"[]", b"\xff", b'"no"', b"null"])
def test_a_refusal_that_is_no_json_object_is_empty(body: bytes) -> None:
    """A gateway's HTML or S3's XML is no reason to fail while failing."""
    assert read_complaint(body) == Complaint("", "")


@pytest.mark.parametrize("url", [None, "", 5, ["https://x"]])
def test_a_slot_without_a_url_is_unreadable(url: Any) -> None:
    """A prepared upload that does not say where to is no slot."""
    with pytest.raises(UnreadableReply, match="the /upload reply has no upload_url"):
        read_slot(json.dumps({"code": "2202", "upload_url": url}).encode())


Reader = Callable[[bytes], object]
READERS: list[Reader] = [
    read_slot,
    lambda body: read_status(read_object(body, "it")),
    lambda body: read_result(read_object(body, "it")),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", r"is not JSON \(0 bytes\)"),
        (b"<html>kAnArY-in-a-picture", "is not JSON"),
        (b'{"code": "2302", "kAnArY-in-a-picture', "is not JSON"),
        (b'{"code": "\xff"}', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'["kAnArY-in-a-picture"]', "is a JSON list, not an object"),
        (b"null", "is a JSON NoneType, not an object"),
    ],
)
def test_what_is_no_json_object_is_unreadable(read: Reader, body: bytes, words: str) -> None:
    """HTML, cut-off JSON, wrong bytes, endless nesting and lists are UnreadableReply, and are not repeated."""
    with pytest.raises(UnreadableReply, match=words) as caught:
        read(body)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


RESULT = {
    "ResultCode": "0820",
    "ResultText": "Authenticate User Machine Judgement",
    "SmileJobID": "0000000123",
    "ConfidenceValue": "99",
    "PartnerParams": {"user_id": "cust-42", "job_id": "auth-7f1", "job_type": 2},
    "Actions": {"Liveness_Check": "Passed"},
    "Source": "WebAPI",
    "timestamp": "2026-01-02T03:04:12.400Z",
    "signature": "x",
}


def result(**changes: Any) -> Any:
    """The sample's result with *changes*, read as a callback."""
    return read_result({**RESULT, **changes})


def test_the_sample_of_the_protocol_is_read() -> None:
    """The status reply of wire.md §6 gives every field its value, and the body as it came."""
    body = {
        "timestamp": "t",
        "signature": "s",
        "code": "2302",
        "job_complete": True,
        "job_success": True,
        "result": RESULT,
        "image_links": {"selfie_image": "https://x"},
        "history": [RESULT],
    }
    status = read_status(body)
    assert (status.code, status.job_complete) == ("2302", True)
    assert status.image_links == {"selfie_image": "https://x"}
    assert status.history == (status.result,)
    found = status.result
    assert found is not None
    assert (found.code, found.text, found.smile_job_id) == ("0820", "Authenticate User Machine Judgement", "0000000123")
    assert (found.confidence, found.timestamp) == (99.0, RESULT["timestamp"])
    assert found.actions == RESULT["Actions"]
    assert found.partner_params == RESULT["PartnerParams"]


CODES = {"0820": "0820", 820: "0820", "820": "0820", " 0820\n": "0820", 1: "0001", "": None, "  ": None, "what": "what"}
NO_CODES = [None, True, ["0820"], {"code": 820}]


@pytest.mark.parametrize(("code", "read"), [*CODES.items(), *((code, None) for code in NO_CODES)])
def test_a_code_is_a_text_or_a_number(code: Any, read: str | None) -> None:
    """A code that travelled as a number gets its leading zeros back; what is no code is None."""
    assert result(ResultCode=code).code == read


CONFIDENCES = {"99": 99.0, "97.000000": 97.0, 97: 97.0, 99.5: 99.5, " 88 ": 88.0}
NO_CONFIDENCES = [None, "", "high", "NaN", "inf", "1e999", [99], {}]


@pytest.mark.parametrize(("value", "read"), [*CONFIDENCES.items(), *((value, None) for value in NO_CONFIDENCES)])
def test_confidence_is_a_number_or_none(value: Any, read: float | None) -> None:
    """Confidence comes as text, as a number, as nonsense or not at all."""
    assert result(ConfidenceValue=value).confidence == read
    assert read_result({}).confidence is None


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({}, {}),
        ({"Liveness_Check": None, "Count": 3, "Deep": [1]}, {"Liveness_Check": "None", "Count": "3", "Deep": "[1]"}),
        (None, {}),
        ("Passed", {}),
        (["Passed"], {}),
    ],
)
def test_actions_are_texts(value: Any, read: dict[str, str]) -> None:
    """Odd actions become texts; what is no mapping is none."""
    assert result(Actions=value).actions == read
    assert result(ImageLinks=value).image_links == read


@pytest.mark.parametrize("value", [None, "No zip uploaded yet", "", [], 5, True])
def test_a_result_may_be_a_sentence(value: Any) -> None:
    """While there is no result its place holds a sentence, or anything else that is no object."""
    assert read_status({"code": "2314", "result": value}).result is None
    assert read_status({}).result is None


@pytest.mark.parametrize(
    ("history", "count"),
    [([RESULT, "text", None, 5, [], RESULT], 2), (None, 0), ("none", 0), ({"a": RESULT}, 0), ([], 0)],
)
def test_history_keeps_what_it_can_read(history: Any, count: int) -> None:
    """Items of a history that are no objects are passed over, and so is a history that is no list."""
    assert len(read_status({"history": history}).history) == count


def test_old_and_unknown_fields_do_no_harm() -> None:
    """IsFinalResult as text, other retired fields, id data and fields of the future are read past."""
    odd = {"IsFinalResult": "true", "IsMachineResult": "false", "ResultType": "SAIA", "New": [1]}
    assert result(**odd) == result()
    assert result(PartnerParams="none").partner_params == {}
    assert result(PartnerParams=None).partner_params == {}


@pytest.mark.parametrize(("value", "read"), [(True, True), ("true", True), ("false", False), (1, True), (0, False)])
def test_job_complete_may_be_a_text(value: Any, read: bool) -> None:
    """job_complete is read as a boolean, a number or a text; absent, it is false."""
    assert read_status({"job_complete": value}).job_complete is read
    assert read_status({}).job_complete is False


def test_numbers_where_texts_belong_are_texts() -> None:
    """A job number or a text that came as a number is a text."""
    found = result(SmileJobID=123, ResultText=5)
    assert (found.smile_job_id, found.text) == ("123", "5")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"job_complete": CANARY}, "job_complete"),
        ({"result": {"SmileJobID": [CANARY]}}, r"result\.SmileJobID"),
    ],
)
def test_a_wrong_shape_is_unreadable_and_named_but_not_repeated(body: dict[str, Any], field: str) -> None:
    """What can not be read is named by its field; nothing of what came is in the message or behind it."""
    with pytest.raises(UnreadableReply, match=f"does not have the protocol's shape: {field}") as caught:
        read_status(body)
    assert CANARY not in repr(caught.value)
    assert caught.value.__context__ is None


def test_what_is_nested_too_deep_is_unreadable() -> None:
    """A body that is nested deeper than Python's stack is unreadable; in a history it is left out."""
    deep: list[Any] = []
    # The stack for this holds 1,000 until Python 3.11, and ten times as many since.
    for _ in range(100_000):
        deep = [deep]
    body = {"Actions": {"a": deep}}
    with pytest.raises(UnreadableReply, match="nested too deep"):
        read_result(body)
    status = read_status({"history": [body, {"ResultCode": "0822"}]})
    assert [item.code for item in status.history] == ["0822"]


def test_an_odd_item_of_the_history_costs_nothing_else() -> None:
    """A past message that can not be read is left out; `job_complete: null` means not complete."""
    body = {"job_complete": None, "history": [{"ResultText": []}, 7, {"ResultCode": "0822"}]}
    status = read_status(body)
    assert [item.code for item in status.history] == ["0822"]
    assert not status.job_complete


FIELDS = st.sampled_from(
    [
        *("timestamp", "signature", "code", "job_complete", "result", "history", "image_links", "ResultCode"),
        *("ResultText", "SmileJobID", "PartnerParams", "Actions", "ConfidenceValue", "ImageLinks", "user_id", "job_id"),
        *("job_type", "upload_url", "smile_job_id", "error", "message"),
    ]
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


def answered(read: Reader, body: bytes) -> bool:
    """Whether *read* gives an answer; any error but UnreadableReply fails the test."""
    try:
        return read(body) is not None
    except UnreadableReply:
        return False


@settings(max_examples=300)
@given(ANY_JSON)
def test_no_json_crashes_a_reader(found: Any) -> None:
    """Any JSON gives an answer or an UnreadableReply, never another error; only objects give an answer."""
    body = json.dumps(found).encode()
    for read in READERS:
        assert not answered(read, body) or isinstance(found, dict)
    assert isinstance(read_complaint(body), Complaint)


@given(st.binary(max_size=60))
def test_no_bytes_crash_a_reader(body: bytes) -> None:
    """Any bytes give an answer or an UnreadableReply, never another error; only objects give an answer."""
    for read in READERS:
        assert not answered(read, body) or body.lstrip()[:1] == b"{"
