"""person.py, and what a job of V3 adds to a job: checked at birth, whole for pickle, shown to nobody."""

import copy
import dataclasses
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from ground_support import frames_holding, jpeg
from pydantic import TypeAdapter

from smile_async import Consent, Decision, Image, Job, Person, Product, Ticket, Verdict, classify, explain
from smile_async.errors import InvalidJob

SECRET = "aMiNa"
WHOLE = Person(SECRET, f"{SECRET} Clearwater", f"{SECRET}@example.com", "+2348012345678")


def test_nothing_of_a_person_shows() -> None:
    """Neither repr, asdict, pydantic nor orjson hold anything of the person; it copies and pickles whole."""
    shown = f"{WHOLE!r} {dataclasses.asdict(WHOLE)} {orjson.dumps(WHOLE)!r} {TypeAdapter(Person).dump_python(WHOLE)}"
    assert SECRET not in shown
    assert "234" not in shown
    for twin in (copy.copy(WHOLE), copy.deepcopy(WHOLE), pickle.loads(pickle.dumps(WHOLE))):
        assert twin == WHOLE
        assert twin.email == f"{SECRET}@example.com"
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        WHOLE.email = None  # type: ignore[misc]
    assert Person("Ada", "Obi", phone_number="+12345678").fields() == {
        "given_names": "Ada",
        "last_name": "Obi",
        "phone_number": "+12345678",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", "Obi", "a@b"), "given_names is empty: leave it out"),
        (("Ada", None, "a@b"), "last_name is NoneType: give a text"),
        (("Ada", "Obi"), "there is neither email nor phone_number: give one"),
        (("Ada", "Obi", f"{SECRET} example.com"), "email is no address: give one such as name@example.com"),
        (("Ada", "Obi", f"{SECRET}@"), "email is no address"),
        (("Ada", "Obi", None, "2348012345678"), "phone_number is not + and 7 to 15 digits"),
        (("Ada", "Obi", None, "+0348012345678"), "phone_number is not +"),
        (("Ada", "Obi", None, "+234 801 234 5678"), "without blanks"),
        (("Ada", "Obi", None, "+123456"), "7 to 15 digits"),
        (("Ada", "Obi", None, "+1234567890123456"), "7 to 15 digits"),
        (("Ada", "Obi", None, 2348012345678), "phone_number is a number"),
    ],
)
def test_a_flaw_of_a_person_is_named(arguments: tuple[Any, ...], words: str) -> None:
    """What V3 would refuse is refused at birth, in words that repeat none of it."""
    with pytest.raises(InvalidJob, match=r"^person: ") as caught:
        Person(*arguments)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert frames_holding(caught.value, SECRET) == []


def test_a_consent_knows_its_moment() -> None:
    """A moment is a datetime with a zone or a text with one, read as UTC; None is left for the sending."""
    url = "https://shop.example/privacy"
    noon = datetime(2026, 10, 1, 12, tzinfo=UTC)
    assert Consent(url).moment() is None
    assert (Consent(url).language, Consent(url, "FR").language) == ("EN", "FR")
    assert Consent(url, granted_at=noon.astimezone(timezone(timedelta(hours=3)))).moment() == noon
    assert Consent(url, granted_at="2026-10-01T13:00:00+01:00").moment() == noon
    assert Consent(url, granted_at="2026-10-01T12:00:00Z").moment() == noon


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((None,), "privacy_policy_url is NoneType: give a text"),
        (("http://shop.example/privacy",), "privacy_policy_url is not https"),
        (("http://localhost/privacy",), "privacy_policy_url is not https: give https://host/path"),
        (("privacy",), "privacy_policy_url is not a URL"),
        (("https://a/b", "en"), "language is not two capital letters"),
        (("https://a/b", None), "language is not two capital letters"),
        (("https://a/b", "EN", "yesterday"), "granted_at is no moment with a zone"),
        (("https://a/b", "EN", "2026-10-01T12:00:00"), "granted_at is no moment with a zone"),
        (("https://a/b", "EN", 1_760_000_000), "granted_at is no moment with a zone"),
        (("https://a/b", "EN", "0001-01-01T00:00:00+14:00"), "granted_at is no moment with a zone"),
    ],
)
def test_a_flaw_of_a_consent_is_named(arguments: tuple[Any, ...], words: str) -> None:
    """A consent that V3 would refuse, or that nobody could date, is refused at birth."""
    with pytest.raises(InvalidJob) as caught:
        Consent(*arguments)
    assert str(caught.value).startswith(f"consent: {words}")


def test_a_compare_job_has_two_pictures() -> None:
    """The other picture is one of the job's, counted, named and spent like the rest; its kind is checked."""
    job = Job.compare("ada", jpeg(), jpeg(comment="card"), "ID_PHOTO", liveness=[jpeg()] * 6, person=WHOLE)
    assert (job.product, job.job_type) == (Product.COMPARE, 3)
    assert [name for name, _ in job.named_images()][-1] == "comparison"
    assert all(image.content is None for image in job.spent().images)
    assert job.spent().comparison is not None
    assert pickle.loads(pickle.dumps(job)).person == WHOLE
    assert job.subject() != Job.compare("ada", jpeg(), jpeg(), "PORTRAIT", person=WHOLE).subject()
    assert SECRET not in repr(job)
    for kind in ("id_photo", "", None):
        with pytest.raises(InvalidJob, match="comparison_type"):
            Job.compare("ada", jpeg(), jpeg(), kind)  # type: ignore[arg-type]
    with pytest.raises(InvalidJob, match="comparison is NoneType"):
        Job.compare("ada", jpeg(), None, "PORTRAIT")  # type: ignore[arg-type]
    with pytest.raises(InvalidJob, match="takes no comparison"):
        Job("ada", 2, Image.from_bytes(jpeg()), comparison=Image.from_bytes(jpeg()))
    with pytest.raises(InvalidJob, match="person is str: give a Person"):
        Job.authenticate("ada", jpeg(), person="Ada")  # type: ignore[arg-type]
    assert Job.authenticate("ada", jpeg(), consent=Consent("https://a/b")).consent == Consent("https://a/b")


def test_a_verdict_keeps_its_reason_and_shows_no_claims() -> None:
    """The reason travels as JSON where there is one; claims are at hand, and in no repr and no serialiser."""
    ticket = Ticket("ada", "7f3e", 2, api="v3")
    told = Verdict(Decision.REJECTED, True, "block", "no", ticket, reason="spoof_detected", claims={"id": SECRET})
    assert told.claims == {"id": SECRET}
    assert SECRET not in f"{told!r} {dataclasses.asdict(told)} {told.to_json(record=True)}"
    assert Verdict.from_json(told.to_json()).reason == "spoof_detected"
    assert pickle.loads(pickle.dumps(told)).claims == {"id": SECRET}
    plain = Verdict(Decision.APPROVED, True, "0820", "yes", ticket)
    assert (plain.claims, plain.reason, "reason" in plain.to_json()) == ({}, None, False)
    assert Verdict.from_json(plain.to_json()).reason is None


@pytest.mark.parametrize(
    ("word", "decisions"),
    [
        ("clear", ["approved"]),
        (" Block ", ["rejected"]),
        ("attention", ["attention"]),
        ("error", ["error"]),
        ("age_requirement_not_met", ["attention", "rejected"]),
        ("service_unavailable", ["error"]),
        ("processing", []),
    ],
)
def test_words_of_v3_are_explained(word: str, decisions: list[str]) -> None:
    """`explain` knows V3's statuses and reasons; `classify`, which is about v1's codes, approves none of them."""
    assert [str(meaning.decision) for meaning in explain(word)] == decisions
    assert classify(word, 2) is Decision.UNKNOWN
