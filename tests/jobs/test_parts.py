"""parts.py: the parts of a job from flat words, as a manifest or a command line has them."""

from typing import Any

import pytest
from ground_support import jpeg

from smile_async import Consent, Document, IdInfo, Person, Product
from smile_async.errors import InvalidJob
from smile_async.jobs.parts import consent_from, field_flaw, field_of, parts_of
from smile_async.jobs.screening import Screening

ABOUT: dict[str, Any] = {"country": "NG", "id_type": "NIN_V2", "id_number": "00123456780"}


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("number", "id_number"),
        ("type", "id_type"),
        ("id_number", "id_number"),
        ("country", "country"),
        ("full_name", "full_name"),
        ("extra.shoe", "extra.shoe"),
        ("extra.", ""),
        ("extra", ""),
        ("person.email", "person.email"),
        ("person.shoe", ""),
        ("email", ""),
        ("shoe", ""),
    ],
)
def test_a_word_means_a_field(word: str, name: str) -> None:
    """A field goes by its own name or a short one; one of somebody's own says so."""
    assert field_of(word) == name


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("001", ""),
        (None, ""),
        (1, "is a number, which has lost its leading zeros: give a text"),
        (1.5, "is a number, which has lost its leading zeros: give a text"),
        (True, "is bool: give a text"),
        (["x"], "is list: give a text"),
    ],
)
def test_all_fields_are_texts(value: object, why: str) -> None:
    """A number is refused, and why, whatever it is."""
    assert field_flaw(value) == why


def test_a_person_goes_with_every_product() -> None:
    """Its words have a prefix, for an id has names too; a name that is missing is asked for."""
    words = {"person.given_names": "Ada", "person.last_name": "Obi", "person.email": "ada@example.com"}
    for product in (Product.AUTHENTICATION, Product.AML_CHECK):
        assert parts_of(product.spec, words) == {"person": Person("Ada", "Obi", "ada@example.com")}
    with pytest.raises(InvalidJob, match="person: there is no given_names: give one"):
        parts_of(Product.AUTHENTICATION.spec, {"person.last_name": "Obi"})


def test_a_consent_is_v3s_where_it_names_a_privacy_policy() -> None:
    """Anything else is what an authority wants of v1, as it is; a word that is none of Consent's is refused."""
    url = "https://shop.example/privacy"
    assert consent_from({"privacy_policy_url": url, "language": "FR"}) == Consent(url, "FR")
    assert consent_from({"consented": {}}) == {"consented": {}}
    with pytest.raises(InvalidJob, match="consent: shoe is unknown: give privacy_policy_url, language, granted_at"):
        consent_from({"privacy_policy_url": url, "shoe": 44})


def test_a_product_takes_the_parts_it_knows() -> None:
    """The same words become id info, a document of the same country and kind, or a screening."""
    front, back = jpeg(), jpeg()
    info = IdInfo(**ABOUT, extra={"shoe": "44"})
    card = Document("NG", front, back, "NIN_V2")
    both = parts_of(Product.BIOMETRIC_KYC.spec, {**ABOUT, "extra.shoe": "44"}, front=front, back=back)
    assert both == {"id_info": info, "document": card}
    assert parts_of(Product.BASIC_KYC.spec, ABOUT) == {"id_info": IdInfo(**ABOUT)}
    assert parts_of(Product.DOCUMENT_VERIFICATION.spec, {"country": "NG"}, front=front) == {
        "document": Document("NG", front)
    }
    assert parts_of(Product.AUTHENTICATION.spec, {}) == {}
    words = {"full_name": "Ada Obi", "countries": "NG; GH;", "aliases": "A;B", "strict_match": "False"}
    screening = Screening("Ada Obi", ["NG", "GH"], aliases=["A", "B"], strict_match=False)
    assert parts_of(Product.AML_CHECK.spec, words) == {"screening": screening}
    known = parts_of(Product.AML_CHECK.spec, {"countries": "NG", "search_existing_user": "true"})
    assert known["screening"].search_existing_user


@pytest.mark.parametrize(
    ("product", "said", "cards", "why"),
    [
        (Product.BASIC_KYC, {"id_type": "NIN_V2"}, {}, "id_info: there is no country: give one"),
        (Product.BASIC_KYC, {"country": "NG", "id_number": "00123456780"}, {}, "there is no id_type"),
        (Product.BASIC_KYC, {**ABOUT, "full_name": "Ada Obi"}, {}, "Basic KYC takes no full_name: leave it out"),
        (Product.DOCUMENT_VERIFICATION, ABOUT, {"front": "f.jpg"}, "takes no id_number"),
        (Product.DOCUMENT_VERIFICATION, {"country": "NG"}, {"back": "b.jpg"}, "give country and front"),
        (Product.DOCUMENT_VERIFICATION, {}, {"front": "f.jpg"}, "give country and front"),
        (Product.BASIC_KYC, ABOUT, {"front": "f.jpg"}, "picture of a card as it is: leave it out"),
        (Product.AML_CHECK, {"full_name": "Ada Obi"}, {}, "there is no country"),
        (Product.AML_CHECK, {"full_name": "A", "countries": "NG", "strict_match": "so"}, {}, "strict_match is str"),
    ],
)
def test_what_no_part_can_be_made_of(product: Product, said: dict[str, str], cards: dict[str, Any], why: str) -> None:
    """The message names what is wrong and repeats nothing of whom it is about."""
    with pytest.raises(InvalidJob, match=why) as refused:
        parts_of(product.spec, said, **cards)
    assert not any(secret in str(refused.value) for secret in ("00123456780", "Ada Obi"))
