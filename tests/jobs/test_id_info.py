"""id_info.py, document.py, screening.py: values about a person, checked at birth, whole for pickle, shown to nobody."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest
from ground_support import CANARY, frames_holding, jpeg, png
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from smile_async import Document, IdInfo
from smile_async.errors import InvalidJob
from smile_async.jobs.private import LONGEST_TEXT
from smile_async.jobs.screening import Screening

SECRET = "90817263540"
WHOLE = IdInfo(
    "NG",
    "NIN_V2",
    SECRET,
    first_name=f"{SECRET}-first",
    middle_name=f"{SECRET}-middle",
    last_name=f"{SECRET}-last",
    dob=date(1990, 1, 31),
    gender="F",
    phone_number=f"+{SECRET}",
    bank_code=f"{SECRET}-bank",
    citizenship=f"{SECRET}-citizenship",
    session_id=f"{SECRET}-session",
    business_type="co",
    postal_address=f"{SECRET} street",
    postal_code=f"{SECRET}-code",
    extra={"card_number": f"{SECRET}-card", "operator": {"name": SECRET}},
)
CARD = Document("NG", jpeg(), png(), "PASSPORT")
WANTED = Screening(f"Ada {SECRET}", ["NG", "KE"], birth_year=1990, aliases=(f"{SECRET} Obi",))
VALUES = {
    "IdInfo": (WHOLE, {"country": "NG", "id_type": "NIN_V2"}),
    "Document": (CARD, {"country": "NG", "id_type": "PASSPORT"}),
    "Screening": (WANTED, {"countries": ("NG", "KE"), "strict_match": True, "search_existing_user": False}),
}
each_value = pytest.mark.parametrize(("value", "shown"), VALUES.values(), ids=VALUES)


@each_value
def test_only_what_is_not_personal_shows(value: Any, shown: dict[str, Any]) -> None:
    """Neither repr, asdict, astuple, pydantic nor orjson hold anything of the person or the pictures."""
    assert dataclasses.asdict(value) == shown
    assert dataclasses.astuple(value) == tuple(shown.values())
    assert json.loads(orjson.dumps(value)) == json.loads(json.dumps(shown))
    assert TypeAdapter(type(value)).dump_python(value) == shown
    texts = f"{value!r} {value} {orjson.dumps(value)!r} {TypeAdapter(type(value)).dump_json(value)!r}"
    for secret in (SECRET, CANARY, "1990"):
        assert secret not in texts


@each_value
@pytest.mark.parametrize(
    "again",
    [
        copy.copy,
        copy.deepcopy,
        *(lambda value, way=way: pickle.loads(pickle.dumps(value, way)) for way in range(pickle.HIGHEST_PROTOCOL + 1)),
    ],
)
def test_it_pickles_whole(value: Any, shown: dict[str, Any], again: Callable[[Any], Any]) -> None:
    """A copy, also in another process, holds all of it, is equal, and as fixed; another value is not."""
    copied = again(value)
    if isinstance(value, IdInfo):
        with pytest.raises(TypeError):
            copied.extra["x"] = 1
    assert copied == value
    assert hash(copied) == hash(value)
    assert {name: getattr(copied, name) for name in value.WHOLE} == {name: getattr(value, name) for name in value.WHOLE}


def test_what_differs_in_what_is_hidden_is_not_equal() -> None:
    """Two people of one country and id type are two people."""
    assert IdInfo("NG", "BVN", "1") != IdInfo("NG", "BVN", "2")
    assert IdInfo("NG", "BVN") != "NG"
    assert IdInfo("NG", "BVN", "1", extra={"a": 1}) != IdInfo("NG", "BVN", "1")
    assert Document("NG", jpeg()) != Document("NG", jpeg(size=(9, 9)))


@each_value
def test_it_is_frozen(value: Any, shown: dict[str, Any]) -> None:
    """It stays what was checked."""
    for name in value.WHOLE:
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
            setattr(value, name, "x")


def test_fields_travel_by_their_names() -> None:
    """What was given travels, and nothing else; a date as yyyy-mm-dd, what is extra beside it."""
    assert IdInfo("NG", "BVN", "007").fields() == {"country": "NG", "id_type": "BVN", "id_number": "007"}
    fields = WHOLE.fields()
    assert (fields["dob"], fields["card_number"], fields["operator"]) == (
        "1990-01-31",
        f"{SECRET}-card",
        {"name": SECRET},
    )
    assert fields.keys() == {*IdInfo.WHOLE} - {"extra"} | {"card_number", "operator"}


def test_what_is_extra_is_a_copy() -> None:
    """Changing the dict afterwards changes nothing, and the value's own view refuses."""
    given_now = {"operator": {"name": "MTN"}}
    info = IdInfo("GH", "PHONE_NUMBER", "1", extra=given_now)
    given_now["operator"]["name"] = "x"
    assert info.extra == {"operator": {"name": "MTN"}}
    with pytest.raises(TypeError):
        info.extra["operator"] = 1  # type: ignore[index]


CAPITALS = "give the two capital letters of ISO 3166, such as NG"
FLAWS: list[tuple[dict[str, Any], str]] = [
    ({"country": "ng"}, f"country is 'ng': {CAPITALS}"),
    ({"country": "NGA"}, f"country is 'NGA': {CAPITALS}"),
    ({"country": ""}, "country is ''"),
    ({"country": "N1"}, "country is 'N1'"),
    ({"country": "ÄÖ"}, "country is 'ÄÖ'"),
    ({"country": "12345678901"}, f"country is none: {CAPITALS}"),
    ({"extra": {"callback_url": "http://x"}}, "extra holds callback_url: give it as callback_url="),
    ({"country": "NG\n"}, "country is 'NG\\n'"),
    ({"country": "Nigeria"}, f"country is none: {CAPITALS}"),
    ({"country": None}, f"country is NoneType: {CAPITALS}"),
    ({"id_type": None}, "id_type is NoneType: give a text"),
    ({"id_type": " "}, "id_type is empty: leave it out"),
    ({"id_number": 7012345678}, "id_number is a number, which has lost its leading zeros: give a text"),
    ({"id_number": True}, "id_number is bool: give a text"),
    ({"id_number": ""}, "id_number is empty: leave it out"),
    ({"id_number": b"1"}, "id_number is bytes: give a text"),
    ({"phone_number": 2348000000}, "phone_number is a number, which has lost its leading zeros"),
    ({"last_name": "\ud800"}, "last_name holds half a surrogate pair"),
    ({"postal_address": "x" * (LONGEST_TEXT + 1)}, "postal_address has 1,001 characters: at most 1,000 are allowed"),
    *[
        ({"dob": text}, "dob is no date: give a date, or a text such as 1990-01-31")
        for text in ("1990-02-30", "31.1.1990", "19900131", "1990-W05-3", "1990-1-3", "yesterday")
    ],
    ({"dob": datetime(1990, 1, 31, tzinfo=UTC)}, "dob is datetime: give a text"),
    ({"dob": 1990}, "dob is a number"),
    ({"extra": [("a", 1)]}, "extra is no mapping of names to JSON values: give a dict"),
    ({"extra": {"a": object()}}, "extra is no mapping of names to JSON values"),
    ({"extra": {"dob": "1990-01-31"}}, "extra holds dob: give it as dob="),
]


@pytest.mark.parametrize(("changes", "words"), FLAWS)
def test_each_flaw_is_named(changes: dict[str, Any], words: str) -> None:
    """The field and the cure are named, what was given about a person is not repeated."""
    with pytest.raises(InvalidJob) as caught:
        IdInfo(**{"country": "NG", "id_type": "BVN", **changes})
    assert f"id_info: {words}" in str(caught.value)


@pytest.mark.parametrize("changes", [{"dob": f"{SECRET}"}, {"extra": {"dob": 1}}, {"country": "x"}, {"gender": 5}])
def test_no_traceback_holds_a_person(changes: dict[str, Any]) -> None:
    """Whatever is refused: no local of our frames shows what was given."""
    with pytest.raises(InvalidJob) as caught:
        IdInfo(**{"country": "NG", "id_type": "BVN", "id_number": SECRET, "first_name": SECRET, **changes})
    assert frames_holding(caught.value, SECRET) == []
    assert SECRET not in f"{caught.value!r}"


@given(st.text(max_size=4), st.text(max_size=30), st.none() | st.text(max_size=30))
def test_an_entry_is_taken_or_refused(country: str, id_type: str, number: str | None) -> None:
    """Any texts give a value that says so, or an InvalidJob that does not repeat the number."""
    try:
        info = IdInfo(country, id_type, number)
    except InvalidJob:
        return
    assert (info.country, info.id_type, info.id_number) == (country, id_type, number)
    assert len(country) == 2
    assert country.isupper()


DOCUMENT_FLAWS: list[tuple[dict[str, Any], str]] = [
    ({"country": "ng"}, "document: country is 'ng'"),
    ({"front": None, "back": png()}, "document: front is missing: a back alone tells nothing"),
    ({"front": b"GIF89a"}, "document: front is neither JPEG nor PNG"),
    ({"back": jpeg(1)}, "document: back is greyscale"),
    ({"back": 5}, "document: back is int: give a path, bytes or an Image"),
    ({"id_type": 5}, "document: id_type is a number"),
    ({"id_type": ""}, "document: id_type is empty"),
]


@pytest.mark.parametrize(("changes", "words"), DOCUMENT_FLAWS)
def test_each_flaw_of_a_document_is_named(changes: dict[str, Any], words: str) -> None:
    """Cause and cure are named, and no frame of the traceback holds a picture."""
    with pytest.raises(InvalidJob, match=words) as caught:
        Document(**{"country": "NG", "front": jpeg(), **changes})
    assert frames_holding(caught.value, CANARY) == []


def test_a_document_by_path_and_spent() -> None:
    """Paths are read later; what is left of a document that was sent is sizes and digests."""
    spent = Document("KE", "front.jpg", png()).spent()
    assert spent.back is not None
    assert (spent.front.path, spent.back.content, spent.back.size) == ("front.jpg", None, len(png()))
    assert Document("KE", jpeg()).spent().back is None
    assert spent.fields() == {"country": "KE", "id_type": None}


SCREENING_FLAWS: list[tuple[dict[str, Any], str]] = [
    ({"full_name": None}, "full_name is NoneType: give a text"),
    ({"full_name": " "}, "full_name is empty"),
    ({"countries": "NG"}, "countries is one str: give a list"),
    ({"countries": 5}, "countries is one int: give a list"),
    ({"countries": []}, "there is no country: give the nationalities"),
    ({"countries": ["NG", "ke"]}, "one of countries is 'ke'"),
    ({"aliases": "Ada"}, "aliases is one str: give a list"),
    ({"aliases": [5]}, "one of aliases is a number"),
    ({"birth_year": "90"}, "birth_year is no year: give four digits"),
    ({"birth_year": True}, "birth_year is no year"),
    ({"birth_year": 19900}, "birth_year is no year"),
    ({"strict_match": "false"}, "strict_match is str: give True or False"),
    ({"search_existing_user": 1}, "search_existing_user is int: give True or False"),
]


@pytest.mark.parametrize(("changes", "words"), SCREENING_FLAWS)
def test_each_flaw_of_a_screening_is_named(changes: dict[str, Any], words: str) -> None:
    """Cause and cure are named, and no frame of the traceback holds the name."""
    with pytest.raises(InvalidJob, match=f"aml check: {words}") as caught:
        Screening(**{"full_name": f"Ada {SECRET}", "countries": ["NG"], **changes})
    assert frames_holding(caught.value, SECRET) == []


def test_a_screening_travels_by_its_names() -> None:
    """A year is a text; what was not given does not travel; an enrolled user's name need not be given."""
    assert WANTED.fields() == {
        "full_name": f"Ada {SECRET}",
        "countries": ("NG", "KE"),
        "birth_year": "1990",
        "aliases": (f"{SECRET} Obi",),
        "strict_match": True,
        "search_existing_user": False,
    }
    assert Screening(None, ["NG"], search_existing_user=True).fields() == {
        "countries": ("NG",),
        "strict_match": True,
        "search_existing_user": True,
    }


def test_a_person_is_hidden_in_what_others_say() -> None:
    """What repr does not show is blacked out in a text, whatever its case, nested or not; what may be seen stays."""
    info = IdInfo("NG", "BVN", SECRET, first_name="Adaora", gender="f", extra={"of": {"kin": ["Chidi", 7, "Ado"]}})
    said = info.hidden_in(f"NG BVN {SECRET}: ADAORA, of Chidi and Ado, f, 7")
    assert said == "NG BVN …: …, of … and …, f, 7"
    assert Screening("Ada Obi", ["NG"], aliases=["Adaora"]).hidden_in("ada obi, or Adaora, of NG") == "…, or …, of NG"
