"""Whom an upload is about, the card and the consent that come along, are checked and told of as documented."""

from typing import Any

import pytest
from sandbox_support import Partner, entry, in_process, jpeg, zipped

BVN = {"country": "NG", "id_type": "BVN", "id_number": "00000000000"}


@pytest.fixture
def partner() -> Any:
    """A partner whose user ada is enrolled."""
    with in_process() as partner:
        partner.sandbox.enroll("ada")
        yield partner


def card(*kinds: int, **info: Any) -> bytes:
    """A zip with a selfie and pictures of those kinds, and whom it is about."""
    images = [entry(0, "selfie.jpg"), *(entry(kind, "selfie.jpg") for kind in kinds)]
    consent = info.pop("consent_information", None)
    return zipped({"images": images, "id_info": info, "consent_information": consent})


CONSENT = {
    "consented": {
        "consent_granted_date": "2026-01-02T03:04:05.678Z",
        "personal_details": True,
        "contact_information": True,
        "document_information": True,
    }
}
UPLOADS: list[tuple[int, bytes, str, str]] = [
    (1, card(entered=True, **BVN), "0810", ""),
    (1, card(entered="true", **BVN, consent_information=CONSENT), "0810", ""),
    (1, card(entered=True, country="NG", id_type="BVN"), "0001", "id_number"),
    (1, card(entered=True, **{**BVN, "country": "Nigeria"}), "0001", "country"),
    (1, card(entered=True, **{**BVN, "id_number": 7}), "0001", "id_number"),
    (1, card(entered="yes", **BVN), "0001", "entered"),
    (1, card(**BVN, consent_information={"consented": True}), "0001", "consent_information"),
    (1, card(**BVN), "0001", "front of an id card"),
    (1, card(1, 5, **BVN), "0810", ""),
    (1, card(5, entered=True, **BVN), "0001", "front of an id card"),
    (6, card(1, country="KE"), "0810", ""),
    (6, card(1, 5, country="KE", id_type="IDENTITY_CARD"), "0810", ""),
    (6, card(5, country="KE"), "0001", "front of an id card"),
    (6, card(1), "0001", "country"),
    (11, card(1, country="KE"), "0001", "id_type"),
    (11, card(1, country="KE", id_type="PASSPORT"), "0810", ""),
    (8, card(), "0880", ""),
]


@pytest.mark.parametrize(("job_type", "content", "code", "complaint"), UPLOADS)
async def test_info_json_is_checked_for_each_product(
    partner: Partner, job_type: int, content: bytes, code: str, complaint: str
) -> None:
    """Whom it is about, sides of a card, consent: what is amiss is 0001 with a complaint that has no value in it."""
    await partner.submit("ada" if job_type == 8 else "new", "j1", job_type, content)
    job = partner.sandbox.jobs["j1"]
    assert (job.code, complaint in job.complaint, bool(job.complaint)) == (code, True, bool(complaint)), job.complaint
    assert "Nigeria" not in job.complaint
    assert BVN["id_number"] not in repr(job)


async def test_a_number_is_looked_up_before_the_face(partner: Partner) -> None:
    """Biometric KYC tells of the number first, a message of its own; not found, that is all there is to tell."""
    await partner.submit("bob", "j1", 1, card(entered=True, **BVN), sandbox_result="1")
    told = await partner.status("bob", "j1", history=True)
    assert [each["ResultCode"] for each in told["history"]] == ["0811", "1012"]
    assert [each["ResultType"] for each in told["history"]] == ["SAIA", "ID Verification"]
    assert {each["Actions"]["Verify_ID_Number"] for each in told["history"]} == {"Verified"}
    assert (told["result"]["FullName"], told["result"]["IDNumber"]) == ("Ada Obi", BVN["id_number"])
    await partner.submit("kim", "j2", 1, card(entered=True, **{**BVN, "id_number": "00000000001"}))
    told = await partner.status("kim", "j2", history=True)
    assert [each["ResultCode"] for each in told["history"]] == ["1013"]
    assert not partner.sandbox.registry.enrolled("kim")
    await partner.submit("eve", "j3", 1, card(1, **BVN))
    assert "FullName" not in (await partner.status("eve", "j3"))["result"]
    await partner.submit("joe", "j4", 6, card(1, country="KE"))
    assert (await partner.status("joe", "j4"))["result"]["IDType"] == "IDENTITY_CARD"


async def test_an_enrolled_selfie_may_be_used_again(partner: Partner) -> None:
    """Documents of an enrolled user may come without a selfie; of a stranger they are 2210, with a selfie 2209."""
    zips = zipped(
        {"images": [entry(1, "selfie.jpg")], "id_info": {"country": "KE", "id_type": "X"}}, selfie__jpg=jpeg()
    )
    for job_type in (6, 11):
        prep = {**partner.prep("ada", f"j{job_type}", job_type), "use_enrolled_image": True}
        prepared = await partner.post("upload", prep)
        assert prepared.status_code == 200, prepared.text
        await partner.put(prepared.json()["upload_url"], zips)
        assert partner.sandbox.jobs[f"j{job_type}"].code == "0810"
        stranger = {**partner.prep("eve", "j9", job_type), "use_enrolled_image": True}
        assert (await partner.post("upload", stranger)).json()["code"] == "2210"
        assert (await partner.post("upload", partner.prep("ada", "j9", job_type))).json()["code"] == "2209"
    assert (await partner.post("upload", partner.prep("eve", "j9", 8))).json()["code"] == "2210"


async def test_links_lead_to_both_sides_of_a_card(partner: Partner) -> None:
    """Asked for, a link leads to each kind of picture that came along, and none is said of a lookup."""
    images = [entry(0, "selfie.jpg"), entry(1, "front.jpg"), entry(5, "back.jpg"), entry(4, "selfie.jpg")]
    pictures = {name: jpeg((64, 80 + number)) for number, name in enumerate(("selfie", "front", "back"))}
    content = zipped(
        {"images": images, "id_info": {"country": "KE"}}, **{f"{name}__jpg": each for name, each in pictures.items()}
    )
    await partner.submit("bob", "j1", 6, content)
    links = (await partner.status("bob", "j1", image_links=True))["image_links"]
    names = ("selfie_image", "id_card_image", "id_card_back")
    assert [(await partner.http.get(links.pop(name))).content for name in names] == [*pictures.values()]
    assert links == {}
