"""job.py: what can be known to be wrong with a job is known before it is made."""

import base64
import io
import json
import weakref
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from ground_support import CANARY, frames_holding, jpeg, png
from hypothesis import given
from hypothesis import strategies as st

from smile_async.errors import InvalidJob
from smile_async.jobs.image import Image
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import (
    MAX_ID_LENGTH,
    MAX_JOB_TYPE,
    UNKNOWN_JOB_TYPE,
    JobType,
    Ticket,
    checked_ticket,
    job_type,
)

GREY = jpeg(1)
MAKERS = (Job.authenticate, Job.register)
Maker = Callable[..., Job]


def made(**changes: Any) -> Job:
    """A good job, with *changes*."""
    return Job.authenticate(**{"user_id": "ada", "selfie": jpeg(), "job_id": "7f3e", **changes})


def test_names_are_smile_ids() -> None:
    """The job types have the numbers and names of the official SDKs."""
    assert {kind.name: kind.value for kind in JobType} == {
        "BIOMETRIC_KYC": 1,
        "SMART_SELFIE_AUTHENTICATION": 2,
        "SMART_SELFIE_REGISTRATION": 4,
        "ENHANCED_KYC": 5,
        "DOCUMENT_VERIFICATION": 6,
        "BUSINESS_VERIFICATION": 7,
        "UPDATE_PHOTO": 8,
        "COMPARE_USER_INFO": 9,
        "AML": 10,
        "ENHANCED_DOCUMENT_VERIFICATION": 11,
    }


def test_each_maker_gives_its_type() -> None:
    """Authentication is type 2, registration type 4, and each has its own option."""
    assert made(use_enrolled_image=True).job_type is JobType.SMART_SELFIE_AUTHENTICATION
    assert made(use_enrolled_image=True).use_enrolled_image
    registered = Job.register("ada", jpeg(), allow_new_enroll=True)
    assert registered.job_type is JobType.SMART_SELFIE_REGISTRATION
    assert registered.allow_new_enroll
    assert not Job.register("ada", jpeg()).allow_new_enroll


@pytest.mark.parametrize("make", MAKERS)
def test_a_job_id_is_fresh_by_default(make: Maker) -> None:
    """Two jobs of the same person never share a job_id unless they are told to."""
    assert make("ada", jpeg()).job_id != make("ada", jpeg()).job_id
    assert make("ada", jpeg(), job_id="mine").job_id == "mine"


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.jpg", "a.jpg"),
        (Path("a.jpg"), "a.jpg"),
        (jpeg(), jpeg()),
        (bytearray(png()), png()),
        (memoryview(jpeg()), jpeg()),
        (Image.from_bytes(jpeg()), jpeg()),
    ],
)
def test_a_picture_comes_in_any_form(make: Maker, source: Any, expected: str | bytes) -> None:
    """A path, bytes of any kind or an Image will do, for the selfie as for each frame."""
    job = make("ada", source, liveness=[source, source])
    assert [image.path or image.content for image in job.images] == [expected] * 3


def test_bytes_are_copied_and_counted() -> None:
    """Changing a buffer afterwards does not change the job; sizes are bytes, whatever the buffer's items are."""
    wide = jpeg(body=b"\0" * (4 - len(jpeg()) % 4))
    source = bytearray(wide)
    job = made(selfie=source, liveness=[memoryview(wide).cast("I")])
    source[0] = 0
    assert job.selfie is not None
    assert (job.selfie.content, job.selfie.size, job.liveness[0].size) == (wide, len(wide), len(wide))


@pytest.mark.parametrize("make", MAKERS)
def test_frames_may_be_a_generator(make: Maker) -> None:
    """Frames come from any iterable, which is read once."""
    assert len(make("ada", jpeg(), liveness=(jpeg() for _ in range(8))).liveness) == 8


def test_pictures_have_names() -> None:
    """Messages call a picture `selfie` or `liveness[n]`, and images come in that order."""
    job = made(liveness=[png(), jpeg()])
    assert [name for name, _ in job.named_images()] == ["selfie", "liveness[0]", "liveness[1]"]
    assert [image.content for image in job.images] == [jpeg(), png(), jpeg()]
    enrolled = made(selfie=None, liveness=[png()], use_enrolled_image=True)
    assert [name for name, _ in enrolled.named_images()] == ["liveness[0]"]
    assert [image.content for image in enrolled.images] == [png()]


ID_FLAWS = [
    ("", "give a text that is not empty"),
    ("   ", "give a text that is not empty"),
    (None, "is not a text: give a str"),
    (42, "is not a text: give a str"),
    (b"ada", "is not a text: give a str"),
    ("a" * (MAX_ID_LENGTH + 1), "has 256 characters: at most 255 are allowed"),
    ("a\nb", "holds U+000A (a control character) where it may not: take it out"),
    ("a\0b", "U+0000 (a control character)"),
    ("a\x7f", "U+007F (a control character)"),
    ("a\x85b", "U+0085 (a control character)"),
    ("a\u2028b", "U+2028 (LINE SEPARATOR)"),
    ("a\u202eb", "U+202E (RIGHT-TO-LEFT OVERRIDE)"),
    ("a\u2066b", "U+2066 (LEFT-TO-RIGHT ISOLATE)"),
    ("a\ud800", "U+D800"),
    (" ada", "U+0020 (SPACE)"),
    ("ada ", "U+0020 (SPACE)"),
    ("ada\u00a0", "U+00A0 (NO-BREAK SPACE)"),
    ("\ufeffada", "U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["user_id", "job_id"])
@pytest.mark.parametrize(("value", "words"), ID_FLAWS)
def test_each_flaw_of_an_id_is_named(make: Maker, name: str, value: Any, words: str) -> None:
    """An id that could not be found again, or would break a log line, is refused by name with the cure."""
    if name == "job_id" and value is None:
        return
    with pytest.raises(InvalidJob) as caught:
        make(**{"user_id": "ada", "selfie": jpeg(), name: value})
    assert str(caught.value).startswith(name)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "value",
    [
        *(
            "a",
            "a" * MAX_ID_LENGTH,
            "user 42",
            "Ünïcode-名前",
            "a/b?c=d&e",
            "😀",
            "می\u200cخو",
            "👩\u200d🔬",
            "ന\u200d",
        ),
        *("M.\u00a0Diallo", "\U0001fae9", "\U0001fadf", "א\u200eb", "\ue000"),
    ],
)
def test_ids_may_be_any_text_of_one_line(value: str) -> None:
    """Blanks and joiners within, other alphabets and signs newer than this Python are the user's business."""
    job = made(user_id=value, job_id=value)
    assert (job.user_id, job.job_id) == (value, value)


FLAWS = [
    ({"partner_params": {"order": 5}}, "partner_params['order'] is int: names and values must be texts"),
    ({"partner_params": {5: "order"}}, "partner_params[5] is str: names and values must be texts"),
    ({"partner_params": {"order": None}}, "partner_params['order'] is NoneType"),
    ({"partner_params": [("a", "b")]}, "partner_params is list: give a dict of texts"),
    ({"partner_params": {"user_id": "eve"}}, "partner_params['user_id'] is set by the job itself: leave it out"),
    ({"partner_params": {"job_id": "x"}}, "partner_params['job_id'] is set by the job itself"),
    ({"partner_params": {"job_type": "2"}}, "partner_params['job_type'] is set by the job itself"),
    ({"partner_params": {"order": "\ud83d"}}, "partner_params['order'] holds half a surrogate pair: give valid text"),
    ({"partner_params": {"\udc00": "order"}}, "holds half a surrogate pair"),
    ({"callback_url": "ftp://shop.example/smile"}, "callback_url is not https"),
    ({"callback_url": "shop.example/smile"}, "callback_url is not a URL: give https://host/path"),
    ({"callback_url": ""}, "callback_url is not a URL"),
    ({"callback_url": "https://me:pw@shop.example/"}, "callback_url carries a user name or password: take it out"),
    ({"callback_url": 5}, "callback_url is not a URL"),
    ({"selfie": None}, "there is no selfie: give one, or set use_enrolled_image"),
    ({"selfie": None, "liveness": [jpeg()]}, "there is no selfie"),
    ({"selfie": b""}, "selfie is empty: take the picture again"),
    ({"selfie": GREY}, "selfie is greyscale"),
    ({"selfie": jpeg()[:40]}, "selfie has a truncated or damaged header: the file was cut off, send it whole"),
    ({"selfie": b"GIF89a"}, "selfie is neither JPEG nor PNG: convert it first"),
    ({"selfie": jpeg(body=bytes(10_000_000))}, "shrink it below 10,000,000"),
    ({"liveness": [jpeg(), GREY]}, "liveness[1] is greyscale: Smile ID compares colour pictures"),
    ({"liveness": [jpeg(), Image(content=b"no picture")]}, "liveness[1] is neither JPEG nor PNG"),
]


@pytest.mark.parametrize(("changes", "words"), FLAWS)
def test_each_flaw_is_named_with_job_cause_and_cure(changes: dict[str, Any], words: str) -> None:
    """The message names the job and its user, the cause and the cure; the error carries the job."""
    with pytest.raises(InvalidJob) as caught:
        made(**changes)
    assert str(caught.value).startswith("job 7f3e of user ada: ")
    assert words in str(caught.value)
    assert caught.value.job is not None
    assert (caught.value.ticket, caught.value.retryable) == (None, False)


SOURCE_FLAWS = [
    ({"selfie": 5}, "user 'ada': selfie is int: give a path, bytes or an Image"),
    ({"selfie": io.BytesIO(jpeg())}, "user 'ada': selfie is BytesIO: give a path, bytes or an Image"),
    ({"selfie": ""}, "user 'ada': selfie has no usable path (image path is empty or not text"),
    ({"liveness": [jpeg(), None]}, "user 'ada': liveness[1] is NoneType: give a path, bytes or an Image"),
    ({"liveness": ["a.jpg", "b\0.jpg"]}, "user 'ada': liveness[1] has no usable path"),
    ({"liveness": "frame.jpg"}, "user 'ada': liveness is one str: give a list of pictures"),
    ({"liveness": Path("frame.jpg")}, "liveness is one PosixPath: give a list of pictures"),
    ({"liveness": jpeg()}, "liveness is one bytes: give a list of pictures"),
    ({"liveness": bytearray(jpeg())}, "liveness is one bytearray: give a list of pictures"),
    ({"liveness": memoryview(jpeg())}, "liveness is one memoryview: give a list of pictures"),
    ({"liveness": Image.from_bytes(jpeg())}, "liveness is one Image: give a list of pictures"),
    ({"liveness": None}, "liveness is one NoneType: give a list of pictures"),
    ({"liveness": 8}, "liveness is one int: give a list of pictures"),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("changes", "words"), SOURCE_FLAWS)
def test_what_is_no_picture_is_named(make: Maker, changes: dict[str, Any], words: str) -> None:
    """A thing that is no picture, or one where a list belongs, is refused naming user, place and cure."""
    with pytest.raises(InvalidJob) as caught:
        make(**{"user_id": "ada", "selfie": jpeg(), **changes})
    assert words in str(caught.value)


@pytest.mark.parametrize("url", ["https://shop.example/smile", "http://localhost:8000/cb", "http://127.0.0.1/cb"])
def test_a_callback_is_https_or_on_this_machine(url: str) -> None:
    """An encrypted callback is taken, and a plain one where a developer's own machine listens."""
    assert made(callback_url=url).callback_url == url


def test_a_selfie_may_be_left_out_for_the_one_on_file() -> None:
    """With use_enrolled_image a job needs no picture of its own."""
    assert made(selfie=None, use_enrolled_image=True).images == ()


def _failing() -> Iterator[bytes]:
    yield jpeg()
    raise LookupError("the camera is gone")


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "changes",
    [
        {"selfie": GREY},
        {"selfie": jpeg()[:60]},
        {"liveness": jpeg()},
        {"liveness": memoryview(jpeg())},
        {"liveness": base64.b64encode(jpeg()).decode()},
        {"liveness": [jpeg(), jpeg(), 5]},
        {"liveness": [jpeg(), jpeg(), ""]},
        {"liveness": [jpeg(), GREY]},
        {"liveness": [jpeg(), [jpeg()]]},
        {"liveness": _failing},
        {"job_id": ""},
        {"user_id": ""},
        {"partner_params": {"a": 1}},
        {"callback_url": "shop.example"},
    ],
)
def test_no_traceback_holds_a_picture(make: Maker, changes: dict[str, Any]) -> None:
    """Whatever is refused, and whatever a generator raises: no local of our frames shows bytes of a picture."""
    given_now = {name: value() if value is _failing else value for name, value in changes.items()}
    with pytest.raises((InvalidJob, LookupError)) as caught:
        make(**{"user_id": "ada", "selfie": jpeg(), **given_now})
    text = base64.b64encode(jpeg()).decode()
    assert frames_holding(caught.value, CANARY, text[20:50]) == []
    assert CANARY not in f"{caught.value} {caught.value!r} {getattr(caught.value, 'job', None)!r}"


def test_a_job_never_shows_its_pictures() -> None:
    """Neither repr nor str of a job holds image content."""
    job = made(liveness=[jpeg()] * 8)
    assert CANARY not in f"{job!r} {job}"


@pytest.mark.parametrize("name", ["user_id", "job_id", "selfie", "liveness", "partner_params", "callback_url"])
def test_a_job_is_immutable(name: str) -> None:
    """A job stays what was checked: no field can be set."""
    with pytest.raises(FrozenInstanceError):
        setattr(made(), name, None)


def test_partner_params_are_a_copy_that_can_not_be_changed() -> None:
    """Changing the dict afterwards does not change the job, and the job's own view refuses."""
    params = {"order": "A-19"}
    job = made(partner_params=params)
    params["order"] = "B-20"
    assert job.partner_params == {"order": "A-19"}
    with pytest.raises(TypeError):
        job.partner_params["order"] = "C"  # type: ignore[index]


def test_two_jobs_are_never_equal() -> None:
    """A job is itself: it can be a key, and be referred to weakly."""
    first, second = made(), made()
    assert first != second
    assert len({first, second}) == 2
    assert weakref.ref(first)() is first


def test_a_spent_job_drops_its_bytes() -> None:
    """What is kept of an accepted job is its words, and the size and digest of its pictures."""
    job = made(liveness=[png(), "frame.jpg"], partner_params={"order": "A-19"}, callback_url="https://shop.example/cb")
    spent = job.spent()
    assert [image.content for image in spent.images] == [None, None, None]
    assert [image.size for image in spent.images] == [len(jpeg()), len(png()), None]
    assert [image.path for image in spent.images] == [None, None, "frame.jpg"]
    for name in ("user_id", "job_id", "job_type", "partner_params", "callback_url", "use_enrolled_image"):
        assert getattr(spent, name) == getattr(job, name)
    assert spent.ticket == job.ticket
    assert spent.spent() is spent
    assert job.selfie is not None
    assert job.selfie.content == jpeg()


def test_a_job_without_bytes_has_nothing_to_drop() -> None:
    """A job of paths, or without pictures, is its own spent self."""
    for job in (made(selfie="a.jpg", liveness=["b.jpg"]), made(selfie=None, use_enrolled_image=True)):
        assert job.spent() is job
    only_frames = made(selfie=None, liveness=[jpeg()], use_enrolled_image=True).spent()
    assert only_frames.selfie is None
    assert only_frames.liveness[0].content is None


def test_a_ticket_exists_from_birth() -> None:
    """Before anything is sent the job already knows how to be found again."""
    assert made().ticket == Ticket("ada", "7f3e", 2, None)
    assert Job.register("ada", jpeg(), job_id="x").ticket.job_type == 4


NO_BOOLS = ["false", "true", "", 1, 0, None, [True]]


@pytest.mark.parametrize("flag", NO_BOOLS)
@pytest.mark.parametrize(
    ("make", "name"), [(Job.authenticate, "use_enrolled_image"), (Job.register, "allow_new_enroll")]
)
def test_a_flag_is_true_or_false(make: Maker, name: str, flag: object) -> None:
    """A form's text "false" would count as true and replace an enrolled face: what is no bool is refused by name."""
    words = f"job 7f3e of user ada: {name} is {type(flag).__name__}: give True or False"
    with pytest.raises(InvalidJob, match=words):
        make("ada", jpeg(), job_id="7f3e", **{name: flag})
    with pytest.raises(InvalidJob, match=words):
        Job("ada", 4, Image.from_bytes(jpeg()), job_id="7f3e", **{name: flag})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "parts",
    [
        *({"selfie": "face.jpg"}, {"selfie": b"CANARY"}, {"liveness": [b"CANARY"]}, {"liveness": "face.jpg"}),
        *({"liveness": 6}, {"user_id": "", "selfie": b"CANARY"}, {"user_id": "", "id_info": {"id_number": "CANARY"}}),
        {"job_id": "\n", "liveness": [b"CANARY"]},
    ],
)
def test_a_part_of_another_kind_is_refused_and_not_kept(parts: dict[str, Any]) -> None:
    """The class itself takes an Image where its constructors take more; what came instead shows in nothing."""
    with pytest.raises(InvalidJob) as caught:
        Job(**{"user_id": "ada", "job_type": 2, "selfie": Image.from_bytes(jpeg()), **parts})
    assert "CANARY" not in f"{caught.value}{caught.value!r}{caught.value.job!r}"


NO_TYPES = [
    (None, "job_type is NoneType: give a JobType"),
    (True, "job_type is bool: give a JobType"),
    (2.0, "job_type is float: give a JobType"),
    ("2", "job_type is str: give a JobType"),
    (-1, "job_type is not a number of 31 bits"),
    (2**31, "job_type is not a number of 31 bits"),
    (10**30, "job_type is not a number of 31 bits"),
]


@pytest.mark.parametrize(("kind", "words"), NO_TYPES)
def test_a_job_type_is_a_small_whole_number(kind: Any, words: str) -> None:
    """A ticket and a job say what is wrong with their type at once, not when a ledger can not write it down."""
    with pytest.raises(InvalidJob, match=words):
        Ticket("ada", "7f3e", kind)
    with pytest.raises(InvalidJob, match=f"job 7f3e of user ada: {words}"):
        Job("ada", kind, Image.from_bytes(jpeg()), job_id="7f3e")


def test_a_type_that_is_new_is_sent_and_one_that_is_unknown_is_not() -> None:
    """A number without a name is a product we do not know yet; 0 stands for not knowing, and only a ticket may."""
    assert Job("ada", MAX_JOB_TYPE, Image.from_bytes(jpeg())).ticket.job_type == MAX_JOB_TYPE
    assert Ticket("ada", "7f3e", UNKNOWN_JOB_TYPE).job_type == 0
    with pytest.raises(InvalidJob, match="job_type is 0: give a JobType"):
        Job("ada", UNKNOWN_JOB_TYPE, Image.from_bytes(jpeg()))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
TICKETS = st.builds(Ticket, TEXTS, TEXTS, st.integers(0, MAX_JOB_TYPE), st.none() | TEXTS)


@given(TICKETS)
def test_tickets_survive_json(ticket: Ticket) -> None:
    """Any ticket comes back equal from its JSON as text, as bytes, and from its fields as a mapping."""
    assert Ticket.from_json(ticket.to_json()) == ticket
    assert Ticket.from_json(ticket.to_json().encode()) == ticket
    assert Ticket.from_json(json.loads(ticket.to_json())) == ticket
    assert "\n" not in ticket.to_json()


def test_a_known_job_type_comes_back_by_its_name() -> None:
    """A ticket from JSON has a JobType where there is one, and keeps a number that is new."""
    assert Ticket.from_json(Ticket("ada", "x", 2).to_json()).job_type is JobType.SMART_SELFIE_AUTHENTICATION
    assert (
        Ticket.from_json('{"user_id":"ada","job_id":"x","job_type":"4"}').job_type is JobType.SMART_SELFIE_REGISTRATION
    )
    assert Ticket.from_json('{"user_id":"ada","job_id":"x","job_type":77}').job_type == 77


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"ticket"',
        "{}",
        "{",
        b"\xff",
        '{"user_id":"ada","job_id":"x"}',
        '{"user_id":5,"job_id":"x","job_type":2}',
        '{"user_id":"ada","job_id":null,"job_type":2}',
        '{"user_id":"ada","job_id":"x","job_type":"two"}',
        '{"user_id":"ada","job_id":"x","job_type":-1}',
        '{"user_id":"ada","job_id":"x","job_type":null}',
        '{"user_id":"ada","job_id":"x","job_type":2.0}',
        '{"user_id":"ada","job_id":"x","job_type":4294967298}',
        '{"user_id":"ada","job_id":"x","job_type":2,"smile_job_id":123}',
        '{"user_id":"ada","job_id":"x","job_type":2,"smile_job_id":0}',
        '{"user_id":"ada","job_id":"x","job_type":2,"smile_job_id":false}',
        '{"user_id":"ada","job_id":"x","job_type":2,"smile_job_id":[]}',
        5,
        None,
    ],
)
def test_what_is_no_ticket_is_an_invalid_job(text: Any) -> None:
    """Garbage for from_json is an InvalidJob that says what to give, whatever is wrong with it."""
    with pytest.raises(InvalidJob, match="not a ticket"):
        Ticket.from_json(text)


NAMES = st.sampled_from(["user_id", "job_id", "job_type", "smile_job_id", "x"])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
    max_leaves=8,
)


@given(ANY_JSON)
def test_no_json_crashes_from_json(found: Any) -> None:
    """Any JSON at all gives a ticket of texts or an InvalidJob."""
    try:
        ticket = Ticket.from_json(json.dumps(found))
    except InvalidJob:
        return
    assert isinstance(ticket.user_id, str)
    assert isinstance(ticket.job_id, str)
    assert ticket.smile_job_id is None or isinstance(ticket.smile_job_id, str)


@pytest.mark.parametrize(
    ("value", "expected"), [(2, 2), ("2", 2), (" 11 ", 11), (JobType.UPDATE_PHOTO, 8), (0, UNKNOWN_JOB_TYPE)]
)
def test_a_job_type_is_a_number_or_a_text(value: object, expected: int) -> None:
    """Smile ID sends both, and both are read."""
    assert job_type(value) == expected


@pytest.mark.parametrize("value", [None, 2.0, [2], "-1", -1, b"2", "", "two", True, 10**30, str(10**30)])
def test_anything_else_is_no_job_type(value: object) -> None:
    """What is neither raises a ValueError, never another error."""
    with pytest.raises(ValueError):
        job_type(value)


def test_a_job_knows_whether_it_may_have_left() -> None:
    """Only the very object that was sent does; one that is equal has not left."""
    sent, equal = (Job.authenticate("ada", use_enrolled_image=True, job_id="j1") for _ in range(2))
    assert not sent.may_have_left
    sent.note_that_it_left()
    assert (sent.may_have_left, equal.may_have_left) == (True, False)


def test_what_can_not_be_asked_about_is_no_ticket() -> None:
    """A ticket is taken as it is; anything else, or one made of the wrong parts, is InvalidJob."""
    assert checked_ticket(Ticket("ada", "j1", 2)) == Ticket("ada", "j1", 2)
    for wrong in ("{}", None, Ticket("ada", "j1", 2, 7), Ticket("ada", b"j1", 2)):  # type: ignore[arg-type]
        with pytest.raises(InvalidJob, match=r"[Tt]icket"):
            checked_ticket(wrong)
