"""What the lists of services say, and what they can not be trusted with."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smile_async import IdInfo, Job
from smile_async.jobs.catalogue import IdType, Products, Services


def kind(product: str = "enhanced_kyc", country: str = "NG", id_type: str = "BVN", pattern: str = "") -> IdType:
    """One kind of id."""
    return IdType(product, country, id_type, number_pattern=pattern)


@pytest.mark.parametrize(
    ("pattern", "number", "fits"),
    [
        ("^[0-9]{11}$", "00000000000", True),
        ("^[0-9]{11}$", "0000000000", False),
        ("^GHA-[A-Z0-9]{9}-[A-Z0-9]$/i", "gha-00000000a-0", True),
        ("/^[a-z]{2}$/", "NG", False),
        ("/^[a-z]{2}$/gi", "NG", True),
        (r"^\d{3}/\d{3}$", "123/456", True),
        ("", "anything", None),
        ("^(?<name>[0-9]+)$", "1", None),
        ("^[0-9{11}$", "1", None),
        ("a{99999999999999999999}", "a", None),
        ("(" * 100_000, "(", None),
    ],
)
def test_a_pattern_is_advice(pattern: str, number: str, fits: bool | None) -> None:
    """Patterns say yes or no where they compile, JavaScript's notation taken off, and nothing where they do not."""
    assert kind(pattern=pattern).fits(number) is fits


def test_a_pattern_that_python_warns_of_is_none() -> None:
    """Under -W error a warning of the regex compiler is no exception of ours either."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kind(pattern="[[a]").fits("a") is None


@given(st.text(max_size=40), st.text(max_size=20))
def test_no_pattern_raises(pattern: str, number: str) -> None:
    """Whatever stands there, asking whether a number fits raises nothing."""
    assert kind(pattern=pattern).fits(number) in {True, False, None}


def test_what_an_id_lacks() -> None:
    """Only fields of an id are missed, a birth date as one, each once, in the provider's order."""
    wanted = IdType(
        *("enhanced_kyc", "NG", "DRIVERS_LICENSE", ""),
        ("country", "id_type", "user_id", "job_id", "id_number", "day", "month", "year", "dob", "first_name"),
    )
    assert wanted.lacks({"id_number"}) == ("dob", "first_name")
    assert wanted.lacks({"id_number", "dob", "first_name"}) == ()


def test_the_services_are_searched() -> None:
    """A kind of id is found for a product; one that is listed for no product stands for all."""
    newer, other, older = kind(), kind("basic_kyc"), kind("", "KE", "PASSPORT")
    services = Services((newer, other, older), (), {})
    assert services.find("NG", "BVN", "basic_kyc") is other
    assert services.find("NG", "BVN") is newer
    assert services.find("NG", "BVN", "biometric_kyc") is None
    assert services.find("KE", "PASSPORT", "biometric_kyc") is older
    assert services.find("KE", "BVN") is None


def test_the_products_are_asked() -> None:
    """What this partner may use, and where consent is wanted, by country and type; raw is not shown."""
    products = Products({"enhanced_kyc": {"NG": ("BVN",)}}, {"NG": ("BVN",)}, {"secret": "raw"})
    assert products.allows("enhanced_kyc", "NG", "BVN")
    assert not products.allows("enhanced_kyc", "KE", "BVN")
    assert not products.allows("basic_kyc", "NG", "BVN")
    assert products.wants_consent("NG", "BVN")
    assert not products.wants_consent("KE", "BVN")
    assert "secret" not in repr(products)


def wanting(*fields: str, product: str = "enhanced_kyc") -> Services:
    """A list of one kind of id, NG BVN."""
    return Services((IdType(product, "NG", "BVN", required_fields=("country", "id_number", *fields)),), (), {})


def test_what_a_job_lacks() -> None:
    """Fields by name, in `extra` too; a one-time code stands for the number; what is not listed is not missed."""
    job = Job.enhanced_kyc("ada", IdInfo("NG", "BVN", "00000000000", extra={"company": "acme"}))
    assert wanting("first_name", "company").missing(job) == ("first_name",)
    assert wanting("company", product="").missing(job) == ()
    assert wanting("first_name", product="basic_kyc").missing(job) == ()
    coded = Job.enhanced_kyc("ada", IdInfo("NG", "BVN", session_id="s-1"))
    assert wanting("dob", "session_id").missing(coded) == ("dob",)


def test_jobs_without_a_number_lack_nothing() -> None:
    """A card's kind of id is not looked up by its fields, and a login has none."""
    card = Job.biometric_kyc("ada", "selfie.jpg", IdInfo("NG", "BVN"), id_card="card.jpg")
    assert wanting("dob", product="biometric_kyc").missing(card) == ()
    assert wanting("dob").missing(Job.authenticate("ada", "selfie.jpg")) == ()
