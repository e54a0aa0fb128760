"""Calls about the account, as they go out and as they come back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smile_async.errors import InvalidJob, Refused, SmileError, Unavailable, UnreadableReply
from smile_async.jobs.catalogue import Bank, DocumentType, IdType
from smile_async.protocol.signature import SignedStamp
from smile_async.protocol.steps import Fault
from smile_async.protocol.v1 import account

STAMP = SignedStamp("2026-01-02T03:04:05.678Z", "signature")
#: The newer generation of wire.md §13.7, with all kinds of entries that are none.
NEWER: dict[str, Any] = {
    "bank_codes": [{"name": "Access Bank", "code": "044"}, {"name": "no code"}, "odd", None],
    "hosted_web": {
        "enhanced_kyc": {
            "NG": {
                "name": "Nigeria",
                "id_types": {
                    "BVN": {
                        "label": "Bank number",
                        "required_fields": ["country", "id_number", 7],
                        "id_number_regex": "^[0-9]{11}$",
                        "test_data": "00000000000",
                    },
                    "NIN": "odd",
                },
            },
            "KE": None,
            "GH": {"id_types": []},
        },
        "odd": [],
    },
}
DOCUMENTS = {
    "valid_documents": [
        {
            "country": {"code": "KE", "name": "Kenya", "continent": "AFRICA"},
            "id_types": [
                {"code": "PASSPORT", "name": "Passport", "example": ["A1", 2], "has_back": False},
                {"code": "", "name": "Other", "has_back": "perhaps"},
                "odd",
            ],
        },
        {"country": "odd", "id_types": {}},
        7,
    ]
}


def test_the_token_call() -> None:
    """The request for a token names the job, the product and the callback, and is signed."""
    call = account.token_call("ada", "j-1", "biometric_kyc", "https://shop.example/smile")
    assert json.loads(account.account_body(call, partner_id="001", stamp=STAMP)) == {
        "partner_id": "001",
        "timestamp": STAMP.timestamp,
        "signature": STAMP.signature,
        "user_id": "ada",
        "job_id": "j-1",
        "product": "biometric_kyc",
        "callback_url": "https://shop.example/smile",
    }
    assert account.read_token({"token": "t-1"}).reveal() == "t-1"


@pytest.mark.parametrize("given", [("", "j", "p"), ("u", "\n", "p"), ("u", "j", 5)])
def test_a_token_for_nothing(given: tuple[Any, Any, Any]) -> None:
    """Ids and a product that are none are refused before anything is sent."""
    with pytest.raises(InvalidJob, match=r"user_id|job_id|product"):
        account.token_call(*given, "")


@pytest.mark.parametrize("token", ["", None, 7, {}])
def test_a_token_that_is_none(token: object) -> None:
    """Only a text is a token."""
    with pytest.raises(UnreadableReply, match="no token"):
        account.read_token({"token": token})


def test_documents_are_asked_for_in_a_language() -> None:
    """A locale is a query; without one there is none."""
    assert account.documents_call("fr-FR")[0].path == "valid_documents?locale=fr-FR"
    assert account.documents_call(None)[0].path == "valid_documents"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b'{"error": "Invalid product", "code": "2217"}', Refused),
        (200, b'{"error": "Invalid product", "code": "2217"}', Refused),
        (200, b'{"something": "else"}', UnreadableReply),
        (200, b"<html>", UnreadableReply),
        (200, b"[]", UnreadableReply),
        (503, b"", Unavailable),
        (404, b"<html>", Refused),
    ],
)
def test_answers_that_are_none(status: int, body: bytes, error: type[SmileError]) -> None:
    """A refusal is one whatever its HTTP status, and what has none of the wanted names is no answer."""
    with pytest.raises(Fault) as caught:
        account.read_answer(account.token_call("u", "j", "p", ""), status, body)
    assert type(caught.value.error) is error


def test_the_newer_services() -> None:
    """The list by product is read, and what is odd in it costs nothing else."""
    found = account.read_answer(account.SERVICES[0], 200, json.dumps(NEWER).encode())
    services = account.read_services(found)
    about = {"label": "Bank number", "number_pattern": "^[0-9]{11}$", "example": "00000000000"}
    bvn = IdType("enhanced_kyc", "NG", "BVN", required_fields=("country", "id_number"), **about)
    assert services.id_types == (bvn, IdType("enhanced_kyc", "NG", "NIN"))
    assert services.banks == (Bank("Access Bank", "044"),)
    assert services.raw == NEWER
    assert "Access" in repr(services)
    assert "label" not in repr(account.read_services({"hosted_web": {}, "label": 1}))


def test_the_older_services() -> None:
    """The list by country alone is read too; both may come at once."""
    older = {"id_types": {"KE": {"PASSPORT": ["country", "id_number"], "ODD": None}, "NG": 3}}
    found = account.read_services(older)
    assert found.id_types == (IdType("", "KE", "PASSPORT", "", ("country", "id_number")), IdType("", "KE", "ODD"))
    assert len(account.read_services({**NEWER, **older}).id_types) == 4


def test_the_products() -> None:
    """What the partner may use is read by product and country, consent by country."""
    found = {"consentRequired": {"NG": ["BVN"], "KE": 1}, "idSelection": {"basic_kyc": {"NG": ["NIN", None]}, "x": []}}
    products = account.read_products(found)
    assert products.id_types == {"basic_kyc": {"NG": ("NIN",)}, "x": {}}
    assert products.consent == {"NG": ("BVN",), "KE": ()}
    assert account.read_products({}).id_types == {}


def test_the_documents() -> None:
    """Documents are read entry by entry; whether there is a back is known only if it says so."""
    passport, other = account.read_documents(DOCUMENTS)
    assert passport == DocumentType("KE", "PASSPORT", "Passport", "Kenya", "AFRICA", has_back=False, examples=("A1",))
    assert (other.id_type, other.has_back) == ("", None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["hosted_web", "id_types", "bank_codes", "NG", "country", "code", "valid_documents"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_list_raises(value: Any) -> None:
    """Whatever JSON stands in place of a list, reading it raises nothing."""
    account.read_services({"hosted_web": value, "id_types": value, "bank_codes": value})
    account.read_products({"idSelection": value, "consentRequired": value})
    account.read_documents({"valid_documents": value})
