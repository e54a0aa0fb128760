"""makers.py, checks.py: a job of each product has what that needs, and nothing else."""

import copy
import pickle
from types import MappingProxyType
from typing import Any

import pytest
from ground_support import CANARY, frames_holding, jpeg, png

from smile_async import Document, IdInfo, Job, Product, Ticket
from smile_async.errors import InvalidJob
from smile_async.jobs.product import Family
from smile_async.jobs.ticket import same_job

INFO = IdInfo("NG", "BVN", "00000000000")
CARD = Document("NG", jpeg(), png(), "PASSPORT")
JOBS: dict[str, tuple[Job, int]] = {
    "authentication": (Job.authenticate("ada", jpeg()), 2),
    "smartselfie": (Job.register("ada", jpeg()), 4),
    "biometric_kyc": (Job.biometric_kyc("ada", jpeg(), INFO, liveness=[png()], allow_new_enroll=True), 1),
    "doc_verification": (Job.document_verification("ada", jpeg(), CARD), 6),
    "enhanced_document_verification": (Job.enhanced_document_verification("ada", jpeg(), CARD), 11),
    "update_photo": (Job.update_photo("ada", jpeg()), 8),
    "enhanced_kyc": (Job.enhanced_kyc("ada", INFO), 5),
    "basic_kyc": (Job.basic_kyc("ada", INFO), 5),
    "business_verification": (Job.business_verification("ada", INFO), 7),
    "aml_check": (Job.aml_check("ada", "Ada Obi", ["NG"]), 10),
}


@pytest.mark.parametrize("name", JOBS)
def test_each_constructor_gives_its_product(name: str) -> None:
    """Product, job type, family and ticket agree, and the ticket survives its JSON."""
    job, number = JOBS[name]
    assert (job.product, job.job_type) == (Product(name), number)
    assert (job.family is Family.REQUEST) == (not job.images)
    assert job.ticket == Ticket("ada", job.job_id, number, product=Product(name))
    assert Ticket.from_json(job.ticket.to_json()) == job.ticket


@pytest.mark.parametrize("name", JOBS)
def test_a_job_copies_and_pickles_whole(name: str) -> None:
    """Its parts come through, in another process too; spent it has no picture's content."""
    job, _ = JOBS[name]
    for copied in (copy.copy(job), copy.deepcopy(job), pickle.loads(pickle.dumps(job))):
        assert all(getattr(copied, field) == getattr(job, field) for field in Job.__dataclass_fields__)
    assert [image.content for image in job.spent().images] == [None] * len(job.images)
    assert CANARY not in f"{job!r}"
    assert "00000000000" not in f"{job!r}"


def test_only_what_the_type_does_not_tell_is_in_a_ticket() -> None:
    """Tickets look as ever, but for KYC of type 5, which is two products."""
    plain = {"user_id", "job_id", "job_type", "smile_job_id"}
    extra = {name: job.ticket.to_dict().keys() - plain for name, (job, _) in JOBS.items()}
    assert {name for name, more in extra.items() if more} == {"enhanced_kyc", "basic_kyc"}
    assert JOBS["basic_kyc"][0].ticket.to_dict()["product"] == "basic_kyc"
    assert Ticket("ada", "x", 2, api="v3").to_dict()["api"] == "v3"


def test_tickets_of_two_products_are_two_jobs() -> None:
    """What is not known contradicts nothing; two products, or two APIs, do."""
    basic, enhanced = (Ticket("ada", "x", 5, product=name) for name in (Product.BASIC_KYC, Product.ENHANCED_KYC))
    unknown, v3 = Ticket("ada", "x", 5), Ticket("ada", "x", 5, api="v3")
    assert unknown.product is None
    assert not same_job(basic, enhanced)
    assert same_job(basic, basic)
    assert same_job(basic, unknown)
    assert same_job(unknown, v3)
    assert not same_job(Ticket("ada", "x", 5, api="v1"), v3)
    assert (unknown.about, basic.about) == (5, Product.BASIC_KYC)


@pytest.mark.parametrize(
    "changes", [{"product": "kyc"}, {"product": 5}, {"product": "basic_kyc", "job_type": 7}, {"api": 3}]
)
def test_what_is_no_ticket_is_refused(changes: dict[str, Any]) -> None:
    """A product nobody knows, or of another type, is not passed over."""
    with pytest.raises(InvalidJob):
        Ticket.from_json({"user_id": "ada", "job_id": "x", "job_type": 5, **changes})


NO_CARD = "there is no id_number: give one, or a document"
NEEDS: list[tuple[Any, str]] = [
    (lambda: Job.enhanced_kyc("ada", IdInfo("NG", "BVN")), "there is no id_number: give one, or a session_id"),
    (lambda: Job.basic_kyc("ada", IdInfo("NG", "BVN")), "there is no id_number: give one"),
    (lambda: Job.business_verification("ada", None), "there is no id_info: give one"),  # type: ignore[arg-type]
    (lambda: Job.enhanced_kyc("ada", {"country": "NG"}), "id_info is dict: give an IdInfo"),  # type: ignore[arg-type]
    (lambda: Job.biometric_kyc("ada", jpeg(), IdInfo("NG", "BVN")), NO_CARD),
    (lambda: Job.biometric_kyc("ada", None, INFO), "there is no selfie: give one"),  # type: ignore[arg-type]
    (lambda: Job.biometric_kyc("ada", jpeg(), None, id_card=png()), "there is no id_info"),  # type: ignore[arg-type]
    (lambda: Job.document_verification("ada", None, CARD), "no selfie: give one, or set use_enrolled_image"),
    (lambda: Job.document_verification("ada", jpeg(), None), "there is no document: give one"),  # type: ignore[arg-type]
    (lambda: Job.document_verification("ada", jpeg(), INFO), "document is IdInfo: give a Document"),  # type: ignore[arg-type]
    (lambda: Job.enhanced_document_verification("ada", jpeg(), Document("NG", png())), "there is no id_type"),
    (lambda: Job.update_photo("ada", None), "there is no selfie: give one"),  # type: ignore[arg-type]
    (lambda: Job("ada", 10), "there is no screening: give one"),
    (lambda: Job("ada", 5, id_info=INFO), "job_type is 5, which is that of enhanced_kyc and of basic_kyc: say which"),
    (lambda: Ticket("ada", "x", 5, product="basic_kyc"), "product is str: give a Product"),  # type: ignore[arg-type]
    (lambda: Job("ada", 2, JOBS["authentication"][0].selfie, id_info=INFO), "takes no id_info: leave it out"),
    (lambda: Job.of("basic_kyc", "ada", id_info=INFO, document=CARD), "Basic KYC takes no document: leave it out"),
    (lambda: Job("ada", 7, product=Product.BASIC_KYC, id_info=INFO), "job_type is 7: basic_kyc jobs are of type 5"),
    (lambda: Job("ada", 5, product="kyc", id_info=INFO), "product is str: give a Product"),  # type: ignore[arg-type]
    (lambda: Job.enhanced_kyc("ada", INFO, consent=True), "consent is bool: give a dict"),  # type: ignore[arg-type]
    (lambda: Job.enhanced_kyc("ada", INFO, consent={"a": object()}), "consent holds what is no JSON"),
    (lambda: Job.of("kyc", "ada"), "product 'kyc' is not known: give a Product"),
    (lambda: Job.biometric_kyc("ada", jpeg(), INFO, id_card_back=png()), "id_card is missing: a back alone"),
]


@pytest.mark.parametrize(("make", "words"), NEEDS)
def test_what_is_missing_or_too_much_is_named(make: Any, words: str) -> None:
    """Before anything is sent the message says what the product needs, or does not take; no frame holds a picture."""
    with pytest.raises(InvalidJob, match=words) as caught:
        make()
    assert frames_holding(caught.value, CANARY) == []


def test_a_number_may_be_replaced() -> None:
    """A session of a one-time code stands for the number, an id card for a number that was not typed."""
    assert Job.enhanced_kyc("ada", IdInfo("NG", "BVN_MFA", session_id="s")).id_info is not None
    by_card = Job.biometric_kyc("ada", jpeg(), IdInfo("NG", "PASSPORT"), id_card=png(), id_card_back=jpeg())
    assert by_card.document == Document("NG", png(), jpeg(), "PASSPORT")
    assert [name for name, _ in by_card.named_images()] == ["selfie", "front", "back"]


def test_names_of_others_are_no_arguments() -> None:
    """A misspelt or foreign argument is an error, not a job without it."""
    with pytest.raises(TypeError):
        Job.register("ada", jpeg(), use_enrolled_image=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Job.enhanced_kyc("ada", INFO, job="x")  # type: ignore[call-arg]


def test_the_subject_tells_two_people_apart() -> None:
    """It is the same for the same fields in any order, another for another number, and nothing for a face alone."""
    one, same, other = (
        Job.enhanced_kyc("ada", IdInfo("NG", "BVN", number, extra=extra)).subject()
        for number, extra in (("1", {"a": 1, "b": 2}), ("1", {"b": 2, "a": 1}), ("2", {"a": 1, "b": 2}))
    )
    assert one == same != other
    assert JOBS["aml_check"][0].subject()
    assert JOBS["authentication"][0].subject() == b""


def test_a_dict_in_the_place_of_an_id_info_is_not_shown() -> None:
    """The error carries the job, whose repr is without what came in the place of its parts."""
    for make in (
        lambda: Job.enhanced_kyc("ada", {"id_number": "90817263540"}),  # type: ignore[arg-type]
        lambda: Job("ada", 10, screening={"full_name": "90817263540"}),  # type: ignore[arg-type]
        lambda: Job("ada", 6, JOBS["authentication"][0].selfie, document={"x": "90817263540"}),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidJob) as caught:
            make()
        assert "90817263540" not in f"{caught.value} {caught.value.job!r}"


def test_consent_is_the_job_s_own() -> None:
    """What its giver does with it afterwards changes nothing, nor can it be changed, and it travels like the rest."""
    given: dict[str, Any] = {"consented": {"personal_details": True}}
    job = Job.enhanced_kyc("ada", INFO, consent=MappingProxyType(given))
    given["consented"] = object()
    again = pickle.loads(pickle.dumps(job))
    assert again.consent == job.consent == copy.deepcopy(job).consent == {"consented": {"personal_details": True}}
    with pytest.raises(TypeError, match="make another job"):
        again.consent["consented"] = None


def test_a_ticket_from_before_its_product_was_known_travels() -> None:
    """A type that has got a product since then does not make it unreadable."""
    ticket = Ticket("ada", "x", 10)
    object.__setattr__(ticket, "product", None)
    assert Ticket.from_json(ticket.to_json()).product is Product.AML_CHECK
