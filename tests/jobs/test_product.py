"""product.py: each product is one value, found by any of its names, and one more is one more value."""

import copy
import pickle

import pytest

from smile_async.jobs.codes import Decision, classify
from smile_async.jobs.product import (
    PRODUCTS,
    AfterSilence,
    Family,
    Product,
    ProductSpec,
    known_product,
    product_of,
    register,
)


def test_each_product_has_its_number() -> None:
    """The names are the vendor's, the numbers those of its SDKs; two products share one."""
    assert {str(product): product.spec.job_type for product in Product} == {
        "authentication": 2,
        "smartselfie": 4,
        "biometric_kyc": 1,
        "doc_verification": 6,
        "enhanced_document_verification": 11,
        "update_photo": 8,
        "enhanced_kyc": 5,
        "basic_kyc": 5,
        "business_verification": 7,
        "aml_check": 10,
        "compare": 3,
    }
    assert set(Product) <= set(PRODUCTS)
    assert all(product.spec is PRODUCTS[product] for product in Product)


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("register", Product.REGISTRATION),
        ("registration", Product.REGISTRATION),
        ("authenticate", Product.AUTHENTICATION),
        ("document_verification", Product.DOCUMENT_VERIFICATION),
        ("aml", Product.AML_CHECK),
        ("basic_kyc", Product.BASIC_KYC),
    ],
)
def test_a_product_has_several_names(name: str, product: Product) -> None:
    """The vendor's name, the member's and the constructor's all lead to it."""
    assert Product(name) is known_product(name) is product


@pytest.mark.parametrize("name", ["", "kyc", "Basic_KYC", None, 5])
def test_other_names_are_none(name: object) -> None:
    """What is no product's name is none, and the enumeration says so."""
    assert known_product(name) is None
    with pytest.raises(ValueError, match="is not a valid Product"):
        Product(name)  # type: ignore[arg-type]


def test_a_type_tells_its_product_unless_two_share_it() -> None:
    """From a number alone one of a kind is known; KYC of type 5 is not."""
    assert [product_of(number) for number in (2, 7, 5, 9, 0)] == [
        *(Product.AUTHENTICATION, Product.BUSINESS_VERIFICATION, None, None, None),
    ]


def test_those_that_may_be_billed_twice_are_never_repeated() -> None:
    """Of the products of one request, only of Enhanced KYC is it known that its job_id is good for one job."""
    silent = {product: product.spec.after_silence for product in Product if product.spec.family is Family.REQUEST}
    assert silent == {
        Product.ENHANCED_KYC: AfterSilence.REPEAT,
        Product.BASIC_KYC: AfterSilence.NOTHING,
        Product.BUSINESS_VERIFICATION: AfterSilence.NOTHING,
        Product.AML_CHECK: AfterSilence.NOTHING,
    }
    assert [product for product in Product if not product.spec.asynchronous] == [Product.AML_CHECK]


def test_one_more_product_is_one_more_value() -> None:
    """Registered, it is a Product like the others: found, pickled, with codes of its own; again, it takes its place."""
    row = "7001 | residence_check | approved | yes | no | ours | lives there"
    spec = ProductSpec("residence_check", 71, "Residence Check", codes=(row,), also=("lives_there",))
    made = register(spec)
    assert isinstance(made, Product)
    assert Product("lives_there") is made is product_of(71)
    assert pickle.loads(pickle.dumps(made)) is copy.deepcopy(made) is made
    assert (made.name, made.value, made.spec) == ("RESIDENCE_CHECK", "residence_check", spec)
    assert [classify("7001", about) for about in (made, 71, 2, "basic_kyc")] == [
        *(Decision.APPROVED, Decision.APPROVED, Decision.UNKNOWN, Decision.UNKNOWN),
    ]
    assert classify("7002", made) is Decision.UNKNOWN
    assert classify("2205", made) is Decision.ERROR
    assert register(ProductSpec("residence_check", 71, "Residence")) is made
    assert made.spec.title == "Residence"
    assert classify("7001", made) is Decision.UNKNOWN
